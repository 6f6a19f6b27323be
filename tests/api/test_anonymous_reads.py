"""Who may look at jobs without saying who they are: anybody, or nobody."""

from __future__ import annotations

import pytest

from pandaserver.server.request_pages import declared_requests
from tests.api.callers import USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

READS = {
    "getStatus": ("getJobStates", {"ids": "1"}),
    "checkJobStatus": ("checkJobStates", {"ids": "1"}),
    "getJobStatus": ("peekJobs", {"ids": "[1]", "no_pickle": "True"}),
    "getUserJobMetadata": ("getUserJobMetadata", {"jediTaskID": "1"}),
    "getScriptOfflineRunning": ("getFullJobStatus", {"pandaID": "1"}),
    "getPandaIDsWithTaskID": ("getPandaIDsWithTaskID", {"jediTaskID": "1"}),
}

#: What the database answers, unless it is an empty list.
ANSWERS = {"getUserJobMetadata": {}, "getFullJobStatus": [None]}


@pytest.mark.parametrize("name", READS)
def test_reading_can_be_closed_to_callers_without_credentials(
    make_client: MakeClient, task_buffer: FakeTaskBuffer, name: str
) -> None:
    declared_requests()
    asked, fields = READS[name]
    task_buffer.answers[asked] = ANSWERS.get(asked, [])
    url = f"/server/panda/{name}"
    make_client(anonymous_reads=False).post(url, data=fields)
    assert task_buffer.called(asked) == []
    make_client(anonymous_reads=False).post(url, data=fields, environ_overrides=USER)
    make_client(anonymous_reads=True).post(url, data=fields)
    assert len(task_buffer.called(asked)) == 2
