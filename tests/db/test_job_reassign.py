"""Jobs that wait are set up again from the start, in real databases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Setupper import Setupper
from pandaserver.dataservice.SetupperSimplePlugin import SetupperSimplePlugin
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import Reassigned, ReassignRequest
from pandaserver.taskbuffer.expiry import SET_UP_AGAIN, ExpiryRule
from pandaserver.taskbuffer.kill import Killer
from pandaserver.taskbuffer.requests import Reception, StatusReport
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import change, history, job_of, put_dataset, read, status_of_dataset, tables_of
from tests.db.stages import put_job

SYSTEM = Killer(is_system=True)
JANE = Killer(dn="/CN=Jane Doe", name="Jane Doe")
JOHN = Killer(dn="/CN=John Roe", name="John Roe")
OPERATOR = Killer(dn="/CN=Operator", name="Operator", is_production=True)
MANAGED = {"prodSourceLabel": "managed"}


def reassign(tbuf: TaskBuffer, *ids: int, by: Killer = SYSTEM, **more: Any) -> Reassigned:
    return tbuf.reassignJobs(ReassignRequest(ids, by, **more))


@pytest.mark.parametrize("status", ["pending", "waiting", "defined", "assigned", "activated"])
def test_a_job_that_waits_begins_again(tbuf: TaskBuffer, status: str) -> None:
    job_id = put_job(tbuf, status, brokerageErrorCode=100, brokerageErrorDiag="none", dispatchDBlock="x", **MANAGED)
    assert reassign(tbuf, job_id) == Reassigned(defined=(job_id,))
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.computingSite, job.dispatchDBlock) == ("defined", None, None)
    assert (job.brokerageErrorCode, job.brokerageErrorDiag) == (0, None)
    assert tables_of(tbuf, job_id) == ["jobsDefined4"]
    assert history(tbuf, job_id) == ([] if status == "defined" else ["defined"])


@pytest.mark.parametrize(
    "status", ["throttled", "sent", "starting", "running", "holding", "transferring", "merging", "finished", "closed"]
)
def test_a_job_that_does_not_wait_stays(tbuf: TaskBuffer, status: str) -> None:
    job_id = put_job(tbuf, status, **MANAGED)
    assert reassign(tbuf, job_id) == Reassigned()
    assert job_of(tbuf, job_id).jobStatus == status


@pytest.mark.parametrize(
    ("attributes", "more", "stays"),
    [
        (MANAGED, {}, False),
        (MANAGED, {"attempt": 1}, True),
        (MANAGED, {"attempt": 2}, False),
        (MANAGED | {"relocationFlag": 1}, {}, True),
        (MANAGED | {"relocationFlag": 2}, {}, True),
        (MANAGED | {"relocationFlag": 3}, {}, False),
        ({"prodSourceLabel": "user"}, {}, True),
        ({"prodSourceLabel": "panda"}, {}, True),
    ],
)
def test_some_jobs_keep_their_queue(
    tbuf: TaskBuffer, attributes: dict[str, Any], more: dict[str, Any], stays: bool
) -> None:
    job_id = put_job(tbuf, "activated", **attributes)
    reassign(tbuf, job_id, **more)
    assert job_of(tbuf, job_id).computingSite == ("TEST_PQ" if stays else None)


@pytest.mark.parametrize(
    ("status", "before", "after"), [("activated", 99, 100), ("activated", 101, 101), ("assigned", 99, 99)]
)
def test_a_job_that_waited_for_a_pilot_gets_a_least_priority(
    tbuf: TaskBuffer, status: str, before: int, after: int
) -> None:
    job_id = put_job(tbuf, status, currentPriority=before, **MANAGED)
    reassign(tbuf, job_id)
    assert job_of(tbuf, job_id).currentPriority == after


def test_jobs_of_tasks_go_back_to_their_task(tbuf: TaskBuffer) -> None:
    waiting, running = (put_job(tbuf, status, jediTaskID=7, **MANAGED) for status in ("activated", "running"))
    assert reassign(tbuf, waiting, running) == Reassigned(closed=(waiting,))
    job = job_of(tbuf, waiting)
    assert (job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode) == ("closed", "toreassign", 100)
    assert job_of(tbuf, running).commandToPilot is None


@pytest.mark.parametrize(
    ("status", "site", "expected"),
    [("pending", "TEST_PQ", "TEST_PQ"), ("waiting", None, None), ("activated", "TEST_PQ", "TEST_PQ")],
)
def test_jobs_that_wait_for_the_task_layer_are_released_as_they_are(
    tbuf: TaskBuffer, status: str, site: str | None, expected: str | None
) -> None:
    job_id = put_job(tbuf, status, jediTaskID=7, computingSite=site, **MANAGED)
    reassign(tbuf, job_id, for_pending=True)
    job = job_of(tbuf, job_id)
    released = "activated" if status == "activated" else "defined"
    assert (job.jobStatus, job.computingSite) == (released, expected)


def test_placeholders_and_jobs_that_were_told_to_end_stay(tbuf: TaskBuffer) -> None:
    ids = (
        put_job(tbuf, "waiting", computingSite="WAITING_CO_JUMBO", **MANAGED),
        put_job(tbuf, "pending", commandToPilot="tobekilled", **MANAGED),
    )
    assert reassign(tbuf, *ids) == Reassigned()


@pytest.mark.parametrize(
    ("by", "attributes", "allowed"),
    [
        (JANE, {}, True),
        (JOHN, {}, False),
        (Killer(), {}, False),
        (OPERATOR, {}, True),
        (OPERATOR, MANAGED, True),
        (Killer("/CN=John", "John", groups=("higgs",)), MANAGED | {"workingGroup": "gr_higgs"}, True),
        (Killer("/CN=John", "John", groups=("higgs",)), {"workingGroup": "gr_higgs"}, False),
    ],
)
def test_who_may_set_up_again_what(tbuf: TaskBuffer, by: Killer, attributes: dict[str, Any], allowed: bool) -> None:
    job_id = put_job(tbuf, "assigned", **attributes)
    assert bool(reassign(tbuf, job_id, by=by).defined) is allowed
    audited = read(tbuf, "SELECT actor, action, objectID FROM ATLAS_PANDA.panda_audit")
    assert audited == ([(by.name, "reassignJobs", str(job_id))] if allowed else [])


def test_files_begin_again_too(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out_sub007")
    job_id = put_job(tbuf, "assigned", **MANAGED)
    set_files(tbuf, job_id, "input", status="missing", GUID="g", dispatchDBlock="dis")
    set_files(tbuf, job_id, "output", destinationDBlock="user.jane.out_sub007", status="ready")
    reassign(tbuf, job_id)
    source, output, _ = job_of(tbuf, job_id).Files
    assert (source.status, source.GUID, source.dispatchDBlock) == ("unknown", None, None)
    assert (output.status, output.destinationDBlock) == ("unknown", "user.jane.out")
    assert status_of_dataset(tbuf, "user.jane.out_sub007") == "tobeclosed"


def test_a_sub_dataset_that_others_fill_stays_open(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out_sub007")
    job_id, other = (put_job(tbuf, "assigned", **MANAGED) for _ in range(2))
    for each in (job_id, other):
        set_files(tbuf, each, "output", destinationDBlock="user.jane.out_sub007")
    reassign(tbuf, job_id)
    assert status_of_dataset(tbuf, "user.jane.out_sub007") == "running"


def test_a_library_that_was_built_stays_where_it_is(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "assigned")
    set_files(tbuf, job_id, "input", status="ready", dispatchDBlock="user.jane.lib")
    reassign(tbuf, job_id)
    library = job_of(tbuf, job_id).Files[0]
    assert (library.status, library.dispatchDBlock) == ("ready", "user.jane.lib")


def set_files(tbuf: TaskBuffer, job_id: int, kind: str, **values: str) -> None:
    for column, value in values.items():
        sql = f"UPDATE ATLAS_PANDA.filesTable4 SET {column} = :value WHERE PandaID = :id AND type = :kind"
        change(tbuf, sql, value=value, id=job_id, kind=kind)


def test_a_pilot_that_comes_back_for_a_job_that_began_again_is_refused(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "starting", attemptNr=1, jobParameters="-o user.jane.out.0000.root", **MANAGED)
    rule = ExpiryRule("everything", "jobsActive4", 0, SET_UP_AGAIN, ("modificationTime IS NOT NULL", ":minutes = 0"))
    assert [job.PandaID for job in tbuf.expireJobs(rule, 10)] == [job_id]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.attemptNr, job.startTime) == ("defined", 2, None)
    assert (job.Files[1].lfn, job.jobParameters) == ("user.jane.out.0000.root.2", "-o user.jane.out.0000.root.2")
    change(tbuf, "UPDATE ATLAS_PANDA.jobsDefined4 SET computingSite = 'TEST_PQ'")
    setupper(tbuf).set_up([job_id])
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET jobStatus = 'sent'")
    answer = tbuf.updateJobStatus(StatusReport(job_id, "running", attempt_nr=1))
    assert (answer.reception, answer.command) == (Reception.rejected, "tobekilled")


def setupper(tbuf: TaskBuffer) -> Setupper:
    class NewQueue(SiteMapper):
        def check_afresh(self, name: str | None) -> bool:
            return name == "TEST_PQ"

    return Setupper(tbuf, NewQueue(SiteRows, SiteSpec("default")), lambda _vo: SetupperSimplePlugin)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    statuses=st.lists(st.sampled_from([str(s) for s in HOME]), min_size=1, max_size=6),
    for_pending=st.booleans(),
    task=st.sampled_from([None, 7]),
)
def test_every_job_stays_in_one_table_and_only_those_that_wait_move(
    tbuf: TaskBuffer, statuses: list[str], for_pending: bool, task: int | None
) -> None:
    ids = [put_job(tbuf, status, jediTaskID=task, **MANAGED) for status in statuses]
    done = reassign(tbuf, *ids, for_pending=for_pending)
    may_move = {"pending", "waiting"} if for_pending else {"pending", "waiting", "defined", "assigned", "activated"}
    moved = {job_id for job_id, status in zip(ids, statuses, strict=True) if status in may_move}
    assert {*done.defined, *done.closed} == moved
    assert (not done.closed) or (task == 7 and not for_pending)
    for job_id, status in zip(ids, statuses, strict=True):
        now = job_of(tbuf, job_id).jobStatus or ""
        expected = "defined" if job_id in done.defined else "closed" if job_id in done.closed else status
        assert (now, tables_of(tbuf, job_id)) == (expected, [HOME[JobStatus(expected)]])
