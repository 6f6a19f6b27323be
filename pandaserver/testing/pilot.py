"""A small pilot: takes jobs from a queue, runs their payloads and reports, in the stock pilot's words.

It exists so that tests and ``make demo`` carry jobs to their end in seconds. Files come from a local store or from
the server's cache and go to the store. The unmodified stock pilot is run by ``stock_pilot.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pandaserver.testing.account import program
from pandaserver.testing.pilot_transport import Ask, Credential, Server, Unreachable, node_name, patiently

# Error codes of the stock pilot.
STAGE_IN_FAILED: Final = 1099
KILLED_BY_SERVER: Final = 1144
SCRIPT_NOT_DOWNLOADED: Final = 1149
OUTPUT_MISSING: Final = 1165
TERMINATED: Final = 1201
PAYLOAD_FAILED: Final = 1305

_POLL: Final = 0.1

Download = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a payload ended. ``error`` is a code of the stock pilot, 0 if all is well."""

    error: int = 0
    diagnosis: str = ""
    exit_code: int = 0
    report: str = ""  # JSON: LFN -> attributes

    @property
    def state(self) -> str:
        """What to tell the server."""
        return "failed" if self.error else "finished"


class JobFailed(Exception):
    """The job cannot go on, with the code and the text to report."""

    def __init__(self, error: int, diagnosis: str, exit_code: int = 0) -> None:
        super().__init__(diagnosis)
        self.outcome = Outcome(error, diagnosis, exit_code)


