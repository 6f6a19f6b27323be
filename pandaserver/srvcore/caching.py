"""Values that are expensive to load: one caller refreshes, the others are served the old value meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from pandaserver.srvcore.errors import PandaError

T = TypeVar("T")


class CachedObject(Generic[T]):
    """The result of ``load``, at most ``lifetime`` seconds old as long as loading works.

    The first load raises what ``load`` raises, and the next call tries again. A database or service that fails later
    costs nobody the old value: it serves for another ``retry`` seconds, and ``on_failure`` learns of it.
    """

    def __init__(
        self,
        load: Callable[[], T],
        lifetime: float,
        *,
        retry: float = 30.0,
        on_failure: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._lifetime = lifetime
        self._retry = min(retry, lifetime)
        self._on_failure = on_failure
        self._clock = clock
        self._refreshing = threading.Lock()
        self._loaded: tuple[T] | None = None
        self._expires = 0.0

    def get(self) -> T:
        """Return the value, loading it if it is missing or old."""
        loaded = self._loaded
        if loaded is not None and self._clock() < self._expires:
            return loaded[0]
        if not self._refreshing.acquire(blocking=loaded is None):
            assert loaded is not None
            return loaded[0]  # someone else is loading
        try:
            if self._loaded is None or self._clock() >= self._expires:
                self._refresh()
            assert self._loaded is not None
            return self._loaded[0]
        finally:
            self._refreshing.release()

    def peek(self) -> T | None:
        """Return the value of whatever age without loading it, None if it was never loaded."""
        return self._loaded[0] if self._loaded is not None else None

    def forget(self) -> None:
        """Load again at the next call, whatever the age."""
        self._expires = 0.0

    def _refresh(self) -> None:
        try:
            self._loaded = (self._load(),)
            self._expires = self._clock() + self._lifetime
        except (PandaError, OSError) as failure:
            if self._loaded is None:
                raise
            self._expires = self._clock() + self._retry
            if self._on_failure is not None:
                self._on_failure(failure)
