"""The unmodified ``panda-client`` library as one user, in a process of its own, told where an instance is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Final

from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance

_DRIVER: Final = Path(__file__).with_name("stock_client_driver.py")


class ClientFailed(Exception):
    """The library reported that a call failed, or ended; what it printed is on stderr."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job to submit: type is input, output or log."""

    lfn: str
    type: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of a function of the library ended, as far as JSON can say it: tuples are lists, keys are text."""

    returned: Any
    printed: str
    exit: int | None  # it ended the process with that code
    raised: str  # traceback of an exception that it let pass
    changed: Mapping[str, str]  # texts of its module that it replaced


#: The attributes of a job of the library, with those of its files under ``Files``.
ClientJob = Mapping[str, Any]


class StockClient:
    """One user with a token or a certificate. Close it, or use it as a context manager.

    ``python`` is an interpreter that has the library; without a token or a certificate the library fetches a token
    itself. ``variables`` are more of the environment.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        token: str = "",
        origin: str = VO,
        certificate: Path | None = None,
        python: Path = Path(sys.executable),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        environment = instance.environment() | {
            "PANDACACHE_URL": f"{instance.https}/server/panda",
            "PANDA_BEHIND_REAL_LB": "1",  # or it looks names up
            "X509_CERT_DIR": str(instance.layout.ca / "certificates"),
        }
        if certificate:
            environment |= {"PANDA_AUTH": "x509_no_grid", "X509_USER_PROXY": str(certificate)}
        else:
            environment |= {"PANDA_AUTH": "oidc", "PANDA_AUTH_VO": origin}
        if token:
            environment["PANDA_AUTH_ID_TOKEN"] = token
        #: What a shell of this user needs to run the library's commands.
        self.environment: Mapping[str, str] = environment | dict(variables or {})
        self._process = subprocess.Popen(
            [python, "-P", str(_DRIVER)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> StockClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def upload(self, path: Path) -> None:
        """Put a file into the server's cache."""
        answer = self._call("upload", str(path))
        if answer != "True":
            raise ClientFailed(f"{path} was not taken: {answer}")

    def submit(self, jobs: Sequence[ClientJob]) -> list[int]:
        """Submit jobs made by ``new_job`` and return their PandaIDs."""
        return [int(row[0]) for row in self._call("submit", list(jobs))]

    def jobs(self, ids: Sequence[int]) -> list[Any]:
        """Return an object for each job with the attributes that the library gives it."""
        return [_as_object(attributes) for attributes in self._call("jobs", list(ids))]

    def kill(self, ids: Sequence[int]) -> list[Any]:
        """Kill jobs and return the server's answer for each."""
        return list(self._call("kill", list(ids)))

    def functions(self) -> list[str]:
        """Return the names of the functions that the library offers."""
        return list(self._call("functions", None))

    def call(
        self, function: str, *arguments: Any, environment: Mapping[str, str] | None = None, **keywords: Any
    ) -> Outcome:
        """Call a function of the library, perhaps with another environment. Jobs are given as ``{"jobs": [...]}``."""
        wanted = {"function": function, "arguments": arguments, "keywords": keywords}
        return Outcome(**self._call("call", wanted | {"environment": dict(environment or {})}))

    def _call(self, name: str, argument: Any) -> Any:
        if not self._process.stdin or not self._process.stdout:
            raise ClientFailed("the client's process has no pipes")
        print(json.dumps([name, argument]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise ClientFailed(f"the client ended with exit code {self._process.wait()}")
        status, data = json.loads(line)
        if status != 0 or data is None:
            raise ClientFailed(f"{name}: the client library reported status {status}: {data}")
        return data


def new_job(
    name: str, *, queue: str, script: str, parameters: str, files: Sequence[JobFile], **attributes: Any
) -> ClientJob:
    """Return a job to submit; ``attributes`` replace or add attributes of the library's JobSpec."""
    job = {
        "jobName": name,
        "jobDefinitionID": 1,
        "transformation": script,
        "jobParameters": parameters,
        "computingSite": queue,
        "prodSourceLabel": "user",
        "processingType": "panda-development",
        "VO": VO,
        "currentPriority": 1000,
        "destinationSE": queue,
    }
    return job | attributes | {"Files": [_file(file, queue) for file in files]}


def _file(file: JobFile, queue: str) -> dict[str, Any]:
    common = {"lfn": file.lfn, "type": file.type, "dataset": file.dataset}
    scope = {"scope": ".".join(file.dataset.split(".")[:2])}
    if file.type == "input":
        return common | scope | {"prodDBlock": file.dataset}
    return common | scope | {"destinationDBlock": file.dataset, "destinationSE": queue}


def _as_object(attributes: ClientJob | None) -> Any:
    if attributes is None:
        raise ClientFailed("the library could not read a job in the server's reply")
    files = [SimpleNamespace(**file) for file in attributes["Files"]]
    return SimpleNamespace(**(dict(attributes) | {"Files": files}))
