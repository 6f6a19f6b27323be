"""The client library works in one environment with the server: it then uses our specifications in place of its own."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from pandaserver.taskbuffer.client_jobs import job_from_state
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec

pandaclient = pytest.importorskip("pandaclient")

from pandaclient import JobSpec as client_job  # noqa: E402
from pandaclient import MiscUtils  # noqa: E402
from pandaclient.FileSpec import FileSpec as ClientFile  # noqa: E402


def a_job(job: object, file: object) -> object:
    then = datetime(2026, 1, 2, 3, 4, 5, 6)
    # The library's class stamps a change of the status with the time.
    for name, value in {"PandaID": 7, "jobStatus": "failed", "stateChangeTime": then, "creationTime": then}.items():
        setattr(job, name, value)
    for name, value in {"PandaID": 7, "lfn": "a.root", "fsize": 5, "type": "output"}.items():
        setattr(file, name, value)
    job.addFile(file)  # type: ignore[attr-defined]
    return job


def test_the_library_has_our_class() -> None:
    assert MiscUtils.JobSpec.JobSpec is JobSpec


def test_a_reply_of_v1_becomes_a_job() -> None:
    (job,) = MiscUtils.load_jobs([{"PandaID": 7, "jobStatus": "failed", "Files": [{"lfn": "a.root", "fsize": 5}]}])
    assert (job.PandaID, job.jobStatus, job.cloud) == (7, "failed", None)
    assert [(file.lfn, file.fsize, file.GUID) for file in job.Files] == [("a.root", 5, None)]


def test_a_job_survives_the_way_through_json() -> None:
    (job,) = MiscUtils.load_jobs_json(MiscUtils.dump_jobs_json([a_job(JobSpec(), FileSpec())]))
    assert (job.PandaID, job.jobStatus, job.creationTime) == (7, "failed", datetime(2026, 1, 2, 3, 4, 5, 6))
    assert [(file.lfn, file.type) for file in job.Files] == [("a.root", "output")]


def test_each_value_has_the_place_that_it_has_in_the_library() -> None:
    ours = json.loads(MiscUtils.dump_jobs_json([a_job(JobSpec(), FileSpec())]))[0]
    theirs = json.loads(MiscUtils.dump_jobs_json([a_job(client_job.JobSpec(), ClientFile())]))[0]

    def unset(values: list[object]) -> list[object]:
        return [None if value == "NULL" else value for value in values]

    shorter = min(len(ours), len(theirs)) - 1
    assert ours[:shorter] == unset(theirs[:shorter])
    in_common = len(theirs[-1][0]) - 1  # our files know a little more, and the job of a file is last
    assert ours[-1][0][:in_common] == unset(theirs[-1][0])[:in_common]


def test_the_server_reads_what_our_class_writes() -> None:
    job = job_from_state(json.loads(MiscUtils.dump_jobs_json([a_job(JobSpec(), FileSpec())]))[0])
    assert (job.PandaID, job.jobStatus, [file.lfn for file in job.Files]) == (7, "failed", ["a.root"])
