"""Whatever goes wrong, no reply ends a thread of a harvester, of any generation, and nothing is half done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from werkzeug.test import Client

from pandaserver.srvcore.errors import Busy, DatabaseError, LockLost, OutcomeUnknown, Unavailable
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.testing.harvester import FORM, JSON, Harvester
from pandaserver.testing.harvester_wire import GENERATIONS, METHODS, Generation, Heard, Stopped, understand
from tests.api.callers import LIMITED, PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.test_harvester_life import sender
from tests.db.crowd import query
from tests.db.stages import put_job

#: One good call of each method, under the names of v1.
GOOD: Final[Mapping[str, dict[str, Any]]] = {
    "heartbeat": {"harvester_id": "hv1", "data": {}},
    "worker_id": {"harvester_id": "hv1"},
    "jobs": {"site_name": "TEST_PQ", "node": "hv01", "prod_source_label": "managed", "n_jobs": 2},
    "update_jobs": {"job_list": [{"job_id": 999, "job_status": "running", "site_name": "TEST_PQ"}]},
    "check_jobs": {"job_ids": [1, 999]},
    "job_statistics": {},
    "detailed_statistics": {},
    "update_workers": {"harvester_id": "hv1", "workers": [{"workerID": 1, "status": "running", "pandaid_list": []}]},
    "old_worker_statistics": {
        "harvester_id": "hv1",
        "panda_queue": "TEST_PQ",
        "statistics": '{"SCORE": {"running": 1}}',
    },
    "report_worker_statistics": {
        "harvester_id": "hv1",
        "panda_queue": "TEST_PQ",
        "statistics": '{"managed": {"SCORE": {"running": 1}}}',
    },
    "worker_statistics": {},
    "dialogs": {"harvester_id": "hv1", "dialogs": [{"diagID": 1, "creationTime": "2026-08-01 10:00:00.000000"}]},
    "metrics": {"harvester_id": "hv1", "metrics": [["2026-08-01 10:00:00.000000", "hv01", "{}"]]},
    "commands": {"harvester_id": "hv1", "n_commands": 20},
    "acknowledge": {"command_ids": [1, 2]},
    "resource_types": {},
}

#: What may stand where something else was expected.
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    "",
    "x",
    "None",
    "[{",
    "a\0b",
    "\ud800",
    "'; DROP TABLE ATLAS_PANDA.Harvester_Workers; --",
    [],
    {},
    [None, 7, "x", [], {}],
    {"x": {"y": {"z": "w"}}},
    [{"workerID": 1, "status": ["x"], "pandaid_list": {"a": 1}, "syncLevel": "1", "startTime": 5, "nCore": 2**40}],
    [{"job_id": "1", "job_status": 7, "jobId": [1], "state": None}, 5],
    [{"diagID": "x"}, {"diagID": 2**65}, {"diagID": 5, "diagMessage": {"a": 1}, "creationTime": "never"}],
    [["2026-13-45", None, None], [1, 2], ["x", "y", "z" * 5000]],
)


class AwayTaskBuffer(FakeTaskBuffer):
    """A database that answers nothing but with one error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_args: Any, **_kwargs: Any) -> Any:
            if name == "getBannedUsers":
                return frozenset()
            raise self._error

        return fail


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    return _client(make_client, tbuf)


def _client(make_client: MakeClient, tbuf: Any, **changes: Any) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.userinterface.UserIF  # noqa: F401  declare their requests

    return make_client(tbuf=tbuf, **changes)


def calls() -> list[tuple[Generation, str]]:
    """Return each call that each generation makes."""
    return [
        (generation, name)
        for generation in GENERATIONS
        for name, method in METHODS.items()
        if (method.v1 if generation == "2026" else method.legacy)
    ]


every_call = pytest.mark.parametrize(("generation", "name"), calls(), ids=str)


def harvester(client: Client, generation: Generation, caller: Mapping[str, str] = PRODUCTION) -> Harvester:
    return Harvester(sender(client, caller), "hv1", generation)


def refused(heard: Heard) -> bool:
    return not heard.success


@every_call
def test_a_good_call_is_understood(server: Client, generation: Generation, name: str) -> None:
    heard = harvester(server, generation).call(name, **_named(generation, name, GOOD[name]))
    nothing_there = name in ("jobs", "job_statistics", "detailed_statistics")
    assert heard.success or nothing_there, heard


