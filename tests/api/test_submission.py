"""Submitting, looking at and killing jobs through both doors, on a real database."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.dataservice.SetupperPluginBase import SetupperPluginBase
from pandaserver.srvcore.errors import OutcomeUnknown
from pandaserver.taskbuffer.client_jobs import job_as_state
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.WrappedPickle import Record, dump_for_clients, loads
from tests.api.callers import LIMITED, PRODUCTION, USER, FakeServices, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.db.completion import put_dataset, status_of_dataset
from tests.factories import make_job

LEGACY, V1 = "/server/panda/", "/api/v1/"

NOBODY = 987654321  # no job has that number


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    tbuf.storeQueues({"TEST_PQ": {"status": "online", "type": "unified"}})
    return make_client(tbuf=tbuf)


def as_json(*jobs: JobSpec) -> str:
    return json.dumps([job_as_state(job) for job in jobs])


def submit(server: Client, *jobs: JobSpec, caller: dict[str, str] = USER, headers: Any = None) -> Any:
    body = {"jobs": as_json(*jobs)}
    return server.post(V1 + "job/submit", json=body, environ_overrides=caller, headers=headers).json


def legacy(server: Client, method: str, caller: dict[str, str] | None = USER, **fields: Any) -> Any:
    reply = server.post(LEGACY + method, data=fields, environ_overrides=caller or {})
    return pickle.loads(reply.data)


def state_of(record: Any) -> Any:
    assert isinstance(record, Record)
    return record.state


def test_a_pickled_submission_is_stored(server: Client, tbuf: TaskBuffer) -> None:
    ((job_id, number, rest),) = legacy(server, "submitJobs", jobs=dump_for_clients([make_job()]).decode())
    assert (number, rest) == (2, {"jobsetID": None})
    job = tbuf.peekJobs([job_id])[0]
    assert job is not None
    assert (job.jobStatus, job.prodUserName, job.prodUserID) == ("activated", "Jane Doe", "/DC=org/CN=Jane Doe")


def test_a_json_submission_is_stored_at_both_doors(server: Client) -> None:
    assert len(legacy(server, "submitJobs", jobs=as_json(make_job(), make_job()))) == 2
    reply = submit(server, make_job(), make_job())
    assert reply["success"]
    assert [job[2] for job in reply["data"]] == [{"jobsetID": None}] * 2


@pytest.mark.parametrize("junk", ["", "junk", "(lp0\ncos\nsystem\n.", "[", "{}"])
def test_old_clients_get_an_empty_list_for_what_cannot_be_read(server: Client, junk: str) -> None:
    assert legacy(server, "submitJobs", jobs=junk) == []


@pytest.mark.parametrize("junk", ["", "junk", "[]", "{}"])
def test_v1_says_what_cannot_be_read(server: Client, junk: str) -> None:
    reply = server.post(V1 + "job/submit", json={"jobs": junk}, environ_overrides=USER).json
    assert (reply["success"], reply["data"]) == (False, None)
    assert reply["message"]


def test_an_invalid_job_names_itself_at_both_doors(server: Client) -> None:
    jobs = [make_job(), make_job(jobName="x" * 300)]
    message = "job 1: jobName is 300 characters, at most 256"
    assert submit(server, *jobs) == {"success": False, "message": message, "data": None}
    reply = server.post(LEGACY + "submitJobs", data={"jobs": as_json(*jobs)}, environ_overrides=USER)
    assert reply.text == f"ERROR: {message}"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"prodSourceLabel": "managed"}, "job 0: prodSourceLabel managed needs a production role"),
        ({"prodSourceLabel": "ddm"}, "job 0: prodSourceLabel ddm is for the system's own use"),
        ({"job_label": "x"}, "job 0: job_label is 'x', which is neither user nor managed"),
    ],
)
def test_labels_that_the_caller_may_not_use(server: Client, attributes: dict[str, Any], message: str) -> None:
    assert submit(server, make_job(**attributes))["message"] == message


def test_a_production_role_may_submit_production_jobs(server: Client) -> None:
    reply = submit(server, make_job(prodSourceLabel="managed", jobDefinitionID=9), caller=PRODUCTION)
    assert reply["data"][0][1:] == [9, "test.job"]


@pytest.mark.parametrize("caller", [{}, LIMITED])
def test_submission_needs_a_full_credential(server: Client, caller: dict[str, str]) -> None:
    reply = server.post(LEGACY + "submitJobs", data={"jobs": as_json(make_job())}, environ_overrides=caller)
    assert reply.text == "False"
    assert submit(server, make_job(), caller=caller)["success"] is False


def test_more_jobs_than_configured_are_refused(make_client: MakeClient, tbuf: TaskBuffer, server: Client) -> None:
    small = make_client(tbuf=tbuf, max_jobs_per_submit=1)
    message = "2 jobs in one submission, at most 1; nothing was stored"
    assert submit(small, make_job(), make_job())["message"] == message


def test_a_submission_is_not_stored_twice_under_one_key(server: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    job = make_job()
    first, second = (submit(server, job, headers=headers)["data"] for _ in range(2))
    assert first == second
    assert "used for another request" in submit(server, make_job(jobName="other"), headers=headers)["message"]


class Busy(SetupperPluginBase):
    """Has something to prepare."""


def test_the_setupper_is_told_about_jobs_to_prepare_and_about_no_others(server: Client, services: FakeServices) -> None:
    services.setupper_plugins = {"other": Busy}
    jobs = [make_job(), make_job(VO="other"), make_job(computingSite="NEW"), make_job(computingSite=None)]
    stored = [job[0] for job in submit(server, *jobs)["data"]]
    assert services.nudged == stored[1:]


def test_an_unknown_outcome_is_reported_as_such(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> None:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests
    from pandaserver.taskbuffer.SiteSpec import SiteRows

    task_buffer.answers |= {"loadSites": SiteRows(), "storeJobs": OutcomeUnknown("nobody knows")}
    reply = make_client().post(V1 + "job/submit", json={"jobs": as_json(make_job())}, environ_overrides=USER)
    assert (reply.status_code, reply.headers.get("Retry-After")) == (503, None)


def test_a_submission_is_one_call(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> None:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests
    from pandaserver.taskbuffer.SiteSpec import SiteRows
    from pandaserver.taskbuffer.submission import Submitted

    task_buffer.answers |= {"loadSites": SiteRows(), "storeJobs": Submitted()}
    client = make_client()
    for _ in range(2):
        client.post(V1 + "job/submit", json={"jobs": as_json(make_job())}, environ_overrides=USER)
    assert [name for name, _, _ in task_buffer.calls if name != "getBannedUsers"] == [
        "loadSites",
        "storeJobs",
        "storeJobs",
    ]


def test_jobs_are_described_in_the_order_of_the_request(server: Client) -> None:
    job_id = submit(server, make_job(jobName="a"))["data"][0][0]
    known, unknown = loads(
        server.post(LEGACY + "getJobStatus", data={"ids": pickle.dumps([job_id, NOBODY], 0).decode()}).data
    )
    assert unknown is None
    assert state_of(known)[0] == job_id
    assert len(state_of(known)[-1]) == 3


def test_get_job_status_speaks_json_to_whoever_accepts_it(server: Client) -> None:
    job_id = submit(server, make_job(jobName="a"))["data"][0][0]
    url, fields = LEGACY + "getJobStatus", {"ids": json.dumps([job_id, NOBODY])}
    known, unknown = server.post(url, data=fields, headers={"Accept": "application/json"}).json
    assert (known["PandaID"], known["jobStatus"], "Files" in known, unknown) == (job_id, "activated", False, None)
    states = json.loads(server.post(url, data={**fields, "no_pickle": "True"}).text)
    assert (states[0][0], states[1]) == (job_id, None)


def test_v1_describes_jobs_with_their_files(server: Client) -> None:
    job_id = submit(server, make_job(metadata="<m/>"))["data"][0][0]
    for method, metadata in (("get_description", None), ("get_description_incl_archive", "<m/>")):
        reply = server.post(V1 + f"job/{method}", json={"job_ids": [job_id, NOBODY]}, environ_overrides=USER).json
        known, unknown = reply["data"]
        assert (known["PandaID"], len(known["Files"]), known["metadata"], unknown) == (job_id, 3, metadata, None)
        assert "__datetime__" in known["creationTime"]


def test_full_job_status_needs_a_credential(server: Client) -> None:
    assert server.post(LEGACY + "getFullJobStatus", data={"ids": "[1]"}).text == "False"
    assert legacy(server, "getFullJobStatus", ids="[1]") == [None]


def test_anonymous_readers_can_be_refused(make_client: MakeClient, tbuf: TaskBuffer, server: Client) -> None:
    closed = make_client(tbuf=tbuf, anonymous_reads=False)
    assert closed.post(LEGACY + "getJobStatus", data={"ids": "[1]"}).text == "False"
    assert legacy(closed, "getJobStatus", ids="[1]") == [None]


def test_jobs_of_a_task_are_found(server: Client) -> None:
    job_id = submit(server, make_job(jediTaskID=77))["data"][0][0]
    assert legacy(server, "getPandaIDsWithTaskID", jediTaskID=77) == [job_id]
    assert legacy(server, "getPandaIDsWithTaskID", caller=None, jediTaskID=78) == []
    assert legacy(server, "getPandaIDsWithTaskID", jediTaskID="x")[0] is False


def test_the_owner_kills_a_job_and_nobody_else_does(server: Client, tbuf: TaskBuffer) -> None:
    job_id = submit(server, make_job())["data"][0][0]
    other = {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"}
    body = {"job_ids": [job_id], "code": 9}
    assert server.post(V1 + "job/kill", json=body, environ_overrides=other).json["data"] == [False]
    ids = pickle.dumps([job_id, NOBODY], 0).decode()
    assert legacy(server, "killJobs", ids=ids, killOpts="keepUnmerged,jobSubStatus=mine") == [True, False]
    job = tbuf.peekJobs([job_id])[0]
    assert job is not None
    assert (job.jobStatus, job.jobSubStatus) == ("cancelled", "mine")


def test_a_single_job_is_killed_by_its_bare_number(server: Client) -> None:
    job_id = submit(server, make_job())["data"][0][0]
    assert legacy(server, "killJobs", ids=pickle.dumps(job_id, 0).decode(), code="9") == [True]
    assert server.post(LEGACY + "killJobs", data={"ids": "1"}).text == "False"


def test_the_datasets_of_killed_jobs_are_closed(server: Client, tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    ids = [row[0] for row in submit(server, make_job(jediTaskID=77), make_job(jediTaskID=77))["data"]]
    body = {"job_ids": ids, "code": 9}
    assert server.post(V1 + "job/kill", json=body, environ_overrides=USER).json["data"] == [True, True]
    assert status_of_dataset(tbuf, "user.jane.out") == "closed"


def test_all_jobs_of_a_task_are_killed_by_their_owner_only(server: Client) -> None:
    for _ in range(2):
        submit(server, make_job(jediTaskID=77))
    other = {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"}
    assert legacy(server, "killUnfinishedJobs", caller=other, jediTaskID=77, code=9) == [False, False]
    assert legacy(server, "killUnfinishedJobs", jediTaskID=77, code=9) == [True, True]
    assert legacy(server, "killUnfinishedJobs", jediTaskID=77, code=9) == [False, False]
    assert legacy(server, "killUnfinishedJobs", jediTaskID=78) == []
    reply = server.post(V1 + "task/kill_unfinished_jobs", json={"task_id": 77}, environ_overrides=USER)
    assert reply.json["data"] == [False, False]


def test_jobs_are_set_up_again_at_both_doors(server: Client, tbuf: TaskBuffer, services: FakeServices) -> None:
    first, second = (submit(server, make_job())["data"][0][0] for _ in range(2))
    other = {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"}
    reply = server.post(V1 + "job/reassign", json={"job_ids": [first]}, environ_overrides=other)
    assert (reply.json["success"], status_of(tbuf, first)) == (True, "activated")
    reply = server.post(V1 + "job/reassign", json={"job_ids": [first, NOBODY]}, environ_overrides=USER)
    assert (reply.json["data"], status_of(tbuf, first)) == (True, "defined")
    ids = pickle.dumps([second], 0).decode()
    assert legacy(server, "reassignJobs", ids=ids, firstSubmission="True") is True
    assert status_of(tbuf, second) == "defined"
    assert services.nudged[-2:] == [first, second]


def test_only_jobs_that_wait_are_released_for_the_task_layer(server: Client, tbuf: TaskBuffer) -> None:
    job_id = submit(server, make_job())["data"][0][0]
    assert legacy(server, "reassignJobs", ids=pickle.dumps([job_id], 0).decode(), forPending="True") is True
    assert status_of(tbuf, job_id) == "activated"


def status_of(tbuf: TaskBuffer, job_id: int) -> str | None:
    job = tbuf.peekJobs([job_id])[0]
    return job.jobStatus if job else None


def test_jobs_of_the_stock_client_library_can_be_submitted(server: Client) -> None:
    """Their attributes are fewer, and files refer to their owner."""
    from pandaclient.FileSpec import FileSpec as ClientFile
    from pandaclient.JobSpec import JobSpec as ClientJob

    job = ClientJob()
    job.jobName, job.prodSourceLabel, job.computingSite = "stock", "user", "TEST_PQ"
    job.transformation, job.jobDefinitionID = "http://localhost/run.sh", 1
    file = ClientFile()
    file.lfn, file.type, file.dataset, file.destinationDBlock = "out.root", "output", "user.x", "user.x"
    job.addFile(file)
    text = pickle.dumps([job], protocol=0).decode()
    text = text.replace("cpandaclient.", "cpandaserver.taskbuffer.")
    ((job_id, _, _),) = legacy(server, "submitJobs", jobs=text)
    known = loads(server.post(LEGACY + "getJobStatus", data={"ids": f"[{job_id}]"}).data)[0]
    assert state_of(known)[0] == job_id
    assert state_of(known)[-1][0].state[3] == "out.root"
