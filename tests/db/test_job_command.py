"""Debug mode and commands: who may, when, how many, and how they reach a pilot."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.kill import Killer
from pandaserver.taskbuffer.requests import StatusReport
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import query
from tests.db.stages import put_job

JANE = Killer("/DC=org/CN=Jane Doe", "Jane Doe")
PRODUCTION = Killer("/CN=Paula", "Paula", is_production=True)
GROUP = Killer("/CN=Greg", "Greg", groups=("phys-higgs",))
OK = "Succeeded"


def flags(tbuf: TaskBuffer, job: int, table: str = "jobsActive4") -> str | None:
    [[found]] = query(tbuf, f"SELECT specialHandling FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID", PandaID=job)
    return None if found is None else str(found)


def heartbeat(tbuf: TaskBuffer, job: int, stdout: str = "") -> str | None:
    return tbuf.updateJobStatus(StatusReport(PandaID=job, status="running", stdout=stdout)).command


def test_debug_mode_reaches_the_pilot_and_its_output_is_kept(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running", specialHandling="us,pc")
    assert tbuf.setDebugMode(job, True, JANE) == OK
    assert flags(tbuf, job) == "us,pc,debug"
    assert heartbeat(tbuf, job, "x" * 3000) == "debug"
    assert query(tbuf, "SELECT PandaID, stdOut FROM ATLAS_PANDA.jobsDebug") == [(job, "x" * 2048)]
    assert tbuf.setDebugMode(job, False, JANE) == OK
    assert flags(tbuf, job) == "us,pc"
    assert heartbeat(tbuf, job) is None
    assert query(tbuf, "SELECT PandaID FROM ATLAS_PANDA.jobsDebug") == []


@pytest.mark.parametrize("status", ["defined", "assigned", "activated", "sent", "starting", "running"])
def test_a_job_that_has_not_ended_can_be_debugged(tbuf: TaskBuffer, status: str) -> None:
    job = put_job(tbuf, status)
    assert tbuf.setDebugMode(job, True, JANE) == OK


@pytest.mark.parametrize("status", ["holding", "transferring", "merging"])
def test_a_job_that_is_nearly_done_cannot(tbuf: TaskBuffer, status: str) -> None:
    job = put_job(tbuf, status)
    assert tbuf.setDebugMode(job, True, JANE).startswith(
        f"cannot change the debug mode of PandaID={job}: it is {status}"
    )
    assert flags(tbuf, job) is None


def test_a_job_that_has_ended_is_not_at_work(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "finished")
    assert tbuf.setDebugMode(job, True, PRODUCTION) == f"there is no job at work with PandaID={job}"


def test_a_user_debugs_three_jobs_at_a_time(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "running", specialHandling="debug", prodUserName="John Roe")
    put_job(tbuf, "running", specialHandling="ddm:rucio,sdm")  # not in debug mode, whatever its letters
    put_job(tbuf, "running", specialHandling="us,dm")
    jobs = [put_job(tbuf, status) for status in ("running", "assigned", "running", "running")]
    assert [tbuf.setDebugMode(job, True, JANE) for job in jobs[:2]] == [OK, OK]
    refused = tbuf.setDebugMode(jobs[2], True, JANE)
    assert refused.startswith("Jane Doe has 3 jobs in debug mode already, and 3 may be: ")
    assert tbuf.setDebugMode(jobs[0], True, JANE) == OK  # it is one of them
    assert tbuf.setDebugMode(jobs[3], True, PRODUCTION) == OK
    assert tbuf.setDebugMode(jobs[1], False, JANE) == OK


def test_a_group_debugs_ten(tbuf: TaskBuffer) -> None:
    facts = {"workingGroup": "GR_PHYS-HIGGS", "prodSourceLabel": "managed", "prodUserID": "/CN=x", "prodUserName": "x"}
    jobs = [put_job(tbuf, "running", **facts) for _ in range(11)]
    assert [tbuf.setDebugMode(job, True, GROUP) for job in jobs[:10]] == [OK] * 10
    assert "has 10 jobs in debug mode already" in tbuf.setDebugMode(jobs[10], True, GROUP)


def test_nobody_else_debugs_a_job(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running", workingGroup="phys-top", prodUserID="/CN=x", prodUserName="x")
    for caller in (JANE, GROUP):
        assert tbuf.setDebugMode(job, True, caller).startswith("permission denied")
    assert flags(tbuf, job) is None
    assert query(tbuf, "SELECT actor FROM ATLAS_PANDA.panda_audit") == []


def test_a_change_of_debug_mode_is_recorded_once(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running")
    for mode in (True, True, False, False):
        tbuf.setDebugMode(job, mode, JANE)
    rows = query(tbuf, "SELECT actor, action, objectID, details FROM ATLAS_PANDA.panda_audit ORDER BY id")
    assert rows == [
        ("Jane Doe", "setDebugMode", str(job), '{"mode": true}'),
        ("Jane Doe", "setDebugMode", str(job), '{"mode": false}'),
    ]


def test_flags_of_a_job_are_never_cut(tbuf: TaskBuffer) -> None:
    many = ",".join(f"hc:CLOUD{n}" for n in range(8))
    job = put_job(tbuf, "running", specialHandling=many)
    assert tbuf.setDebugMode(job, True, JANE) == f"PandaID={job} has too many other flags: {many}"
    assert flags(tbuf, job) == many


def test_a_command_reaches_the_pilot(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running", specialHandling="debug")
    assert tbuf.send_command_to_job(job, "ps -f", "Paula") == (True, "command received")
    assert heartbeat(tbuf, job) == "debug,ps -f"
    waiting = put_job(tbuf, "defined")
    assert tbuf.send_command_to_job(waiting, "ls", "Paula") == (True, "command received")


def test_a_job_that_is_being_killed_takes_no_command(tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running", commandToPilot="tobekilled")
    assert tbuf.send_command_to_job(job, "ls", "Paula") == (False, "job is being killed")
    assert heartbeat(tbuf, job) == "tobekilled"
    assert tbuf.send_command_to_job(999, "ls", "Paula") == (False, "no active job with PandaID=999")
