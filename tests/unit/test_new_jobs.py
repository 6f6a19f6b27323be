"""What submission demands of jobs and decides about them."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer import job_defaults
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.schema import metadata
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.submission import Submitter
from pandaserver.taskbuffer.submission_checks import LIMITS, SMALL_NUMBERS, check_submission
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane", name="Jane", fqans=("/vo/ch/Role=production", "/vo/higgs/Role=production"), vo="vo")


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"computingSite": "x" * 129}, "computingSite is 129 characters, at most 128"),
        ({"coreCount": 2**31}, "coreCount is 2147483648, which is too large"),
        ({"minRamCount": 2**63}, "minRamCount is 9223372036854775808, which is too large"),
        ({"cpuConversion": 1e5}, "cpuConversion is 100000.0, which is too large"),
        ({"memory_leak_x2": float("nan")}, "memory_leak_x2 is nan, which is too large"),
    ],
)
def test_values_that_no_column_takes(attributes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRequest, match=f"^job 0: {problem}$"):
        check_submission([make_job(**attributes)], JANE)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"lfn": None}, "lfn is missing"),
        ({"lfn": "a,b"}, "lfn is 'a,b', and a comma separates the names of files where pilots read them"),
        ({"type": "inputs"}, "type is 'inputs', not one of input, pseudo_input, output, log, zipinput"),
        ({"fsize": 2**63}, "fsize is 9223372036854775808, which is too large"),
        ({"scope": "x" * 31}, "scope is 31 characters, at most 30"),
    ],
)
def test_files_that_no_row_takes(attributes: dict[str, Any], problem: str) -> None:
    job = make_job()
    for name, value in attributes.items():
        setattr(job.Files[1], name, value)
    with pytest.raises(BadRequest, match=f"^job 0: file 1: {problem}$"):
        check_submission([job], JANE)


def test_diagnostics_are_cut_instead_of_refused() -> None:
    job = make_job(pilotErrorDiag="x" * 1000)
    check_submission([job], JANE)
    assert job.pilotErrorDiag == "x" * 500


def test_the_limits_of_numbers_are_those_of_the_columns() -> None:
    columns = metadata.tables["ATLAS_PANDA.jobsactive4"].columns
    assert {c.key for c in columns if str(c.type) == "INTEGER"} == SMALL_NUMBERS
    assert {c.key for c in columns if not hasattr(c.type, "length") and str(c.type) != "TIMESTAMP"} - {"PandaID"} == {
        *LIMITS
    }
    assert {c.key: c.type.length for c in columns if getattr(c.type, "length", None)} == JOB_TEXT_LIMITS


def settled(submitter: Submitter = JANE, queue: SiteSpec | None = None, **attributes: Any) -> JobSpec:
    job = make_job(**attributes)
    job_defaults.settle_owner(job, submitter, "main", job_defaults.working_groups(submitter.fqans))
    job_defaults.settle_job(job, queue, submitter.is_production)
    return job


def test_the_vo_is_the_credentials_then_the_jobs_then_our_own() -> None:
    anybody = Submitter(dn="/CN=x", name="x")
    assert [settled().VO, settled(anybody).VO, settled(anybody, VO=None).VO] == ["vo", "testvo", "main"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("debug,express,ho,sj,lc,us,pc,pj,ddm:rucio", "debug,express,ho,sj,lc,us,pc,pj,ddm:rucio"),
        ("rs, lc ,fake", "lc"),
        ("rs", None),
        (None, None),
    ],
)
def test_users_set_only_their_own_flags(given: str | None, kept: str | None) -> None:
    assert settled(specialHandling=given).specialHandling == kept
    assert settled(specialHandling=given, prodSourceLabel="managed").specialHandling == given


@pytest.mark.parametrize(
    ("attempt", "most", "expected"), [(None, None, (0, 2)), (3, 2, (3, 5)), (1, -1, (1, 1)), (0, 3, (0, 3))]
)
def test_attempts_of_users(attempt: int | None, most: int | None, expected: tuple[int, int]) -> None:
    job = settled(attemptNr=attempt, maxAttempt=most)
    assert (job.attemptNr, job.maxAttempt) == expected


@pytest.mark.parametrize(("group", "kept"), [("higgs", "higgs"), ("gr_higgs", "gr_higgs"), ("top", None), (None, None)])
def test_users_submit_for_their_own_groups_only(group: str | None, kept: str | None) -> None:
    assert settled(workingGroup=group).workingGroup == kept


def test_the_country_comes_from_the_credential_unless_the_task_layer_says_it() -> None:
    assert settled().countryGroup == "ch"
    assert settled(lockedby="jedi", countryGroup="fr").countryGroup == "fr"


def test_the_owner_of_production_jobs_may_be_another() -> None:
    assert settled(prodSourceLabel="managed", prodUserID="/CN=Other").prodUserID == "/CN=Other"
    assert settled(prodUserID="/CN=Other").prodUserID == "/CN=Jane"


def test_small_things_are_filled_in() -> None:
    job = settled(jobParameters=None, commandToPilot="tobekilled", gshare="Best", computingSite=None)
    assert (job.jobParameters, job.commandToPilot, job.gshare, job.relocationFlag) == (" ", None, None, None)
    assert settled(relocationFlag=2).relocationFlag == 2


@pytest.mark.parametrize(
    ("label", "queue", "expected"),
    [
        ("user", None, "user"),
        ("managed", None, "managed"),
        ("user", SiteSpec("Q", type="production"), "managed"),
        ("user", SiteSpec("Q", type="unified"), "user"),
    ],
)
def test_the_job_label_comes_from_the_queue(label: str, queue: SiteSpec | None, expected: str) -> None:
    assert settled(prodSourceLabel=label, queue=queue).job_label == expected


@pytest.mark.parametrize(
    ("dataset", "scope"),
    [("user.jane.out", "user.jane"), ("group.higgs.x", "group.higgs"), ("mc23.x.y", "mc23"), (None, None)],
)
def test_scopes_of_datasets(dataset: str | None, scope: str | None) -> None:
    assert job_defaults.scope_of(dataset) == scope


def test_production_jobs_keep_marks_that_are_for_users() -> None:
    job = make_job(prodSourceLabel="managed", PandaID=12)
    job.Files[0].lfn = "$PANDAID.$JOBSETID"
    job_defaults.settle_names(job, None)
    assert job.Files[0].lfn == "00012.$JOBSETID"
