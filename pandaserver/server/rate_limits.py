"""How often one caller and one address may ask: token buckets that the web processes of a machine share.

The buckets are a table in a file that every process maps into its memory, so asking costs microseconds and no trip
anywhere. A bucket is one number, the moment at which it will be full again. Nothing is locked: two processes that count
at the very same moment may count one request instead of two, which makes a limit a little generous and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.errors import TooManyRequests
from pandaserver.srvcore.principal import Principal

#: Seconds' worth of requests that may come at once.
BURST: Final = 10.0

#: Buckets of a machine. One takes 16 bytes: what it counts, and when it will be full.
BUCKETS: Final = 2**15
_TRIES: Final = 4

#: Seconds that adding fractions may be wrong by.
_ROUNDING: Final = 1e-6

FILE: Final = "rate_limits.table"


class TokenBuckets:
    """A table of buckets by name; ``path`` None keeps it in this process."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        memory = mmap.mmap(-1, 16 * BUCKETS) if path is None else _mapped(path)
        self._names = memoryview(memory).cast("Q")
        self._moments = memoryview(memory).cast("d")
        self._clock = clock

    def wait(self, name: str, rate: float) -> float:
        """Count one request under a name that may ask ``rate`` times a second; return the seconds until it may.

        A request that has to wait is not counted.
        """
        now = self._clock()
        tag = int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest())
        place = self._place(tag, now)
        full = self._moments[place + 1] if self._names[place] == tag else now
        # Further ahead than a burst is no moment of ours: the machine has started again, and with it the clock.
        full = now if not now <= full <= now + BURST + 1 / rate else full
        wait = full - now + 1 / rate - BURST
        if wait > _ROUNDING:
            return wait
        self._names[place] = tag
        self._moments[place + 1] = full + 1 / rate
        return 0.0

    def _place(self, tag: int, now: float) -> int:
        """Return where a bucket is or may be: its own place, else a free one, else that of the least busy one."""
        places = [2 * ((tag + n) % BUCKETS) for n in range(_TRIES)]
        for place in places:
            if self._names[place] == tag:
                return place
        return min(places, key=lambda place: max(now, self._moments[place + 1]))


def _mapped(path: Path) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(handle).st_size < 16 * BUCKETS:
            os.ftruncate(handle, 16 * BUCKETS)
        return mmap.mmap(handle, 16 * BUCKETS)
    finally:
        os.close(handle)


class RateLimits:
    """The limits of the configuration."""

    def __init__(self, settings: ServerSettings, logger: logging.Logger) -> None:
        self._user, self._pilot = settings.max_user_rate, settings.max_pilot_rate
        self._address = settings.max_address_rate
        self._buckets: TokenBuckets | None = None
        self._path = settings.logdir / FILE
        self._logger = logger

    def count(self, principal: Principal, address: str) -> None:
        """Count a request, or raise TooManyRequests.

        Pilots and production have a limit of their own, and none by address: those of a whole site come from one.
        """
        if principal.may_run_pilots or principal.has_production_role:
            if self._pilot:
                self._ask(f"pilot {principal.dn}", self._pilot, "pilots with this identity")
            return
        if self._address and address:
            self._ask(f"address {network_of(address)}", self._address, "your address")
        if self._user and not principal.is_anonymous:
            self._ask(f"user {principal.dn}", self._user, "you")

    def _ask(self, name: str, rate: float, who: str) -> None:
        if self._buckets is None:
            self._buckets = self._opened()
        wait = self._buckets.wait(name, rate)
        if wait > 0:
            raise TooManyRequests(
                f"too many requests: {who} may ask {rate:g} times a second; try again in {wait:.1f} s", wait=wait
            )

    def _opened(self) -> TokenBuckets:
        try:
            return TokenBuckets(self._path)
        except OSError as problem:
            self._logger.warning("each web process counts requests by itself: %s: %s", self._path, problem)
            return TokenBuckets(None)


@lru_cache(10_000)
def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the first half, because a single machine has all of the second."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found) if found.version == 4 else found.packed[:8].hex()
