"""Giving jobs to pilots, on real databases."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from pandaserver.taskbuffer.dialects.base import claim_query
from pandaserver.taskbuffer.dialects.postgres import PostgresSession
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import NOTHING, Acquired, JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.crowd import insert, put_jobs, query, statements_of
from tests.db.stages import put_job

QUEUE = "TEST_PQ"


@pytest.fixture(autouse=True)
def no_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)


def wants(n_jobs: int = 1, selection: Selection = Selection.user, **filters: object) -> JobRequest:
    return JobRequest(QUEUE, n_jobs, selection, **filters)  # type: ignore[arg-type]


def ids_of(acquired: Acquired) -> list[int | None]:
    return [job.PandaID for job in acquired.jobs]


def test_a_job_is_given_with_everything_that_a_pilot_needs(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "activated")
    [job] = tbuf.getJobs(wants(node="wn01", computing_element="ce", scheduler_id="hv1")).jobs
    assert (job.PandaID, job.jobStatus, job.jobParameters) == (pid, "sent", "-i x")
    assert (job.modificationHost, job.computingElement, job.schedulerID) == ("wn01", "ce", "hv1")
    assert job.startTime is not None
    assert job.startTime == job.stateChangeTime == job.modificationTime
    assert [file.type for file in job.Files] == ["input", "output", "log"]


def test_what_a_pilot_does_not_name_stays_as_it_is(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "activated", computingElement="ce", schedulerID="me")
    [job] = tbuf.getJobs(wants()).jobs
    assert (job.computingElement, job.schedulerID, job.jobExecutionID) == ("ce", "me", 0)


def test_the_history_knows_that_a_job_was_sent(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "activated")
    tbuf.getJobs(wants())
    rows = query(tbuf, "SELECT jobStatus, modificationHost FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :p", p=pid)
    assert rows == [("sent", "testhost")]


def test_asking_again_gives_another_job_until_there_is_none(tbuf: TaskBuffer) -> None:
    ids = put_jobs(tbuf, 2)
    assert [ids_of(tbuf.getJobs(wants())) for _ in range(3)] == [[ids[0]], [ids[1]], []]
    assert tbuf.getJobs(wants()) == NOTHING


def test_the_highest_priority_comes_first_and_then_the_oldest(tbuf: TaskBuffer) -> None:
    low, high = put_jobs(tbuf, 2, currentPriority=10), put_jobs(tbuf, 2, currentPriority=2000)
    assert ids_of(tbuf.getJobs(wants(10))) == [*high, *low]


def test_the_dice_give_the_oldest_job(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 100)
    low, _ = put_jobs(tbuf, 1, currentPriority=10), put_jobs(tbuf, 1, currentPriority=2000)
    assert ids_of(tbuf.getJobs(wants())) == low


def test_operators_set_how_often_the_dice_are_rolled(tbuf: TaskBuffer) -> None:
    row = {"app": "pandaserver", "component": "jobdispatch", "key": "SLOPPY_DISPATCH_RATIO", "value": "100"}
    insert(tbuf, "PANDA.Config", {**row, "type": "int", "VO": "default", "descr": "test"})
    low, _ = put_jobs(tbuf, 1, currentPriority=10), put_jobs(tbuf, 1, currentPriority=2000)
    assert ids_of(tbuf.getJobs(wants())) == low


# -- filters -----------------------------------------------------------------------------------------------------------

LABELS = ("managed", "test", "prod_test", "install", "user", "panda", "ptest", "rc_test2", "ddm")


@pytest.mark.parametrize(
    ("selection", "label", "expected"),
    [
        (Selection.user, "user", {"user", "panda", "install"}),
        (Selection.managed, None, {"managed", "test", "prod_test", "install"}),
        (Selection.unified, "unified", {"managed", "test", "prod_test", "install", "user", "panda"}),
        (Selection.test, "test", {"prod_test", "install", "test", "gangarobot"}),
        (Selection.gangarobot, "test", {"gangarobot"}),
        (Selection.exact, "ptest", {"ptest"}),
        (Selection.exact, "rc_test2", {"rc_test2"}),
        (Selection.exact, "panda", {"panda"}),
    ],
)
def test_a_selection_takes_its_labels(
    tbuf: TaskBuffer, selection: Selection, label: str | None, expected: set[str]
) -> None:
    for name in LABELS:
        put_job(tbuf, "activated", prodSourceLabel=name)
    put_job(tbuf, "activated", prodSourceLabel="rc_alrb", processingType="gangarobot")
    jobs = tbuf.getJobs(wants(20, selection, label=label)).jobs
    robot = "gangarobot"
    assert {robot if job.processingType == robot else job.prodSourceLabel for job in jobs} == expected


@pytest.mark.parametrize(
    ("attributes", "filters"),
    [
        ({"minRamCount": 2000}, {"memory": 1999}),
        ({"maxDiskCount": 500}, {"disk_space": 499}),
        ({"maxWalltime": 3601}, {"remaining_time": 3600}),
        ({"jediTaskID": 7}, {"task_id": 8}),
        ({"resource_type": "MCORE"}, {"resource_type": "SCORE"}),
        ({"prodUserName": "John Roe"}, {"user_name": "Jane Doe"}),
        ({"jobExecutionID": 0}, {"background": True}),
        ({"computingSite": "OTHER_PQ"}, {}),
    ],
)
def test_a_job_that_does_not_fit_waits(
    tbuf: TaskBuffer, attributes: dict[str, object], filters: dict[str, object]
) -> None:
    put_job(tbuf, "activated", **attributes)
    assert tbuf.getJobs(wants(**filters)) == NOTHING


@pytest.mark.parametrize(
    ("attributes", "filters"),
    [
        ({"minRamCount": 2000}, {"memory": 2000}),
        ({"minRamCount": 0}, {"memory": 1}),
        ({"minRamCount": 99_000}, {"memory": 0}),
        ({"maxDiskCount": 500}, {"disk_space": 0}),
        ({"maxDiskCount": 0}, {"disk_space": 10}),
        ({"maxWalltime": None}, {"remaining_time": 10}),
        ({"jediTaskID": 7}, {"task_id": 7}),
        ({"resource_type": "MCORE"}, {"resource_type": "MCORE"}),
        ({"jobExecutionID": 1}, {"background": True}),
        ({"jobExecutionID": 1}, {}),
    ],
)
def test_a_job_that_fits_is_given(tbuf: TaskBuffer, attributes: dict[str, object], filters: dict[str, object]) -> None:
    pid = put_job(tbuf, "activated", **attributes)
    assert ids_of(tbuf.getJobs(wants(**filters))) == [pid]


@pytest.mark.parametrize("status", ["throttled", "sent", "running", "holding"])
def test_only_activated_jobs_are_given(tbuf: TaskBuffer, status: str) -> None:
    put_job(tbuf, status)
    assert tbuf.getJobs(wants()) == NOTHING


# -- shares ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shares(tbuf: TaskBuffer) -> dict[str, list[int]]:
    """Two shares of equal weight, of which ``busy`` runs everything, and a job of a share that nobody knows."""
    waiting = {name: put_jobs(tbuf, 2, gshare=name, currentPriority=p) for name, p in (("busy", 900), ("idle", 100))}
    waiting["unheard"] = put_jobs(tbuf, 1, gshare="unheard", currentPriority=5000)
    insert(tbuf, "PANDA.Global_Shares", *({"name": name, "value": 50} for name in ("busy", "idle")))
    usage = {"ts": "now", "computingSite": QUEUE, "nJobs": 1, "hs": 10}
    insert(
        tbuf,
        "PANDA.Jobs_Share_Stats",
        {**usage, "gshare": "busy", "jobStatus": "running"},
        {**usage, "gshare": "busy", "jobStatus": "activated"},
        {**usage, "gshare": "idle", "jobStatus": "activated"},
    )
    return waiting


def test_the_most_under_used_share_comes_first_whatever_the_priority(
    tbuf: TaskBuffer, shares: dict[str, list[int]]
) -> None:
    assert ids_of(tbuf.getJobs(wants(4))) == [*shares["idle"], *shares["busy"]]


def test_a_job_of_an_unknown_share_is_found_at_last(tbuf: TaskBuffer, shares: dict[str, list[int]]) -> None:
    assert ids_of(tbuf.getJobs(wants(9)))[4:] == shares["unheard"]


# -- beside the job ----------------------------------------------------------------------------------------------------


def test_a_worker_is_linked_to_its_job_when_its_instance_is_known(tbuf: TaskBuffer) -> None:
    insert(tbuf, "PANDA.Harvester_Instances", {"harvester_ID": "hv1"})
    pid = put_job(tbuf, "activated")
    tbuf.getJobs(wants(harvester_id="hv1", worker_id=42))
    workers = query(tbuf, "SELECT workerID, status, nJobs, computingSite FROM ATLAS_PANDA.Harvester_Workers")
    assert workers == [(42, "running", 1, QUEUE)]
    assert query(tbuf, "SELECT workerID, PandaID FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers") == [(42, pid)]


def test_an_instance_is_known_as_soon_as_it_registers(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 2)
    tbuf.getJobs(wants(harvester_id="hv1", worker_id=42))
    insert(tbuf, "PANDA.Harvester_Instances", {"harvester_ID": "hv1"})
    [job] = tbuf.getJobs(wants(harvester_id="hv1", worker_id=42)).jobs
    assert query(tbuf, "SELECT PandaID FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers") == [(job.PandaID,)]


def test_a_worker_of_an_unknown_instance_is_not_linked(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "activated")
    tbuf.getJobs(wants(harvester_id="hv1", worker_id=42))
    assert len(query(tbuf, "SELECT workerID FROM ATLAS_PANDA.Harvester_Workers")) == 1
    assert query(tbuf, "SELECT workerID FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers") == []


def test_secrets_travel_with_jobs_that_use_them(tbuf: TaskBuffer) -> None:
    tbuf.set_user_secrets("Jane Doe", '{"a": "b"}')
    tbuf.set_user_secrets("pilot secrets", '{"c": "d"}')
    put_job(tbuf, "activated", specialHandling="us")
    plain = put_job(tbuf, "activated", currentPriority=1)
    acquired = tbuf.getJobs(wants())
    assert (dict(acquired.secrets), acquired.pilot_secrets) == ({"Jane Doe": '{"a": "b"}'}, None)
    last = tbuf.getJobs(wants())
    assert (ids_of(last), dict(last.secrets)) == ([plain], {})


def test_jobs_in_debug_mode_get_the_secrets_of_pilots(tbuf: TaskBuffer) -> None:
    tbuf.set_user_secrets("pilot secrets", '{"c": "d"}')
    put_job(tbuf, "activated", specialHandling="sj,debug")
    assert tbuf.getJobs(wants()).pilot_secrets == '{"c": "d"}'


def test_jobs_sent_in_the_last_minute_are_counted_on_request(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 3, prodSourceLabel="managed")
    counts = [tbuf.getJobs(wants(1, Selection.managed, counts_sent=True)).n_sent for _ in range(3)]
    assert counts == [0, 1, 2]
    put_jobs(tbuf, 1)
    assert tbuf.getJobs(wants()).n_sent == 0


# -- the way to a job --------------------------------------------------------------------------------------------------


@operation(timeout=60)
def explain_claim_for_test(tx: Transaction, wanted: JobRequest, order: str, conditions: Sequence[str]) -> str:
    """Return how the database would look for the jobs of a claim, knowing what is in the table."""
    dialect = tx.cursor.dialect
    where = [*job_dispatch._eligible(wanted), *conditions]
    sql = claim_query("PandaID", job_dispatch.TABLE, where, order, limit=True)
    binds = {**job_dispatch._binds(wanted), "share": "s", "claim_limit": 1}
    text, values = dialect.bound(dialect.statement(sql), binds, lambda value: value)
    if dialect.backend == "postgres":
        tx.cursor.execute_native("SET LOCAL enable_seqscan = off")
        tx.cursor.execute_native(f"ANALYZE {dialect.table('ATLAS_PANDA', 'jobsActive4')}")
    explain = "EXPLAIN QUERY PLAN" if dialect.backend == "sqlite" else "EXPLAIN"
    return str(tx.cursor.session.execute(f"{explain} {text}", values).fetchall())


@pytest.mark.parametrize("selection", [Selection.user, Selection.managed, Selection.unified])
@pytest.mark.parametrize(
    ("name", "order", "conditions"),
    [
        ("share", job_dispatch.BY_PRIORITY, (job_dispatch.OF_SHARE,)),
        ("any", job_dispatch.BY_PRIORITY, ()),
        ("oldest", job_dispatch.BY_AGE, ()),
    ],
)
def test_a_claim_begins_at_its_job(
    tbuf: TaskBuffer,
    database: ConnectionSettings,
    selection: Selection,
    name: str,
    order: str,
    conditions: tuple[str, ...],
) -> None:
    for site in (QUEUE, *(f"OTHER_{n}" for n in range(5))):
        for label in ("user", "managed"):
            for share in "stuvw":
                put_jobs(tbuf, 30, computingSite=site, prodSourceLabel=label, gshare=share)
    wanted = wants(1, selection, memory=2000)
    plan = tbuf.caller.call(explain_claim_for_test, (wanted, order, conditions), {})
    assert f"jobsactive4_{'st' if database.backend == 'mysql' else selection}_{name}_idx" in plan
    assert not re.search(r"\bSort\b|TEMP B-TREE|filesort", plan)


# -- cost and crowds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [10, 1000])
@pytest.mark.parametrize("wanted", [1, 10, 100, 1000])
def test_the_number_of_statements_depends_on_nothing(
    tbuf: TaskBuffer, database: ConnectionSettings, waiting: int, wanted: int
) -> None:
    put_jobs(tbuf, waiting)
    tbuf.getJobs(wants())  # fills the memory of the connection
    claims = 2 if database.backend == "mysql" else 1
    # claim, jobs, files, UPDATE, history; PostgreSQL reads one job and its files together
    reads = 1 if database.backend == "postgres" and wanted == 1 else 2
    assert statements_of(tbuf, "acquire_jobs", wants(wanted)) == claims + reads + 2


@operation(timeout=60)
def trips_of_a_claim_for_test(tx: Transaction, wanted: JobRequest) -> list[str]:
    """Return what is sent to PostgreSQL for one request, without BEGIN and COMMIT."""
    session = tx.cursor.session
    assert isinstance(session, PostgresSession)
    sent: list[str] = []
    cursor, session._cursor = session._cursor, SpiedCursor(session._cursor, sent)  # type: ignore[assignment]
    try:
        job_dispatch.acquire_jobs(tx, wanted)
    finally:
        session._cursor = cursor
    return sent


class SpiedCursor:
    """A cursor that notes what it executes."""

    def __init__(self, cursor: Any, sent: list[str]) -> None:
        self._cursor = cursor
        self._sent = sent

    def execute(self, text: str, values: Any = None) -> None:
        """Note and execute."""
        self._sent.append(text)
        self._cursor.execute(text, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@operation(timeout=60)
def plan_of_the_prepared_claim_for_test(tx: Transaction) -> str:
    """Return how PostgreSQL executes the claim that it keeps."""
    execute = tx.cursor.session.execute
    kept = "SELECT name FROM pg_prepared_statements WHERE POSITION('SKIP LOCKED' IN statement) > 0"
    [(name,)] = execute(kept, {}).fetchall()
    execute("SET LOCAL plan_cache_mode = force_generic_plan", {})
    return str(execute(f"EXPLAIN EXECUTE {name} ('{QUEUE}', 1)", {}).fetchall())


def test_a_job_is_one_trip_to_postgres_and_the_commit(tbuf: TaskBuffer, database: ConnectionSettings) -> None:
    if database.backend != "postgres":
        pytest.skip("other backends have no statements that travel together")
    put_jobs(tbuf, 10)
    for _ in range(7):  # until everything is prepared
        tbuf.getJobs(wants())
    [sent] = tbuf.caller.call(trips_of_a_claim_for_test, (wants(),), {})
    assert sent.count("EXECUTE") == 2  # the claim and the reading; the changes travel with the commit


def test_a_prepared_claim_walks_its_index_though_it_was_planned_for_an_empty_queue(
    tbuf: TaskBuffer, database: ConnectionSettings
) -> None:
    if database.backend != "postgres":
        pytest.skip("other backends prepare nothing")
    for _ in range(7):
        assert tbuf.getJobs(wants()) == NOTHING
    plan = tbuf.caller.call(plan_of_the_prepared_claim_for_test, (), {})
    assert "_any_idx" in plan  # that of the group, or the one of all groups; both are in the order of the claim
    assert "Sort" not in plan


def test_sixteen_pilots_get_two_thousand_jobs_once_each_and_never_in_vain(
    database: ConnectionSettings, operation_settings: OperationSettings, tbuf: TaskBuffer
) -> None:
    jobs, pilots = 2000, 16
    ids = put_jobs(tbuf, jobs)
    given: list[list[int | None]] = [[] for _ in range(pilots)]
    left_waiting: list[int] = []
    start = threading.Barrier(pilots)

    def pilot(mine: list[int | None]) -> None:
        bridge = LocalBridge(database, operation_settings)
        own = TaskBuffer(bridge)
        start.wait()
        while acquired := ids_of(own.within(120).getJobs(wants(7))):
            mine += acquired
        left_waiting.append(
            len(query(own, "SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE jobStatus = 'activated'"))
        )
        bridge.close()

    threads = [threading.Thread(target=pilot, args=(mine,)) for mine in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pid for mine in given for pid in mine if pid) == ids
    # Whoever was sent away saw fewer jobs than others could be holding in an open transaction.
    assert max(left_waiting) <= 7 * (pilots - 1)
    assert len(left_waiting) == pilots