class Pilot:
    """One pilot at one queue. ``ask`` reaches the server; ``work`` and ``store`` are directories of its own."""

    def __init__(
        self,
        ask: Ask,
        download: Download,
        *,
        queue: str,
        work: Path,
        store: Path,
        cache_url: str = "",
        label: str = "user",
        heartbeat: float = 30.0,
        name: str = "pilot",
    ) -> None:
        self._ask = ask
        self._download = download
        self._queue = queue
        self._work = work
        self._store = store
        self._cache_url = cache_url
        self._label = label
        self._heartbeat = heartbeat
        self._name = name
        self.stopping = False

    def run(self, *, patience: float, pause: float = 1.0) -> int:
        """Run jobs until none came for ``patience`` seconds or somebody sets ``stopping``; return how many ran."""
        count, idle_since = 0, time.monotonic()
        while not self.stopping and time.monotonic() - idle_since <= patience:
            job = self.get_job()
            if job is None:
                time.sleep(pause)
                continue
            self.execute(job)
            count, idle_since = count + 1, time.monotonic()
        return count

    def get_job(self) -> Mapping[str, Any] | None:
        """Ask for a job; None when there is none."""
        wanted = {
            "siteName": self._queue,
            "computingElement": self._queue,
            "prodSourceLabel": self._label,
            "node": node_name(),
            "mem": 0.0,
            "diskSpace": 0,
        }
        reply = self._ask("getJob", wanted)
        if str(reply.get("StatusCode")) == "20":
            return None
        if str(reply.get("StatusCode")) != "0":
            raise PermissionError(f"getJob at {self._queue} answered {dict(reply)}")
        return reply

    def update(self, job: Mapping[str, Any], state: str, **more: Any) -> str:
        """Report a state and return the server's command, empty if there is none."""
        report = {
            "jobId": str(job["PandaID"]),
            "state": state,
            "attemptNr": int(job.get("attemptNr", 0)),
            "siteName": self._queue,
            "node": node_name(),
            "pilotID": self._name,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        }
        command = str(self._ask("updateJob", report | more).get("command", ""))
        return "" if command == "NULL" else command

    def execute(self, job: Mapping[str, Any]) -> Outcome:
        """Carry one job to its final update."""
        directory = self._work / f"PanDA_{job['PandaID']}"
        shutil.rmtree(directory, ignore_errors=True)  # left by an earlier attempt
        directory.mkdir(parents=True)
        started = time.monotonic()
        self.update(job, "starting")
        try:
            outcome = self._payload(job, directory)
        except JobFailed as failure:
            outcome = failure.outcome
        outcome = self._with_log(job, directory, outcome)
        self.update(
            job,
            outcome.state,
            xml=outcome.report,
            pilotErrorCode=outcome.error,
            pilotErrorDiag=outcome.diagnosis,
            transExitCode=outcome.exit_code,
            cpuConsumptionTime=round(time.monotonic() - started),
            pilotTiming=f"0|0|{round(time.monotonic() - started)}|0|0|0",
        )
        shutil.rmtree(directory)
        return outcome

    # ---- the steps of a job

    def _payload(self, job: Mapping[str, Any], directory: Path) -> Outcome:
        script = self._fetch_script(str(job["transformation"]), directory)
        for lfn in _words(job, "inFiles"):
            self._fetch_input(lfn, directory)
        self.update(job, "running")
        exit_code = self._run(job, [str(script), *shlex.split(str(job.get("jobPars", "")))], directory)
        if exit_code:
            raise JobFailed(PAYLOAD_FAILED, f"payload ended with exit code {exit_code}", exit_code)
        report = {}
        for lfn in _words(job, "outFiles"):
            if lfn == job.get("logFile"):
                continue
            if not (directory / lfn).exists():
                raise JobFailed(OUTPUT_MISSING, f"the payload did not write {lfn}")
            report[lfn] = self._keep(directory / lfn, str(uuid.uuid4()))
        return Outcome(report=json.dumps(report))

    def _fetch_script(self, url: str, directory: Path) -> Path:
        script = directory / Path(urlsplit(url).path).name
        try:
            self._download(url, script)
        except (Unreachable, PermissionError) as error:
            raise JobFailed(SCRIPT_NOT_DOWNLOADED, str(error)) from error
        script.chmod(0o755)
        return script

    def _fetch_input(self, lfn: str, directory: Path) -> None:
        if (self._store / lfn).exists():
            shutil.copy(self._store / lfn, directory / lfn)
            return
        try:
            self._download(f"{self._cache_url}/{lfn}", directory / lfn)
        except (Unreachable, PermissionError) as error:
            raise JobFailed(STAGE_IN_FAILED, str(error)) from error

    def _run(self, job: Mapping[str, Any], command: list[str], directory: Path) -> int:
        """Run the payload with heartbeats; the server may want it killed."""
        following = [program("setpriv"), "--pdeathsig", "KILL"]  # even if we are killed it does not stay behind
        with (directory / "payload.stdout").open("wb") as output:
            process = subprocess.Popen(
                [*following, *command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        next_heartbeat = time.monotonic() + self._heartbeat
        try:
            while process.poll() is None:
                time.sleep(_POLL)
                if self.stopping:
                    raise JobFailed(TERMINATED, "the pilot was told to end")
                if time.monotonic() >= next_heartbeat:
                    next_heartbeat += self._heartbeat
                    if "tobekilled" in self.update(job, "running"):
                        raise JobFailed(KILLED_BY_SERVER, "this job was killed by the server")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode

    def _with_log(self, job: Mapping[str, Any], directory: Path, outcome: Outcome) -> Outcome:
        """Return the outcome with the log in its report: everything in the job's directory but the inputs."""
        lfn = str(job.get("logFile", ""))
        if not lfn:
            return outcome
        inputs = set(_words(job, "inFiles"))
        with tarfile.open(self._work / lfn, "w:gz") as archive:
            for path in sorted(directory.iterdir()):
                if path.name not in inputs:
                    archive.add(path, arcname=f"tarball_PandaJob_{job['PandaID']}/{path.name}")
        report = json.loads(outcome.report or "{}")
        report[lfn] = self._keep(self._work / lfn, str(job.get("logGUID") or uuid.uuid4()))
        return Outcome(outcome.error, outcome.diagnosis, outcome.exit_code, json.dumps(report))

    def _keep(self, path: Path, guid: str) -> dict[str, Any]:
        """Move a file to the store and return its entry of the report."""
        content = path.read_bytes()
        kept = self._store / path.name
        shutil.move(path, kept)
        return {"guid": guid, "fsize": len(content), "adler32": adler32(content), "surl": str(kept), "endpoint": ""}


def adler32(content: bytes) -> str:
    """Return the checksum as reports write it."""
    return f"{zlib.adler32(content):08x}"


def _words(job: Mapping[str, Any], key: str) -> list[str]:
    return [word for word in str(job.get(key, "")).split(",") if word not in ("", "NULL")]


def main() -> None:
    """Run one pilot until it has been idle for long enough or gets SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", required=True, help="https://HOST:PORT/server/panda")
    parser.add_argument("--cache-url", default="", help="where inputs are that are not in the store")
    parser.add_argument("--queue", required=True)
    parser.add_argument("--label", default="user", help="prodSourceLabel of the jobs to take")
    parser.add_argument("--work", required=True, type=Path, help="directory to run jobs in")
    parser.add_argument("--store", required=True, type=Path, help="directory of input and output files")
    parser.add_argument("--authorities", type=Path, help="file of the CAs to trust")
    parser.add_argument("--certificate", type=Path, help="client certificate and key in one file")
    parser.add_argument("--token-file", type=Path, help="file with a bearer token")
    parser.add_argument("--origin", default="", help="VO and role that the token is used for, such as testvo.pilot")
    parser.add_argument("--patience", type=float, default=60, help="seconds without a job after which to end")
    options = parser.parse_args()
    token = options.token_file.read_text().strip() if options.token_file else ""
    server = Server(options.url, Credential(token, options.origin, options.certificate), options.authorities)
    pilot = Pilot(
        patiently(server, give_up_after=300),
        server.download,
        queue=options.queue,
        work=options.work,
        store=options.store,
        cache_url=options.cache_url,
        label=options.label,
        name=f"pilot-{os.getpid()}",
    )

    def stop(*_: object) -> None:
        pilot.stopping = True

    signal.signal(signal.SIGTERM, stop)
    options.work.mkdir(parents=True, exist_ok=True)
    options.store.mkdir(parents=True, exist_ok=True)
    print(f"ran {pilot.run(patience=options.patience)} jobs", flush=True)


#: The name that tests know it by.
FakePilot = Pilot

if __name__ == "__main__":
    main()