def _named(generation: Generation, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the elements of a list of heartbeats the names of the generation."""
    if name != "update_jobs" or generation == "2026":
        return dict(parameters)
    return {"job_list": [{"jobId": 999, "state": "running", "siteName": "TEST_PQ"}]}


@every_call
@pytest.mark.parametrize("caller", [{}, LIMITED, USER], ids=["nobody", "limited", "user"])
def test_who_may_not_is_told(server: Client, generation: Generation, name: str, caller: dict[str, str]) -> None:
    harvester(server, generation, caller).call(name, **_named(generation, name, GOOD[name]))


@every_call
def test_odd_values_stop_nobody(server: Client, generation: Generation, name: str) -> None:
    caller = harvester(server, generation)
    for parameter in GOOD[name]:
        for odd in ODD:
            if not _can_be_sent(generation, name, odd):
                continue
            heard = caller.call(name, **{**_named(generation, name, GOOD[name]), parameter: odd})
            assert heard.success or heard.message != "HTTP 500", (parameter, odd)


def _can_be_sent(generation: Generation, name: str, odd: Any) -> bool:
    if name == "check_jobs":  # a harvester joins its list before it sends it
        return generation == "2026" and odd != "\ud800"
    in_json = generation == "2026" and METHODS[name].verb == "POST"
    return in_json or odd != "\ud800"


@every_call
def test_missing_and_surplus_parameters_stop_nobody(server: Client, generation: Generation, name: str) -> None:
    caller = harvester(server, generation)
    for parameter in GOOD[name]:
        caller.call(name, **{key: value for key, value in GOOD[name].items() if key != parameter})
    caller.call(name)
    caller.call(name, **GOOD[name], made_up="x")


@every_call
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"\x1f\x8bjunk", b"null"])
def test_bodies_that_cannot_be_read_stop_nobody(server: Client, generation: Generation, name: str, body: bytes) -> None:
    new = generation == "2026"
    path = f"/api/v1/{METHODS[name].v1}" if new else f"/server/panda/{METHODS[name].legacy}"
    status, reply = sender(server)("POST", path, body, JSON if new else FORM)
    assert status == 200
    understand(generation, name, status, reply)


ERRORS: Final[tuple[Exception, ...]] = (
    Unavailable("the database is away"),
    OutcomeUnknown("the deadline has passed"),
    Busy("no bridge is free"),
    LockLost("a deadlock"),
    DatabaseError("something else"),
    RuntimeError("a bug"),
)


@every_call
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_database_that_is_away_stops_nobody(
    make_client: MakeClient, generation: Generation, name: str, error: Exception
) -> None:
    away = _client(make_client, AwayTaskBuffer(error))
    heard = harvester(away, generation).call(name, **_named(generation, name, GOOD[name]))
    assert refused(heard) or (generation != "2026" and heard.data in ({}, None)), heard


@every_call
def test_a_body_that_is_too_large_stops_nobody(
    make_client: MakeClient, tbuf: TaskBuffer, generation: Generation, name: str
) -> None:
    small = _client(make_client, tbuf, max_request_body=2000)
    caller = harvester(small, generation)
    lists = [key for key, value in GOOD[name].items() if isinstance(value, list | dict)]
    for parameter in lists:
        assert refused(caller.call(name, **{**GOOD[name], parameter: [{"x": "y" * 3000}]})) or name == "check_jobs"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_more_workers_than_one_statement_takes_are_taken(
    server: Client, tbuf: TaskBuffer, generation: Generation
) -> None:
    many = [{"workerID": n, "status": "idle", "pandaid_list": [n]} for n in range(2500)]
    heard = harvester(server, generation).call("update_workers", harvester_id="hv1", workers=many)
    assert heard.data == [True] * 2500
    assert query(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.Harvester_Workers") == [(2500,)]


@pytest.mark.parametrize("generation", ["2019", "2026"])
def test_an_item_that_cannot_be_used_costs_the_others_nothing(
    server: Client, tbuf: TaskBuffer, generation: Generation
) -> None:
    pid = put_job(tbuf, "running", attemptNr=1)
    caller = harvester(server, generation)
    odd: dict[str, Any] = {value: "x" for value in ("madeUp", "another")} | {
        "max_rss": [1],
        "maxRSS": {"a": 1},
        "n_events": "ten",
    }
    heard = caller.update_jobs({pid: "running"}, **odd)
    assert [item["StatusCode"] for item in heard.data] == [0]
    assert query(tbuf, "SELECT cpuConsumptionTime FROM ATLAS_PANDA.jobsActive4") == [(30,)]


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    "name",
    ["heartbeat", "update_workers", "dialogs", "metrics", "report_worker_statistics"],
)
def test_an_instance_without_a_name_is_told_so(server: Client, generation: Generation, name: str) -> None:
    heard = harvester(server, generation).call(name, **{**GOOD[name], "harvester_id": ""})
    assert (heard.success, heard.message) == (False, "the name of the harvester instance is empty")


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("log", [True, False])
def test_a_job_has_every_key_that_a_harvester_reads(
    server: Client, tbuf: TaskBuffer, generation: Generation, log: bool
) -> None:
    bare = dict.fromkeys(("coreCount", "minRamCount", "maxDiskCount", "maxWalltime", "jobsetID", "taskID"))
    put_job(tbuf, "activated", prodSourceLabel="managed", log=log, inputs=2, outputs=2, **bare)
    [job] = harvester(server, generation).acquire_jobs("TEST_PQ", 5).data
    assert (job["taskID"], job["jobsetID"]) == ("NULL", "NULL")


# ---- the watchman is awake


@pytest.mark.parametrize(
    ("generation", "name", "reply"),
    [
        ("2026", "commands", {"success": True, "message": "", "data": None}),
        ("2026", "heartbeat", {"message": "no success"}),
        ("2026", "update_jobs", {"success": True, "message": "", "data": [{"success": True, "data": {"a": 1}}]}),
        ("2026", "jobs", {"success": False, "data": None}),
        ("2026", "jobs", {"success": True, "message": "", "data": {"StatusCode": 0, "jobs": [{"PandaID": 1}]}}),
        ("2019", "update_jobs", {"StatusCode": 0}),
        ("2019", "commands", {"StatusCode": "0"}),
        ("2019", "jobs", {"StatusCode": 20}),
        ("2019", "job_statistics", {"TEST_PQ": {}}),
    ],
)
def test_replies_that_stop_a_harvester_are_known(generation: Generation, name: str, reply: Any) -> None:
    with pytest.raises(Stopped):
        understand(generation, name, 200, json.dumps(reply).encode())
