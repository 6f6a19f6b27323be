"""A process that has the stock client library and not our package: reads calls as lines of JSON, answers in kind.

Run by path, never imported. The library uses a package named ``pandaserver`` where it finds one, which a user's machine
does not have; so here that name leads nowhere.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

#: The library answers with its status, 0 if the call went well, and the data.
Answer = Any

# The library prints and asks; our lines go where nothing else does.
ANSWERS = os.fdopen(os.dup(1), "w")
COMMANDS = os.fdopen(os.dup(0))
PRINTED = sys.stdout = io.StringIO()
sys.modules["pandaserver"] = None  # type: ignore[assignment]  # makes importing it fail

from pandaclient import Client, FileSpec, JobSpec  # noqa: E402


def submit(jobs: list[dict[str, Any]]) -> Answer:
    """Submit jobs given as their attributes, with those of their files under ``Files``."""
    return Client.submitJobs([_job(attributes) for attributes in jobs])


def jobs(ids: list[int]) -> Answer:
    """Return the attributes of jobs, with those of their files under ``Files``."""
    status, found = Client.getJobStatus(ids)
    return status, found


def kill(ids: list[int]) -> Answer:
    """Kill jobs."""
    return Client.killJobs(ids)


def upload(path: str) -> Answer:
    """Put a file into the server's cache."""
    return Client.putFile(path)


def functions(_: None) -> Answer:
    """Return the names of the functions that the library offers."""
    found = inspect.getmembers(Client, inspect.isfunction)
    return 0, [name for name, one in found if one.__module__ == Client.__name__ and not name.startswith("_")]


def call(wanted: dict[str, Any]) -> Answer:
    """Call a function of the library by name and return how that ended.

    Jobs are arguments of the form ``{"jobs": [attributes, ...]}``. The process asks nobody: where the library wants to
    know something, the answer is y. What the call changed of the environment and of the library's names is undone.
    """
    environment = dict(os.environ)
    names = {name: value for name, value in vars(Client).items() if isinstance(value, str)}
    os.environ.update(wanted["environment"])
    sys.stdin = io.StringIO("y\n" * 10)
    outcome: dict[str, Any] = {"returned": None, "exit": None, "raised": ""}
    try:
        function = getattr(Client, wanted["function"])
        outcome["returned"] = function(*map(_argument, wanted["arguments"]), **wanted["keywords"])
    except SystemExit as end:
        outcome["exit"] = end.code
    except Exception:  # noqa: BLE001  (whatever it is, the caller is told)
        outcome["raised"] = traceback.format_exc()
    outcome["changed"] = {name: vars(Client)[name] for name, value in names.items() if vars(Client)[name] != value}
    vars(Client).update(names)
    os.environ.clear()
    os.environ.update(environment)
    return 0, outcome | {"printed": PRINTED.getvalue()}


def _argument(value: Any) -> Any:
    return [_job(one) for one in value["jobs"]] if isinstance(value, dict) and value.keys() == {"jobs"} else value


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


def _plain(value: Any) -> Any:
    """Return a job of the library as its attributes, and anything else that JSON has not as text."""
    if not isinstance(value, JobSpec.JobSpec):
        return value.decode() if isinstance(value, bytes) else str(value)
    files = [{name: getattr(file, name) for name in file._attributes} for file in value.Files]
    return {name: getattr(value, name) for name in value._attributes} | {"Files": files}


CALLS: dict[str, Callable[[Any], Answer]] = {
    "submit": submit,
    "jobs": jobs,
    "kill": kill,
    "upload": upload,
    "functions": functions,
    "call": call,
}

for line in COMMANDS:
    name, argument = json.loads(line)
    print(json.dumps(CALLS[name](argument), default=_plain), file=ANSWERS, flush=True)
    sys.stderr.write(PRINTED.getvalue())
    PRINTED.seek(0)
    PRINTED.truncate()
