"""Runs that are exclusive across machines: a lease renewed while the script runs, and commits that it fences."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandautils.PandaUtils import process_identity
from pandaserver.config.values import DaemonSpec
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.db_proxy_mods import lease as leases
from pandaserver.taskbuffer.db_proxy_mods.lease import Lease, NotNow
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

R = TypeVar("R")
LONGEST_LEASE = 60  # seconds; also how long a killed machine blocks a script at most
SHORTEST_LEASE = 3  # seconds, enough for a renewal on a busy machine
#: Part of a lease after which a run that could not renew it is killed: before another machine may start the script.
SAFE_PART = 0.9
RENEWALS_PER_LEASE = 3
CONNECT_LIMIT = 5.0  # seconds that the first renewal may take at least, as it opens a connection


class LockedElsewhere(Exception):
    """The script runs on another machine, or its period is not over."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"next try in {wait:.1f} s")
        self.wait = wait


@contextmanager
def exclusive_run(
    spec: DaemonSpec,
    tbuf: TaskBuffer,
    make_task_buffer: Callable[[], TaskBuffer],
    log: LogWrapper,
    held_until: Callable[[float], None],
) -> Iterator[TaskBuffer]:
    """Hold the lease of a script and give the task buffer that the script may use; raise LockedElsewhere if taken.

    ``held_until`` is told, at the start and after each renewal, the instant of the monotonic clock by which the run has
    to be over, or killed, unless it is told a later one.
    """
    seconds = max(SHORTEST_LEASE, min(spec.period, LONGEST_LEASE))
    asked = monotonic()
    permit = tbuf.start_exclusive_run(f"pandaD.{spec.name}", process_identity(), spec.period, seconds)
    if isinstance(permit, NotNow):
        raise LockedElsewhere(permit.wait)
    log.info(f"got lock daemon={spec.name} token={permit.token}")
    held_until(_safe_end(asked, permit))
    keeper = _Keeper(permit, make_task_buffer, log, held_until)
    keeper.start()
    try:
        yield TaskBuffer(FencedBridge(tbuf.caller, permit))
    finally:
        keeper.stop()
        try:
            tbuf.end_exclusive_run(permit)
        except PandaError as error:  # the lease ends by itself, only later
            log.warning(f"cannot give back lock of {permit.component}: {error}")


def _safe_end(asked: float, lease: Lease) -> float:
    """Return until when a lease surely is ours that was granted at some time after we asked for it."""
    return asked + SAFE_PART * lease.seconds


class FencedBridge:
    """Executes operations so that those that write can commit only while the lease is ours."""

    def __init__(self, inner: Caller, lease: Lease) -> None:
        self._inner = inner
        self._lease = lease

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run the operation, and in the same transaction the check of the lease."""
        if operation.repeatable:
            return self._inner.call(operation, args, kwargs, timeout)
        limit = operation.timeout if timeout is None else timeout
        result: R = self._inner.call(leases.run_under_lease, (self._lease, operation, args, kwargs), {}, limit)
        return result

    def close(self) -> None:
        """Do nothing: scripts close only what they opened."""


class _Keeper(threading.Thread):
    """Renews a lease on a connection of its own, as that of the script may be busy for long."""

    def __init__(
        self,
        lease: Lease,
        make_task_buffer: Callable[[], TaskBuffer],
        log: LogWrapper,
        held_until: Callable[[float], None],
    ) -> None:
        super().__init__(name=f"lease {lease.component}", daemon=True)
        self._lease = lease
        self._make_task_buffer = make_task_buffer
        self._log = log
        self._held_until = held_until
        self._stopped = threading.Event()

    def run(self) -> None:
        """Renew until stopped, or until another holder is found."""
        tbuf = self._make_task_buffer()
        interval = self._lease.seconds / RENEWALS_PER_LEASE
        try:
            while not self._stopped.wait(interval):
                asked = monotonic()
                try:
                    if not tbuf.within(max(interval, CONNECT_LIMIT)).renew_lease(self._lease):
                        self._log.error(f"lost lock of {self._lease.component}: its lease had ended before a renewal")
                        self._held_until(asked)
                        return
                    self._held_until(_safe_end(asked, self._lease))
                except PandaError as error:  # the lease may survive until the next attempt
                    self._log.warning(f"cannot renew lock of {self._lease.component}: {error}")
        finally:
            tbuf.close()

    def stop(self) -> None:
        """End the thread, after a renewal in progress."""
        self._stopped.set()
        self.join()
