"""A process that has the stock client library and not our package: reads calls as lines of JSON, answers in kind.

Run by path, never imported. The library uses a package named ``pandaserver`` where it finds one, which a user's machine
does not have; so here that name leads nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

#: The library answers with its status, 0 if the call went well, and the data.
Answer = Any

# The library prints; our answers go where nothing else does.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.modules["pandaserver"] = None  # type: ignore[assignment]  # makes importing it fail

from pandaclient import Client, FileSpec, JobSpec  # noqa: E402


def submit(jobs: list[dict[str, Any]]) -> Answer:
    """Submit jobs given as their attributes, with those of their files under ``Files``."""
    return Client.submitJobs([_job(attributes) for attributes in jobs])


def jobs(ids: list[int]) -> Answer:
    """Return the attributes of jobs, with those of their files under ``Files``."""
    status, found = Client.getJobStatus(ids)
    return status, None if found is None else [None if job is None else _attributes(job) for job in found]


def kill(ids: list[int]) -> Answer:
    """Kill jobs."""
    return Client.killJobs(ids)


def upload(path: str) -> Answer:
    """Put a file into the server's cache."""
    return Client.putFile(path)


def _job(attributes: dict[str, Any]) -> Any:
    job = JobSpec.JobSpec()
    for name, value in attributes.items():
        if name != "Files":
            setattr(job, name, value)
    for file_attributes in attributes["Files"]:
        file = FileSpec.FileSpec()
        for name, value in file_attributes.items():
            setattr(file, name, value)
        job.addFile(file)
    return job


def _attributes(job: Any) -> dict[str, Any]:
    files = [{name: getattr(file, name) for name in file._attributes} for file in job.Files]
    return {name: getattr(job, name) for name in job._attributes} | {"Files": files}


CALLS: dict[str, Callable[[Any], Answer]] = {"submit": submit, "jobs": jobs, "kill": kill, "upload": upload}

for line in sys.stdin:
    name, argument = json.loads(line)
    print(json.dumps(CALLS[name](argument), default=str), file=ANSWERS, flush=True)
