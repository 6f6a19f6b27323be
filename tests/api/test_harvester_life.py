"""A harvester of each generation drives a thousand workers through their life."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.testing.harvester import Harvester, Send
from pandaserver.testing.harvester_wire import GENERATIONS, Generation
from tests.api.callers import PRODUCTION
from tests.api.conftest import MakeClient
from tests.db.completion import adder
from tests.db.crowd import put_jobs, query
from tests.db.stages import put_job

WORKERS, CALL = 1000, 100

#: Of the thousand: workers 0..399 run a job each, of which the first hundred die with it; the others are empty pilots.
BUSY, DYING = 400, 100

STATUSES = "SELECT status, COUNT(*) FROM ATLAS_PANDA.Harvester_Workers GROUP BY status"


def sender(client: Client, caller: Mapping[str, str] = PRODUCTION) -> Send:
    def send(verb: str, path: str, body: bytes, kind: str | None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Connection": "close"}
        reply = client.open(
            path, method=verb, data=body, content_type=kind, headers=headers, environ_overrides=dict(caller)
        )
        return reply.status_code, reply.data

    return send


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.userinterface.UserIF  # noqa: F401  declare their requests

    return make_client(tbuf=tbuf)


@pytest.fixture(params=GENERATIONS)
def harvester(request: pytest.FixtureRequest, server: Client) -> Harvester:
    generation: Generation = request.param
    return Harvester(sender(server), "hv1", generation)


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), CALL):
        yield items[start : start + CALL]


def transactions(tbuf: TaskBuffer) -> int:
    assert isinstance(tbuf.caller, LocalBridge)
    return tbuf.caller.transactions


def in_bulk(tbuf: TaskBuffer, call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Make one call for each hundred, and see that each is one transaction and is told what was said."""
    heard = []
    for part in chunks(items):
        before = transactions(tbuf)
        reply = call(part)
        assert (reply.success, len(reply.data), transactions(tbuf) - before) == (True, len(part), 1)
        heard += reply.data
    return heard


