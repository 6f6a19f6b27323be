"""The unmodified stock pilot, as published, against an instance: one job a run.

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
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pandaserver.testing.account import program
from pandaserver.testing.sample_site import QUEUE, QUEUE_DATA

VERSION: Final = "3.7.0.36"
#: This release takes payload scripts from two places only; this is one of them. Its curl is led to the instance.
SCRIPT_BASE: Final = "http://pandaserver-doma.cern.ch:25080/trf/user"
#: Owns nothing but running pilots.
ACCOUNT: Final = "pandapilot"

#: Processes that a shell pipeline sees in a namespace of its own: process 1, itself and the pipeline.
_PROCESSES_SEEN: Final = 6

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


class PilotUnavailable(Exception):
    """The stock pilot cannot be run here; the message says why."""


class StockPilot:
    """Runs the stock pilot in ``directory`` with a token of the VO; outputs end below ``store``.

    Inputs are linked from ``store`` as well, under the path that copytool mv computes from scope and name.
    """

    def __init__(self, directory: Path, store: Path, *, http: str, token: str, origin: str) -> None:
        if os.geteuid() != 0:
            raise PilotUnavailable("the stock pilot needs an account and a process namespace of its own: run as root")
        self._directory = directory
        self._store = store
        self._http = http
        self._account = _account()
        self._check_isolation()
        self._source = fetched()
        for path in (directory, store):
            path.mkdir(parents=True, exist_ok=True)
            _give(path)
        self._write_inputs(token)
        self._origin = origin

    def provide(self, path: Path, scope: str) -> None:
        """Put an input file into the store."""
        target = self._store / store_path(scope, path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        _give(self._store)

    def start(self, output: Path) -> subprocess.Popen[bytes]:
        """Start one pilot; everything it starts ends with the returned process."""
        work = Path(tempfile.mkdtemp(prefix="w", dir=self._directory))
        shutil.chown(work, ACCOUNT, ACCOUNT)
        with output.open("ab") as log:
            return subprocess.Popen(
                [*self._isolated(), *self._command(work)],
                env=self._environment(),
                cwd=self._source,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _check_isolation(self) -> None:
        """Refuse to run where the namespace or the account cannot be had, as in a container without the right."""
        command = [*self._isolated(), "/bin/sh", "-c", "id -u; ls -d /proc/[0-9]* | wc -l"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        user, _, processes = done.stdout.strip().partition("\n")
        if done.returncode or user != str(self._account.pw_uid) or int(processes) > _PROCESSES_SEEN:
            raise PilotUnavailable(f"the stock pilot cannot be isolated here: {done.stdout}{done.stderr}")

    def _isolated(self) -> list[str]:
        """A namespace in which the pilot sees only its own processes, and an account that has no others."""
        return [
            *(program("setpriv"), "--pdeathsig", "TERM"),
            *(program("unshare"), "--fork", "--pid", "--mount-proc", "--kill-child"),
            *(program("setpriv"), f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}"),
            *("--clear-groups", "--no-new-privs"),
            # Process 1 of the namespace is a shell that collects orphans, not the pilot itself.
            *("/bin/sh", "-c", '"$@"; exit $?', "pilot"),
        ]

    def _command(self, work: Path) -> list[str]:
        host, _, port = self._http.rpartition(":")
        return [
            *(f"{sys.prefix}/bin/python", str(self._source / "pilot.py"), "--pilot-user", "generic"),
            *("-q", QUEUE, "-j", "user", "-i", "PR", "-w", "generic", "--url", host, "-p", port),
            *("--queuedata-url", str(self._directory / "queuedata.json")),
            *("--storagedata-url", str(self._directory / "endpoints.json")),
            *("-t", "--use-rucio-traces", "False", "-a", str(work), "--cleanup", "False"),
            *("--output-dir", f"{self._store}/", "--input-destination-dir", str(self._store)),
            *("-v", "1", "-d"),
        ]

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": str(self._directory),
            "PILOT_NOKILL": "1",
            "LOCAL_AGIS_SCHEDCONF": str(self._directory / "schedconfig.json"),
            "PANDA_AUTH_TOKEN": "token",
            "PANDA_AUTH_ORIGIN": self._origin,
            "PANDA_AUTH_DIR": f"{self._directory}/",  # the pilot takes its dirname
            "PANDA_JSID": "development",
            "GTAG": "unknown",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _write_inputs(self, token: str) -> None:
        (self._directory / "queuedata.json").write_text(json.dumps(QUEUE_DATA))
        (self._directory / "schedconfig.json").write_text(json.dumps({QUEUE: QUEUE_DATA}))
        (self._directory / "endpoints.json").write_text(json.dumps(_ENDPOINTS))
        host, address = (urlsplit(url).netloc for url in (SCRIPT_BASE, self._http))
        (self._directory / ".curlrc").write_text(f'connect-to = "{host}:{address}"\n')
        secret = self._directory / "token"
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(token)
        shutil.chown(secret, ACCOUNT, ACCOUNT)


def fetched() -> Path:
    """Return the directory of the pilot's source as published, fetched once into the virtual environment."""
    target = Path(sys.prefix) / f"panda-pilot-{VERSION}"
    if not (target / "pilot.py").exists():
        with tempfile.TemporaryDirectory(dir=sys.prefix) as scratch:
            command = [f"{sys.prefix}/bin/python", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
            done = subprocess.run(
                [*command, "--dest", scratch, f"panda-pilot=={VERSION}"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise PilotUnavailable(f"panda-pilot {VERSION} cannot be fetched: {done.stderr[-1000:]}")
            archive = next(Path(scratch).glob("*.tar.gz"))
            subprocess.run(["tar", "-xzf", archive, "--no-same-owner", "-C", scratch], check=True)
            shutil.move(next(Path(scratch).glob("panda*pilot-*/")), target)
    return target


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
