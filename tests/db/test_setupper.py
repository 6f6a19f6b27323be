"""From a stored job to one that a pilot can take."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Activator import Activator
from pandaserver.dataservice.Setupper import Setupper
from pandaserver.dataservice.SetupperPluginBase import SetupperPluginBase
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import ReassignRequest
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import Killer
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe")
SMALL = {"status": "online", "type": "unified", "maxrss": 2000, "corecount": 1}
LARGE = {"status": "online", "type": "unified", "maxrss": 32000, "corecount": 8}


class Breaking(SetupperPluginBase):
    def run(self) -> None:
        raise RuntimeError("no catalogue")


class Judging(SetupperPluginBase):
    """Fails what has no input and asks for the transfer of the rest."""

    def run(self) -> None:
        for job in self.jobs:
            if not any(file.type == "input" for file in job.Files):
                job.jobStatus, job.ddmErrorCode, job.ddmErrorDiag = "failed", 101, "no input"
                continue
            job.dispatchDBlock = "dis1"
            for file in job.Files:
                if file.type == "input":
                    file.dispatchDBlock, file.status = "dis1", "pending"


class NotSubscribing(Judging):
    def postRun(self) -> None:
        raise RuntimeError("DDM is down")


class Noting(SetupperPluginBase):
    """Notes which jobs it is told to have been set up before."""

    resubmit: bool
    noted: ClassVar[dict[int | None, bool]] = {}

    def run(self) -> None:
        self.noted.update((job.PandaID, self.resubmit) for job in self.jobs)


PLUGINS: dict[str, type[SetupperPluginBase]] = {
    "broken": Breaking,
    "judged": Judging,
    "undecided": NotSubscribing,
    "noting": Noting,
}


@pytest.fixture
def setupper(tbuf: TaskBuffer) -> Setupper:
    tbuf.storeQueues({"SMALL": SMALL, "LARGE": LARGE, "TEST_PQ": {**SMALL, "status": "offline"}})
    sites = SiteMapper(tbuf.loadSites, SiteSpec("DEFAULT"))
    return Setupper(tbuf, sites, PLUGINS.get)


def submit(tbuf: TaskBuffer, *jobs: JobSpec) -> list[int]:
    return [job.PandaID for job in tbuf.storeJobs(Submission(jobs, JANE)).jobs]


def job_of(tbuf: TaskBuffer, job_id: int) -> JobSpec:
    job = tbuf.peekJobs([job_id])[0]
    assert job is not None
    return job


def run_job(library: str, **attributes: Any) -> JobSpec:
    job = make_job(**attributes)
    job.add_file(FileSpec(lfn="lib.tgz", type="input", dataset=library, dispatchDBlock=library))
    return job


def test_a_job_with_a_queue_is_activated(tbuf: TaskBuffer, setupper: Setupper) -> None:
    ids = submit(tbuf, make_job(), make_job())
    assert setupper.set_up(ids) == ids
    job = job_of(tbuf, ids[0])
    assert (job.jobStatus, job.computingSite) == ("activated", "TEST_PQ")


def test_a_job_of_an_unknown_queue_fails_and_says_so(tbuf: TaskBuffer, setupper: Setupper) -> None:
    (job_id,) = submit(tbuf, make_job(computingSite="TYPO"))
    setupper.set_up([job_id])
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode) == ("failed", 100)
    assert job.ddmErrorDiag == "computingSite TYPO is not a queue"
    assert [file.status for file in job.Files] == ["unknown", "failed", "failed"]


def test_jobs_without_a_queue_are_spread_over_those_that_fit(tbuf: TaskBuffer, setupper: Setupper) -> None:
    jobs = [make_job(computingSite=None, minRamCount=ram) for ram in (1000, 1000, 4000, 1000)]
    ids = submit(tbuf, *jobs)
    setupper.set_up(ids)
    assert [job_of(tbuf, job_id).computingSite for job_id in ids] == ["LARGE", "SMALL", "LARGE", "SMALL"]
    assert {job_of(tbuf, job_id).jobStatus for job_id in ids} == {"activated"}


def test_a_job_that_fits_nowhere_waits_and_says_why(tbuf: TaskBuffer, setupper: Setupper) -> None:
    (job_id,) = submit(tbuf, make_job(computingSite=None, minRamCount=64000))
    setupper.set_up([job_id])
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.brokerageErrorCode) == ("waiting", 100)
    assert job.brokerageErrorDiag == (
        "no queue fits: LARGE: memory 32000 < 64000 MB; SMALL: memory 2000 < 64000 MB; TEST_PQ: offline"
    )


def test_a_waiting_job_is_released_when_a_queue_fits(tbuf: TaskBuffer, setupper: Setupper) -> None:
    (job_id,) = submit(tbuf, make_job(computingSite=None, minRamCount=64000))
    setupper.set_up([job_id])
    assert setupper.retry_waiting(retry_after=0) == []
    assert job_of(tbuf, job_id).jobStatus == "waiting"
    tbuf.storeQueues({"HUGE": {**LARGE, "maxrss": 128000}})
    later = Setupper(tbuf, SiteMapper(tbuf.loadSites, SiteSpec("DEFAULT")), PLUGINS.get)
    assert later.retry_waiting(retry_after=0) == [job_id]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.computingSite, job.brokerageErrorCode) == ("activated", "HUGE", 0)


def test_forgotten_jobs_are_picked_up_when_they_are_old_enough(tbuf: TaskBuffer, setupper: Setupper) -> None:
    ids = submit(tbuf, make_job())
    assert setupper.pick_up_lost(lost_after=3600) == []
    assert setupper.pick_up_lost(lost_after=0) == ids


def test_each_plugin_gets_the_jobs_of_its_own_vo_only(tbuf: TaskBuffer, setupper: Setupper) -> None:
    good, bad = submit(tbuf, make_job(), make_job(VO="broken"))
    setupper.set_up([good, bad])
    assert job_of(tbuf, good).jobStatus == "activated"
    failed = job_of(tbuf, bad)
    assert (failed.jobStatus, failed.ddmErrorDiag) == ("failed", "set-up failed: no catalogue")


@pytest.mark.parametrize("status", ["activated", "defined"])
def test_a_plugin_is_told_which_jobs_come_again(tbuf: TaskBuffer, setupper: Setupper, status: str) -> None:
    fresh, again = submit(tbuf, make_job(VO="noting"), make_job(VO="noting"))
    if status == "activated":
        setupper.set_up([again])
    done = tbuf.reassignJobs(ReassignRequest((again,), Killer(is_system=True)))
    assert done.defined == (again,)
    setupper.set_up([fresh, *done.defined])
    assert (Noting.noted[fresh], Noting.noted[again]) == (False, True)


def test_a_job_that_waited_for_a_queue_comes_for_the_first_time(tbuf: TaskBuffer, setupper: Setupper) -> None:
    (job_id,) = submit(tbuf, make_job(VO="noting", computingSite=None, minRamCount=64000))
    setupper.set_up([job_id])
    tbuf.storeQueues({"HUGE": {**LARGE, "maxrss": 128000}})
    later = Setupper(tbuf, SiteMapper(tbuf.loadSites, SiteSpec("DEFAULT")), PLUGINS.get)
    assert later.retry_waiting(retry_after=0) == [job_id]
    assert Noting.noted[job_id] is False


def test_a_plugin_decides_what_becomes_of_its_jobs(tbuf: TaskBuffer, setupper: Setupper) -> None:
    with_input, without = submit(tbuf, make_job(VO="judged"), make_job(VO="judged", inputs=0))
    setupper.set_up([with_input, without])
    assigned, failed = job_of(tbuf, with_input), job_of(tbuf, without)
    assert (assigned.jobStatus, assigned.dispatchDBlock, assigned.Files[0].status) == ("assigned", "dis1", "pending")
    assert (failed.jobStatus, failed.ddmErrorCode, failed.ddmErrorDiag) == ("failed", 101, "no input")
    assert Activator(tbuf).run("dis1") == [with_input]
    activated = job_of(tbuf, with_input)
    assert (activated.jobStatus, activated.Files[0].status) == ("activated", "ready")


def test_a_failure_after_the_set_up_fails_the_jobs_that_would_wait_for_ever(
    tbuf: TaskBuffer, setupper: Setupper
) -> None:
    (job_id,) = submit(tbuf, make_job(VO="undecided"))
    setupper.set_up([job_id])
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorDiag) == ("failed", "set-up failed: DDM is down")


def test_run_jobs_wait_for_their_library(tbuf: TaskBuffer, setupper: Setupper) -> None:
    ids = submit(tbuf, run_job("lib1"), run_job("lib1"), run_job("lib2"))
    setupper.set_up(ids)
    assert [job_of(tbuf, job_id).jobStatus for job_id in ids] == ["assigned"] * 3
    assert Activator(tbuf).run("lib1") == ids[:2]
    assert [job_of(tbuf, job_id).jobStatus for job_id in ids] == ["activated", "activated", "assigned"]


def test_a_library_that_is_there_before_the_set_up_is_not_waited_for(tbuf: TaskBuffer, setupper: Setupper) -> None:
    ids = submit(tbuf, run_job("lib1"))
    Activator(tbuf).run("lib1")
    setupper.set_up(ids)
    assert job_of(tbuf, ids[0]).jobStatus == "activated"


def test_a_job_that_was_killed_meanwhile_is_left_alone(tbuf: TaskBuffer, setupper: Setupper) -> None:
    from pandaserver.taskbuffer.kill import Killer, KillRequest

    ids = submit(tbuf, make_job())
    tbuf.killJobs(KillRequest((ids[0],), Killer(dn="/CN=Jane Doe", name="Jane Doe")))
    assert setupper.set_up(ids) == []
    assert job_of(tbuf, ids[0]).jobStatus == "cancelled"
