"""A job that does a little real work: reads a file, writes another, and leaves a log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pandaserver.testing.sample_site import QUEUE
from pandaserver.testing.stock_client import ClientJob, JobFile, new_job

SCRIPT: Final = "count_words.sh"
FAILING_SCRIPT: Final = "fail.sh"
INPUT: Final = "user.jane.words.txt"
INPUT_SCOPE: Final = "user.jane"
DATASET: Final = "user.jane.counts"

_SCRIPTS: Final = {
    SCRIPT: """#!/bin/sh
# Counts the words of the input, if there is one. Arguments: output, seconds to take, input.
set -eu
echo "on $(hostname) at $(date -u)"
sleep "$2"
if [ -n "${3:-}" ]; then wc -w < "$3" > "$1"; else echo none > "$1"; fi
echo "wrote $1: $(cat "$1")"
""",
    FAILING_SCRIPT: """#!/bin/sh
# Ends with the exit code that its first argument says.
echo "about to fail with exit code $1" >&2
exit "$1"
""",
}


def publish_scripts(directory: Path) -> None:
    """Write the payload scripts to ``directory``, which is what /trf/user/ serves."""
    directory.mkdir(exist_ok=True)
    for name, text in _SCRIPTS.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)


def write_input(directory: Path) -> Path:
    """Write the input file."""
    path = directory / INPUT
    path.write_text("every job of the demo reads these nine words\n")
    return path


def counting_job(base: str, number: int, *, tag: str, seconds: int = 1, with_input: bool = True) -> ClientJob:
    """Return a job for the scripts at ``base`` (.../trf/user); ``tag`` makes its names unique."""
    output, log = f"user.jane.{tag}.{number:05}.counts.txt", f"user.jane.{tag}.{number:05}.log.tgz"
    files = [JobFile(output, "output", f"{DATASET}.{tag}"), JobFile(log, "log", f"{DATASET}.{tag}.log")]
    if with_input:
        files.append(JobFile(INPUT, "input", "user.jane.words"))
    return new_job(
        f"user.jane.{tag}.{number:05}",
        queue=QUEUE,
        script=f"{base}/{SCRIPT}",
        parameters=f"{output} {seconds} {INPUT if with_input else ''}".rstrip(),
        files=files,
        destinationDBlock=f"{DATASET}.{tag}",
    )


def failing_job(base: str, *, tag: str, exit_code: int) -> ClientJob:
    """Return a job whose payload ends with that exit code."""
    return new_job(
        f"user.jane.{tag}.failing",
        queue=QUEUE,
        script=f"{base}/{FAILING_SCRIPT}",
        parameters=str(exit_code),
        files=[JobFile(f"user.jane.{tag}.failing.log.tgz", "log", f"{DATASET}.{tag}.log")],
        destinationDBlock=f"{DATASET}.{tag}",
        maxAttempt=0,
    )
