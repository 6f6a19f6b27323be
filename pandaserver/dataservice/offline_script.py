"""A shell script that runs a job by hand: its inputs, its transformation, its command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import quote
from typing import Final

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec

_STEPS: Final = re.compile(r"<MULTI_STEP_EXEC>.*?</MULTI_STEP_EXEC>", re.DOTALL)

#: Files that no storage has.
_PSEUDO: Final = "pseudo_input"


def offline_script(job: JobSpec) -> str:
    """Return the script. Everything of the job is quoted, except its parameters: they are a command line."""
    return "\n".join([*_head(job), *_inputs(job.Files), *_command(job)]) + "\n"


def _head(job: JobSpec) -> Iterator[str]:
    facts = {
        "release": job.AtlasRelease,
        "package": job.homepackage,
        "platform": job.cmtConfig,
        "container": job.container_name,
        "cores": job.coreCount,
        "queue": job.computingSite,
        "status": job.jobStatus,
    }
    yield "#!/bin/sh"
    yield f"# Runs PandaID={job.PandaID} by hand, in the current directory."
    yield from (f"# {name}: {_comment(value)}" for name, value in facts.items() if value not in (None, "NULL", ""))
    yield "# Set up that software, and rucio with a valid proxy or token, before."
    yield "set -e"


def _inputs(files: list[FileSpec]) -> Iterator[str]:
    names = [f"{file.scope}:{file.lfn}" if file.scope else str(file.lfn) for file in files if file.type == "input"]
    outputs = [str(file.lfn) for file in files if file.type in ("output", "log")]
    yield from (f"rucio download --no-subdir {quote(name)}" for name in dict.fromkeys(names))
    yield from (f"# writes {_comment(name)}" for name in outputs)
    if any(file.type == _PSEUDO for file in files):
        yield "# pseudo inputs are not downloaded"


def _command(job: JobSpec) -> Iterator[str]:
    transformation = job.transformation or ""
    parameters = job.jobParameters or ""
    if _STEPS.search(parameters):
        yield "# the job has several steps; this is the main one"
        parameters = _STEPS.sub("", parameters)
    program = quote(transformation)
    if transformation.startswith(("http://", "https://")):
        name = quote(transformation.rstrip("/").rpartition("/")[2])
        yield f"curl -fsSL -o ./{name} {program}"
        yield f"chmod +x ./{name}"
        program = f"./{name}"
    if job.coreCount:
        yield f"export ATHENA_PROC_NUMBER={int(job.coreCount)}"
    yield f"{program} {parameters}".rstrip()


def _comment(value: object) -> str:
    """Return a value as it may stand behind a ``#``: on one line."""
    return " ".join(str(value).split())
