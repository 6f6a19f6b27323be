"""The unmodified ``panda-client`` library, told where an instance is."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance

#: Variables of the client that would overrule ours.
_FOREIGN: Final = (
    "PANDA_AUTH",
    "PANDA_AUTH_VO",
    "PANDA_AUTH_ID_TOKEN",
    "OIDC_AUTH_TOKEN_FILE",
    "OIDC_AUTH_ID_TOKEN",
    "PANDA_VERIFY_HOST",
    "X509_USER_PROXY",
)


class ClientFailed(Exception):
    """The library reported that a call failed; it printed why."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job to submit: type is input, output or log."""

    lfn: str
    type: str
    dataset: str


class StockClient:
    """One user. The library reads its settings from the environment, so one user at a time in a process."""

    def __init__(
        self, instance: Instance, *, token: str = "", origin: str = VO, certificate: Path | None = None
    ) -> None:
        for name in _FOREIGN:
            os.environ.pop(name, None)
        os.environ |= {
            "PANDA_URL": f"{instance.http}/server/panda",
            "PANDA_URL_SSL": f"{instance.https}/server/panda",
            "PANDACACHE_URL": f"{instance.https}/server/panda",
            "PANDA_BEHIND_REAL_LB": "1",  # or it looks names up
            "X509_CERT_DIR": str(instance.layout.ca / "certificates"),
            "SSL_CERT_FILE": str(instance.authorities),
        }
        if certificate:
            os.environ |= {"PANDA_AUTH": "x509_no_grid", "X509_USER_PROXY": str(certificate)}
        else:
            os.environ |= {"PANDA_AUTH": "oidc", "PANDA_AUTH_VO": origin, "PANDA_AUTH_ID_TOKEN": token}
        self.library = importlib.reload(importlib.import_module("pandaclient.Client"))

    def upload(self, path: Path) -> None:
        """Put a file into the server's cache."""
        if self._good(self.library.putFile(str(path))) != "True":
            raise ClientFailed(f"{path} was not taken")

    def submit(self, jobs: Sequence[Any]) -> list[int]:
        """Submit jobs made by ``new_job`` and return their PandaIDs."""
        return [int(row[0]) for row in self._good(self.library.submitJobs(list(jobs)))]

    def jobs(self, ids: Sequence[int]) -> list[Any]:
        """Return the library's JobSpec of each job."""
        found: list[Any] = self._good(self.library.getJobStatus(list(ids)))
        return found

    def kill(self, ids: Sequence[int]) -> list[bool]:
        """Kill jobs and return for each whether the server did."""
        return [bool(answer) for answer in self._good(self.library.killJobs(list(ids)))]

    def _good(self, answer: tuple[int, Any]) -> Any:
        status, data = answer
        if status != 0 or data is None:
            raise ClientFailed(f"the client library reported status {status}: {data}")
        return data


def new_job(name: str, *, queue: str, script: str, parameters: str, files: Sequence[JobFile], **attributes: Any) -> Any:
    """Return a job of the library's own class."""
    job = importlib.import_module("pandaclient.JobSpec").JobSpec()
    job.jobName = name
    job.jobDefinitionID = 1
    job.transformation = script
    job.jobParameters = parameters
    job.computingSite = queue
    job.prodSourceLabel = "user"
    job.processingType = "panda-development"
    job.VO = VO
    job.currentPriority = 1000
    job.destinationSE = queue
    for attribute, value in attributes.items():
        setattr(job, attribute, value)
    for file in files:
        job.addFile(_file_spec(file, queue))
    return job


def _file_spec(file: JobFile, queue: str) -> Any:
    spec = importlib.import_module("pandaclient.FileSpec").FileSpec()
    spec.lfn, spec.type, spec.dataset = file.lfn, file.type, file.dataset
    spec.scope = ".".join(file.dataset.split(".")[:2])
    if file.type == "input":
        spec.prodDBlock = file.dataset
    else:
        spec.destinationDBlock, spec.destinationSE = file.dataset, queue
    return spec