def test_a_thousand_workers_live_and_die(harvester: Harvester, tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, BUSY, prodSourceLabel="managed", attemptNr=1, resource_type="SCORE")
    assert harvester.start(["TEST_PQ"]).success
    jobs = [job["PandaID"] for _ in range(BUSY // CALL) for job in harvester.acquire_jobs("TEST_PQ", CALL).data]
    assert len(set(jobs)) == BUSY
    bound = dict(enumerate(jobs))

    def report(number: int, status: str, **more: Any) -> dict[str, Any]:
        busy = {"pandaid_list": [bound[number]], "nJobs": 1} if number in bound else {}
        return {"workerID": number, "status": status, **busy, **more}

    update = harvester.update_workers
    assert all(in_bulk(tbuf, update, [report(n, "submitted") for n in range(WORKERS)]))
    begun = {"startTime": "datetime/2026-08-01 10:05:00.000000"}
    assert all(in_bulk(tbuf, update, [report(n, "running", **begun) for n in range(WORKERS)]))
    running = in_bulk(tbuf, lambda part: harvester.update_jobs(dict.fromkeys(part, "running")), jobs)
    assert {item["StatusCode"] for item in running} == {0}

    living = jobs[DYING:]
    in_bulk(tbuf, lambda part: harvester.update_jobs(dict.fromkeys(part, "finished")), living)
    ends = {"endTime": "datetime/2026-08-01 11:00:00.000000", "syncLevel": 1}
    final = [
        report(n, "cancelled", diagMessage="held", errorCode=3018, **ends)
        if n < DYING
        else report(n, ("finished", "failed", "missed")[n % 3], **ends)
        for n in range(WORKERS)
    ]
    assert all(in_bulk(tbuf, update, final))
    assert all(in_bulk(tbuf, update, [report(n, "running") for n in range(WORKERS)]))  # late words change nothing

    assert dict(query(tbuf, STATUSES)) == {"cancelled": 100, "finished": 300, "failed": 300, "missed": 300}
    [(links,)] = query(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers")
    assert links == BUSY
    reported = "SELECT jobStatus, COUNT(*) FROM ATLAS_PANDA.Job_Output_Report GROUP BY jobStatus"
    assert dict(query(tbuf, reported)) == {"failed": DYING, "finished": BUSY - DYING}
    dead = """
        SELECT taskBufferErrorCode, supErrorCode, COUNT(*) FROM ATLAS_PANDA.jobsActive4
        WHERE PandaID IN (:ids[]) GROUP BY taskBufferErrorCode, supErrorCode
    """
    assert query(tbuf, dead, ids=jobs[:DYING]) == [(300, 3018, DYING)]
    assert query(tbuf, dead, ids=living) == [(0, 0, BUSY - DYING)]


def test_times_of_a_job_are_known_although_its_harvester_tells_none(server: Client, tbuf: TaskBuffer) -> None:
    new = Harvester(sender(server), "hv1", "2026")
    pid = put_job(tbuf, "sent", attemptNr=1)
    times = "SELECT startTime, endTime FROM ATLAS_PANDA.jobsActive4"
    new.update_jobs({pid: "starting"})
    assert query(tbuf, times) == [(None, None)]
    new.update_jobs({pid: "running"})
    [(begun, ended)] = query(tbuf, times)
    assert (begun is not None, ended) == (True, None)
    new.update_jobs({pid: "running"})
    new.update_jobs({pid: "finished"})
    [(still, ended)] = query(tbuf, times)
    assert still == begun
    assert ended is not None


def test_the_jobs_of_dead_workers_end(harvester: Harvester, tbuf: TaskBuffer) -> None:
    pids = put_jobs(tbuf, 3, "running", attemptNr=1)
    workers = [{"workerID": n, "status": "failed", "syncLevel": 1, "pandaid_list": [p]} for n, p in enumerate(pids)]
    assert harvester.update_workers(workers).success
    adder(tbuf).run(grace=0)
    ended = "SELECT jobStatus, taskBufferErrorCode FROM ATLAS_PANDA.jobsArchived4"
    assert query(tbuf, ended) == [("failed", 300)] * 3


def test_each_generation_is_told_in_its_own_words_how_many_workers_to_submit(
    harvester: Harvester, tbuf: TaskBuffer
) -> None:
    from pandaserver.taskbuffer.provisioning import StreamedQueue

    harvester.start(["TEST_PQ"])
    assert harvester.report_workers("TEST_PQ", {"SCORE": {"running": 0, "submitted": 0, "to_submit": 0}}).success
    put_jobs(tbuf, 4, resource_type="SCORE")
    tbuf.streamPilots(StreamedQueue("TEST_PQ", cores=8))
    [command] = harvester.commands().data
    text, params = {
        "2019": ("SET_N_WORKERS:TEST_PQ", {"SCORE": 5}),
        "0.5": ("SET_N_WORKERS_JOBTYPE:TEST_PQ", {"managed": {"SCORE": 5}}),
        "2026": ("SET_N_WORKERS_JOBTYPE:TEST_PQ", {"managed": {"SCORE": 5}}),
    }[harvester.generation]
    assert (command["command"], command["params"]) == (text, params)
    assert harvester.commands().data == []
    assert harvester.call("acknowledge", command_ids=[command["command_id"]]).success
    assert query(tbuf, "SELECT status FROM ATLAS_PANDA.Harvester_Commands") == [("acknowledged",)]


def test_the_cacher_gets_everything(harvester: Harvester, tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 2, resource_type="SCORE")
    counted = harvester.call("job_statistics").data
    assert counted == {"TEST_PQ": {"assigned": 0, "activated": 2, "running": 0}}
    assert len(harvester.call("resource_types").data) >= 4
    assert harvester.call("worker_statistics").data == {}
    assert harvester.call("worker_id", harvester_id="hv1").data is None
    harvester.update_workers([{"workerID": 17, "status": "submitted"}])
    assert harvester.call("worker_id", harvester_id="hv1").data == 17
