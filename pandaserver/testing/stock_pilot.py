"""The unmodified stock pilot, as published, against a server: one job a run.

DANGER: at the end of a job the stock pilot kills every process of its user whose parent is process 1. So it runs only
as an account that owns nothing else, in a process namespace of its own, with its sweep switched off: all three, always.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pandaserver.testing.account import program
from pandaserver.testing.sample_site import QUEUE, QUEUE_DATA
from pandaserver.testing.stock_pilot_release import PilotUnavailable, Release, fetched

#: This release takes payload scripts from two places only; this is one of them. Its curl is led to the instance.
SCRIPT_BASE: Final = "http://pandaserver-doma.cern.ch:25080/trf/user"
#: Owns nothing but running pilots.
ACCOUNT: Final = "pandapilot"

#: Processes that a shell pipeline sees in a namespace of its own: process 1, itself and the pipeline.
_PROCESSES_SEEN: Final = 6

_CONFIGURATION: Final = "pilot.cfg"
_QUEUE_FILE: Final = "queuedata.json"
_GRID_FILE: Final = "schedconfig.json"
_ENDPOINT_FILE: Final = "endpoints.json"
_SECRET: Final = "secret"

_ENDPOINTS: Final = {
    "TEST_DISK": {
        "name": "TEST_DISK",
        "id": 1,
        "state": "ACTIVE",
        "site": "TEST",
        "type": "DATADISK",
        "is_deterministic": True,
        "arprotocols": {"write_wan": [{"endpoint": "file://localhost", "path": "/store/", "id": 1}]},
    }
}


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A bearer token, and the VO and role that it is used for, such as testvo.pilot."""

    token: str
    origin: str


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """A certificate with its key in one file, and the directory of the CAs to trust. The server is asked by https."""

    certificate: Path
    authorities: Path


