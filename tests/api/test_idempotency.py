"""Requests with an idempotency key at both doors, on a real database."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from pandaserver.srvcore.errors import OutcomeUnknown, Unavailable
from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.client_jobs import job_as_state
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import PILOT, USER
from tests.api.conftest import MakeClient
from tests.db.completion import read
from tests.factories import make_job

LEGACY, V1 = "/server/panda/", "/api/v1/"
KEY = {"Idempotency-Key": "5f0c1e6a-0d3b-4a5f-9f57-3b6f4c2d1e00"}
OTHER = {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"}
JOBS = json.dumps([job_as_state(make_job(jobName=f"a{n}")) for n in range(2)])


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.taskbuffer.Utils
    import pandaserver.userinterface.UserIF  # noqa: F401

    tbuf.storeQueues({"TEST_PQ": {"status": "online", "type": "unified"}})
    return make_client(tbuf=tbuf)


def submit(server: Client, jobs: str = JOBS, caller: dict[str, str] = USER, **headers: str) -> TestResponse:
    return server.post(V1 + "job/submit", json={"jobs": jobs}, environ_overrides=caller, headers={**KEY, **headers})


def submit_by_form(server: Client, jobs: str = JOBS, caller: dict[str, str] = USER) -> TestResponse:
    return server.post(LEGACY + "submitJobs", data={"jobs": jobs}, environ_overrides=caller, headers=KEY)


def kill(server: Client, ids: Sequence[int], **headers: str) -> TestResponse:
    return server.post(V1 + "job/kill", json={"job_ids": ids}, environ_overrides=USER, headers=headers)


def all_ids(tbuf: TaskBuffer) -> list[int]:
    tables = ("jobsActive4", "jobsArchived4")
    return sorted(row[0] for table in tables for row in read(tbuf, f"SELECT PandaID FROM ATLAS_PANDA.{table}"))


def rows(tbuf: TaskBuffer) -> list[tuple[Any, ...]]:
    return read(tbuf, "SELECT operation, step FROM ATLAS_PANDA.panda_idempotency ORDER BY operation, step")


@pytest.mark.parametrize("ask", [submit, submit_by_form])
def test_a_repeated_submission_gets_the_first_answer_byte_for_byte(
    server: Client, tbuf: TaskBuffer, ask: Callable[[Client], TestResponse]
) -> None:
    first, second = ask(server), ask(server)
    assert (second.status, second.data, second.content_type) == (first.status, first.data, first.content_type)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(all_ids(tbuf)) == 2


def test_without_a_key_nothing_is_kept(server: Client, tbuf: TaskBuffer) -> None:
    for _ in range(2):
        server.post(V1 + "job/submit", json={"jobs": JOBS}, environ_overrides=USER)
    assert (len(all_ids(tbuf)), rows(tbuf)) == (4, [])


def test_another_request_under_a_used_key_is_refused(server: Client, tbuf: TaskBuffer) -> None:
    submit(server)
    other = json.dumps([job_as_state(make_job(jobName="other"))])
    reply = submit(server, other)
    assert (reply.status_code, reply.json["success"]) == (422, False)
    assert "was used for another request" in reply.json["message"]
    reply = submit_by_form(server, JOBS)  # another path
    assert reply.status_code == 200
    assert reply.text.startswith("ERROR")
    assert "was used for another request" in reply.text
    reply = server.post(V1 + "job/kill", json={"job_ids": [1]}, environ_overrides=USER, headers=KEY)
    assert reply.status_code == 422
    assert len(all_ids(tbuf)) == 2


def test_the_order_of_parameters_does_not_matter(server: Client, tbuf: TaskBuffer) -> None:
    for fields in ({"jobs": JOBS, "toPending": "False"}, {"toPending": "False", "jobs": JOBS}):
        server.post(LEGACY + "submitJobs", data=fields, environ_overrides=USER, headers=KEY)
    assert len(all_ids(tbuf)) == 2


def test_keys_of_two_callers_are_two_keys(server: Client, tbuf: TaskBuffer) -> None:
    assert submit(server).json["data"] != submit(server, caller=OTHER).json["data"]
    assert len(all_ids(tbuf)) == 4


@pytest.mark.parametrize("key", ["x" * 129, "a b", "\u00fc", "\x7f"])
def test_a_key_that_databases_might_confuse_is_refused(server: Client, tbuf: TaskBuffer, key: str) -> None:
    reply = server.post(
        V1 + "job/submit",
        json={"jobs": JOBS},
        environ_overrides={**USER, "HTTP_IDEMPOTENCY_KEY": key},
    )
    assert "Idempotency-Key must have 1 to 128 visible ASCII characters" in reply.json["message"]
    assert all_ids(tbuf) == []


def test_anonymous_callers_are_told_that_their_keys_are_not_kept(server: Client, tbuf: TaskBuffer) -> None:
    reply = server.get(LEGACY + "isAlive", headers=KEY)
    assert (reply.text, reply.headers["Idempotency-Status"]) == ("alive=yes", "not kept: anonymous")
    assert rows(tbuf) == []


def test_a_failure_that_changed_nothing_is_not_kept(server: Client, tbuf: TaskBuffer) -> None:
    bad = json.dumps([job_as_state(make_job(jobName="x" * 300))])
    assert submit(server, bad).json["success"] is False
    assert rows(tbuf) == []
    assert submit(server).json["success"] is True


@pytest.mark.parametrize(
    ("method", "fields", "told"),
    [("killJobs", {"ids": "(lp0\nI5\na."}, b"(lp0\nI00\na."), ("genPilotToken", {"schedulerid": "x"}, b"ERROR : ")],
)
def test_a_refusal_in_the_words_of_a_historical_method_is_not_kept(
    server: Client, tbuf: TaskBuffer, method: str, fields: dict[str, str], told: bytes
) -> None:
    reply = server.post(
        f"/server/panda/{method}", data=fields, headers={"Idempotency-Key": "key"}, environ_overrides=USER
    )
    assert reply.data.startswith(told)
    assert rows(tbuf) == []


def test_a_pilot_without_a_job_may_ask_again_under_its_key_and_with_one_gets_the_same(
    server: Client, tbuf: TaskBuffer
) -> None:
    fields = {"siteName": "TEST_PQ", "prodSourceLabel": "user"}

    def ask() -> str:
        return server.post(LEGACY + "getJob", data=fields, environ_overrides=PILOT, headers=KEY).text

    assert "StatusCode=20" in ask()
    server.post(V1 + "job/submit", json={"jobs": JOBS}, environ_overrides=USER)
    first, second = ask(), ask()
    assert first == second
    assert "StatusCode=0" in first
    assert [job.jobStatus for job in tbuf.peekJobs(all_ids(tbuf)) if job] == ["sent", "activated"]


def test_questions_are_answered_anew(server: Client, tbuf: TaskBuffer) -> None:
    (job_id, *_), _ = submit(server).json["data"]
    headers = {"Idempotency-Key": "q"}
    url, body = V1 + "job/get_description", {"job_ids": [job_id]}
    before = server.post(url, json=body, environ_overrides=USER, headers=headers).json["data"][0]["jobStatus"]
    kill(server, [job_id])
    after = server.post(url, json=body, environ_overrides=USER, headers=headers).json["data"][0]["jobStatus"]
    assert (before, after) == ("activated", "cancelled")


def test_a_deletion_of_a_file_is_answered_as_it_was(server: Client) -> None:
    upload = {"file": (io.BytesIO(b"sandbox"), "sources.0f0f.tar.gz")}
    assert (
        server.post(LEGACY + "putFile", data=upload, environ_overrides=USER, headers={"Idempotency-Key": "up"}).text
        == "True"
    )
    replies = [
        server.post(LEGACY + "deleteFile", data={"file": "sources.0f0f.tar.gz"}, environ_overrides=USER, headers=KEY)
        for _ in range(2)
    ]
    assert replies[0].data == replies[1].data


def test_an_upload_with_other_content_is_another_request(server: Client) -> None:
    def put(content: bytes) -> str:
        upload = {"file": (io.BytesIO(content), "sources.0f0e.tar.gz")}
        return server.post(LEGACY + "putFile", data=upload, environ_overrides=USER, headers=KEY).text

    assert [put(b"one"), put(b"one")] == ["True", "True"]
    assert "was used for another request" in put(b"two")


# ---- requests that died


class Dying:
    """Executes operations until one of a name has been executed so often, and then says that nobody knows."""

    def __init__(self, caller: Caller, name: str, calls: int, *, executed: bool) -> None:
        self._caller, self._name, self._left, self._executed = caller, name, calls, executed

    def call(
        self, operation: Operation[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], timeout: Any = None
    ) -> Any:
        name = args[2] if operation.name == "once" else operation.name
        if name != self._name:
            return self._caller.call(operation, args, kwargs, timeout)
        self._left -= 1
        if self._left > 0:
            return self._caller.call(operation, args, kwargs, timeout)
        if self._executed:
            self._caller.call(operation, args, kwargs, timeout)
            raise OutcomeUnknown("the child was lost")
        raise Unavailable("the child was lost before")

    def close(self) -> None:
        self._caller.close()


@pytest.mark.parametrize("executed", [True, False])
def test_who_repeats_a_submission_with_unknown_outcome_gets_its_jobs(
    make_client: MakeClient, tbuf: TaskBuffer, server: Client, executed: bool
) -> None:
    dying = make_client(tbuf=TaskBuffer(Dying(tbuf.caller, "store_jobs", 1, executed=executed)))
    assert submit(dying).status_code == 503
    stored = all_ids(tbuf)
    assert len(stored) == (2 if executed else 0)
    reply = submit(server)
    assert [row[0] for row in reply.json["data"]] == all_ids(tbuf)
    assert not stored or all_ids(tbuf) == stored
    assert submit(server).data == reply.data


def test_an_answer_that_could_not_be_kept_is_made_again(
    make_client: MakeClient, tbuf: TaskBuffer, server: Client
) -> None:
    dying = make_client(tbuf=TaskBuffer(Dying(tbuf.caller, "keep_answer", 1, executed=False)))
    first = submit(dying)
    assert first.status_code == 200
    assert rows(tbuf) == [("store_jobs", 1)]
    assert submit(server).data == first.data
    assert len(all_ids(tbuf)) == 2


def test_a_request_of_several_changes_that_died_makes_the_missing_ones(
    make_client: MakeClient, tbuf: TaskBuffer, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pandaserver.userinterface.job_requests.CHUNK", 1)
    ids = [row[0] for row in submit(server).json["data"]]
    dying = make_client(tbuf=TaskBuffer(Dying(tbuf.caller, "kill_jobs", 2, executed=False)))
    headers = {"Idempotency-Key": "kill"}
    assert kill(dying, ids, **headers).status_code == 503
    assert [job.jobStatus for job in tbuf.peekJobs(ids) if job] == ["cancelled", "activated"]
    assert kill(server, ids, **headers).json["data"] == [True, True]
    assert [job.jobStatus for job in tbuf.peekJobs(ids) if job] == ["cancelled", "cancelled"]


def test_the_jobs_of_a_task_are_decided_once(
    make_client: MakeClient, tbuf: TaskBuffer, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated request must not take the answer about one job for that about another."""
    monkeypatch.setattr("pandaserver.userinterface.job_requests.CHUNK", 1)

    def of_task(name: str) -> list[int]:
        jobs = json.dumps([job_as_state(make_job(jobName=f"{name}{n}", jediTaskID=77)) for n in range(2)])
        reply = server.post(V1 + "job/submit", json={"jobs": jobs}, environ_overrides=USER)
        return [row[0] for row in reply.json["data"]]

    def kill_task(client: Client) -> TestResponse:
        return client.post(V1 + "task/kill_unfinished_jobs", json={"task_id": 77}, environ_overrides=USER, headers=KEY)

    first = of_task("a")
    dying = make_client(tbuf=TaskBuffer(Dying(tbuf.caller, "kill_jobs", 2, executed=True)))
    assert kill_task(dying).status_code == 503
    later = of_task("b")
    assert kill_task(server).json["data"] == [True, True]
    assert [job.jobStatus for job in tbuf.peekJobs(first + later) if job] == ["cancelled"] * 2 + ["activated"] * 2


def test_a_pickled_reply_is_repeated_as_it_was(server: Client) -> None:
    first, second = submit_by_form(server), submit_by_form(server)
    assert pickle.loads(first.data) == pickle.loads(second.data)
    assert len(pickle.loads(second.data)) == 2
