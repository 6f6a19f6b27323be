"""Several pilots at once at the queue of an instance: the small builtin ones, or stock ones."""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from pandaserver.testing.development_ca import write_private
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance
from pandaserver.testing.processes import end
from pandaserver.testing.sample_site import QUEUE
from pandaserver.testing.stock_client import StockClient
from pandaserver.testing.stock_pilot import SCRIPT_BASE, StockPilot, TokenIdentity
from pandaserver.testing.stock_pilot_release import NEWEST, PilotUnavailable

_ORIGIN: Final = f"{VO}.pilot"
#: Pilots that may be started for each job; more means that they end without doing anything.
_TRIES: Final = 3


class PilotPool(ABC):
    """Keeps up to ``count`` pilots running while there is work."""

    description: str
    script_base: str  # where these pilots take payload scripts from
    store: Path  # outputs and logs of the jobs

    def __init__(self, instance: Instance, count: int) -> None:
        self._instance = instance
        self._count = count
        self._started = 0
        self._jobs = 0
        self._running: list[subprocess.Popen[bytes]] = []

    def keep_running(self, unfinished: int) -> None:
        """Start pilots in place of those that ended, no more than there are unfinished jobs."""
        if self._started > self._count + _TRIES * self._jobs:
            raise PilotUnavailable(
                f"{self._started} pilots were started for {self._jobs} jobs; see {self._instance.layout.log}"
            )
        self._jobs = max(self._jobs, unfinished)
        self._running = [process for process in self._running if process.poll() is None]
        for _ in range(min(self._count, unfinished) - len(self._running)):
            self._started += 1
            self._running.append(self._start(self._started))

    def stop(self) -> None:
        """End all pilots."""
        while self._running:
            end(self._running.pop(), patience=10.0)

    @abstractmethod
    def provide(self, path: Path, scope: str, client: StockClient) -> None:
        """Put an input file to where these pilots look for it."""

    @abstractmethod
    def seconds_for(self, jobs: int) -> float:
        """Return how long that many jobs may take before something must be wrong."""

    @abstractmethod
    def _start(self, number: int) -> subprocess.Popen[bytes]:
        """Start one pilot."""


class BuiltinPilots(PilotPool):
    """Pilots of ``pilot.py``, as the account of the instance, with a token."""

    description = "builtin"

    def __init__(self, instance: Instance, count: int) -> None:
        super().__init__(instance, count)
        self.script_base = f"{instance.http}/trf/user"
        self.store = instance.layout.work / "store"
        self._token = instance.layout.work / "pilot.token"
        write_private(self._token, instance.token("Pilot", f"{VO}/pilot").encode())
        instance.account.give(instance.layout.work)

    def provide(self, path: Path, scope: str, client: StockClient) -> None:
        """Upload the file: these pilots fetch it from the server's cache."""
        del scope
        client.upload(path)

    def seconds_for(self, jobs: int) -> float:
        """Generous for two cores."""
        return 120.0 + 5.0 * jobs

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        instance = self._instance
        command = [
            *(f"{sys.prefix}/bin/python", "-m", "pandaserver.testing.pilot"),
            *("--url", f"{instance.https}/server/panda", "--cache-url", f"{instance.https}/cache"),
            *("--authorities", str(instance.authorities), "--token-file", str(self._token), "--origin", _ORIGIN),
            *("--queue", QUEUE, "--work", str(instance.layout.work / f"pilot{number}"), "--store", str(self.store)),
        ]
        with (instance.layout.log / "pilots.out").open("ab") as output:
            return subprocess.Popen(
                command,
                env=instance.environment(),
                cwd=instance.layout.work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **instance.account.popen_arguments(),
            )


class StockPilots(PilotPool):
    """Stock pilots: one job each, as an account of their own."""

    description = f"panda-pilot {NEWEST}, unmodified"
    script_base = SCRIPT_BASE

    def __init__(self, instance: Instance, count: int) -> None:
        super().__init__(instance, count)
        home = instance.layout.home / "stock"
        home.mkdir(exist_ok=True)
        self.store = home / "store"
        identity = TokenIdentity(instance.token("Pilot", f"{VO}/pilot"), _ORIGIN)
        self._pilot = StockPilot(home / "pilot", self.store, http=instance.http, identity=identity)

    def provide(self, path: Path, scope: str, client: StockClient) -> None:
        """Put the file into the store: copytool mv links it from there."""
        del client
        self._pilot.provide(path, scope)

    def seconds_for(self, jobs: int) -> float:
        """A stock pilot waits a lot."""
        return 300.0 + 120.0 * jobs / self._count

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return self._pilot.start(self._instance.layout.log / f"stock_pilot_{number}.out")