class StockPilot:
    """Runs the stock pilot in ``directory``; it talks to ``server``, http or https, as ``identity``.

    Payload scripts come from ``http``. Outputs end below ``store``, and inputs are linked from there, under the path
    that copytool mv computes from scope and name; the former release takes inputs from beside ``store`` and leaves
    outputs in its own directory. ``changes`` are other values in the pilot's own configuration. With
    ``site_data``, the address of /cache/schedconfig, it reads queues and storage there, else from files.
    """

    def __init__(
        self,
        directory: Path,
        store: Path,
        *,
        http: str,
        identity: TokenIdentity | CertificateIdentity,
        server: str = "",
        release: Release | None = None,
        changes: Mapping[str, Mapping[str, str]] | None = None,
        site_data: str = "",
    ) -> None:
        if os.geteuid() != 0:
            raise PilotUnavailable("the stock pilot needs an account and a process namespace of its own: run as root")
        self._directory = directory
        self._store = store
        self._http = http
        self._server = server or http
        self._identity = identity
        self._site_data = site_data
        self._account = _account()
        self._check_isolation()
        self._release = release or fetched()
        for path in (directory, store):
            path.mkdir(parents=True, exist_ok=True)
            _give(path)
        self._write_inputs(changes or {})

    def provide(self, path: Path, scope: str) -> None:
        """Put an input file to where the pilot looks for it."""
        target = self._store / (store_path(scope, path.name) if self._release.sorts_files else f"../{path.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        _give(self._store)

    def has_kept(self, scope: str, lfn: str) -> bool:
        """Tell whether a file of a job is where the pilot puts outputs and logs."""
        if self._release.sorts_files:
            return (self._store / store_path(scope, lfn)).exists()
        return any(self._directory.glob(f"w*/PanDA_Pilot3_*/{lfn}"))

    def start(self, output: Path, queue: str = QUEUE, worker: tuple[str, int] | None = None) -> subprocess.Popen[bytes]:
        """Start one pilot; everything it starts ends with the returned process.

        ``worker`` is the harvester that submitted it, and the number of the worker that it runs in.
        """
        work = Path(tempfile.mkdtemp(prefix="w", dir=self._directory))
        shutil.chown(work, ACCOUNT, ACCOUNT)
        with output.open("ab") as log:
            return subprocess.Popen(
                [*self.isolated(), *self._command(work, queue)],
                env={**self._environment(), **_worker_variables(worker)},
                cwd=self._release.source,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _check_isolation(self) -> None:
        """Refuse to run where the namespace or the account cannot be had, as in a container without the right."""
        command = [*self.isolated(), "/bin/sh", "-c", "id -u; ls -d /proc/[0-9]* | wc -l"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        user, _, processes = done.stdout.strip().partition("\n")
        if done.returncode or user != str(self._account.pw_uid) or int(processes) > _PROCESSES_SEEN:
            raise PilotUnavailable(f"the stock pilot cannot be isolated here: {done.stdout}{done.stderr}")

    def isolated(self) -> list[str]:
        """Return what stands before a command that is to see only its own processes, as an account without others."""
        return [
            *(program("setpriv"), "--pdeathsig", "TERM"),
            *(program("unshare"), "--fork", "--pid", "--mount-proc", "--kill-child"),
            *(program("setpriv"), f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}"),
            # A change of the account forgets what unshare has said about the death of the parent.
            *("--clear-groups", "--no-new-privs", "--pdeathsig", "KILL"),
            # Process 1 of the namespace is a shell that collects orphans, not the pilot itself.
            *("/bin/sh", "-c", '"$@"; exit $?', "pilot"),
        ]

    def _command(self, work: Path, queue: str) -> list[str]:
        host, _, port = self._server.rpartition(":")
        return [
            *(str(self._release.python), str(self._release.source / "pilot.py"), "--pilot-user", "generic"),
            *("-q", queue, "-j", "user", "-i", "PR", "-w", "generic", "--url", host, "-p", port),
            *("--queuedata-url", self._queue_data(), "--storagedata-url", self._storage_data()),
            *("-t", "--use-rucio-traces", "False", "-a", str(work), "--cleanup", "False"),
            *("--output-dir", f"{self._store}/", "--input-destination-dir", str(self._store)),
            *("-v", "1", "-d"),
        ]

    def _queue_data(self) -> str:
        return f"{self._site_data}/{{pandaqueue}}.all.json" if self._site_data else str(self._directory / _QUEUE_FILE)

    def _storage_data(self) -> str:
        return f"{self._site_data}/ddmendpoints.json" if self._site_data else str(self._directory / _ENDPOINT_FILE)

    def _environment(self) -> dict[str, str]:
        common = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": str(self._directory),
            "PILOT_NOKILL": "1",
            "HARVESTER_PILOT_CONFIG": str(self._directory / _CONFIGURATION),
            "PANDA_JSID": "development",
            "GTAG": "unknown",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if not self._site_data:
            common["LOCAL_AGIS_SCHEDCONF"] = str(self._directory / _GRID_FILE)
        return common | self._credentials()

    def _credentials(self) -> dict[str, str]:
        secret = self._directory / _SECRET
        match self._identity:
            case TokenIdentity(origin=origin):
                return {
                    "PANDA_AUTH_TOKEN": secret.name,
                    "PANDA_AUTH_ORIGIN": origin,
                    "PANDA_AUTH_DIR": f"{secret.parent}/",  # the pilot takes its dirname
                }
            case CertificateIdentity(authorities=authorities):
                return {"X509_USER_PROXY": str(secret), "X509_CERT_DIR": str(authorities)}

    def _write_inputs(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        queues = {"Information": {"queues_url": f"{self._site_data}/schedconfig.all.json"}} if self._site_data else {}
        (self._directory / _CONFIGURATION).write_text(self._release.configuration({**queues, **changes}))
        (self._directory / _QUEUE_FILE).write_text(json.dumps(QUEUE_DATA))
        (self._directory / _GRID_FILE).write_text(json.dumps({QUEUE: QUEUE_DATA}))
        (self._directory / _ENDPOINT_FILE).write_text(json.dumps(_ENDPOINTS))
        host, address = (urlsplit(url).netloc for url in (SCRIPT_BASE, self._http))
        (self._directory / ".curlrc").write_text(f'connect-to = "{host}:{address}"\n')
        secret = self._directory / _SECRET
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        match self._identity:
            case TokenIdentity(token=token):
                secret.write_text(token)
            case CertificateIdentity(certificate=certificate):
                secret.write_bytes(certificate.read_bytes())
        shutil.chown(secret, ACCOUNT, ACCOUNT)


def _worker_variables(worker: tuple[str, int] | None) -> dict[str, str]:
    return {} if worker is None else {"HARVESTER_ID": worker[0], "HARVESTER_WORKER_ID": str(worker[1])}


def store_path(scope: str, lfn: str) -> Path:
    """Return where copytool mv keeps a file, relative to the store."""

    digest = hashlib.md5(f"{scope}:{lfn}".encode(), usedforsecurity=False).hexdigest()
    return Path(*scope.split("."), digest[0:2], digest[2:4], lfn)


def _give(directory: Path) -> None:
    """Make the pilots' account the owner of everything in ``directory``; the instance takes it all when it starts."""
    owner = pwd.getpwnam(ACCOUNT)
    for place, _, files in os.walk(directory):
        for name in (place, *(os.path.join(place, file) for file in files)):
            os.chown(name, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
        subprocess.run([program("useradd"), *options, ACCOUNT], check=True)
        return pwd.getpwnam(ACCOUNT)
