"""Jobs as a client would submit them, for every test that needs one."""

from __future__ import annotations

from typing import Any

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec


def make_job(*, inputs: int = 1, outputs: int = 1, log: bool = True, **attributes: Any) -> JobSpec:
    """Return an unsubmitted user job at queue TEST_PQ; ``attributes`` replace or add attributes."""
    job = JobSpec(
        jobDefinitionID=1,
        jobName="test.job",
        transformation="http://localhost/trf/run.sh",
        prodSourceLabel="user",
        processingType="panda-client",
        computingSite="TEST_PQ",
        cloud="TEST",
        VO="testvo",
        prodUserID="/CN=Jane Doe",
        prodUserName="Jane Doe",
        assignedPriority=1000,
        currentPriority=1000,
        attemptNr=0,
        maxAttempt=3,
        coreCount=1,
        minRamCount=1000,
        maxDiskCount=100,
        prodDBlock="mc.in",
        destinationDBlock="user.jane.out",
        jobParameters="-i x",
    )
    for name, value in attributes.items():
        setattr(job, name, value)
    for n in range(inputs):
        job.add_file(FileSpec(lfn=f"data.{n:04}.root", type="input", dataset="mc.in", prodDBlock="mc.in", scope="mc"))
    for n in range(outputs):
        job.add_file(_output(f"user.jane.out.{n:04}.root", "output", "user.jane.out"))
    if log:
        job.add_file(_output("user.jane.log.0001.tgz", "log", "user.jane.log"))
    return job


def _output(lfn: str, kind: str, dataset: str) -> FileSpec:
    return FileSpec(
        lfn=lfn, type=kind, dataset=dataset, destinationDBlock=dataset, destinationSE="TEST_PQ", scope="user.jane"
    )
