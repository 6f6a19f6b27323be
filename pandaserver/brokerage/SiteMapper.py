"""Queues by name, as of a few minutes ago."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

from pandaserver.brokerage.site_reader import read_sites
from pandaserver.srvcore.caching import CachedObject
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec

#: Seconds that a loaded configuration serves.
LIFETIME: Final = 600.0

#: Seconds for which a configuration is as good as a new one.
FRESH: Final = 10.0

_NUCLEUS: Final = "nucleus:"


class SiteMapper:
    """Answers questions about queues from cached rows. ``load`` is usually ``task_buffer.load_sites``.

    A row that describes no queue is reported to ``logger`` at each load and left out; the other queues stay usable.
    """

    def __init__(
        self,
        load: Callable[[], SiteRows],
        default: SiteSpec,
        *,
        logger: logging.Logger | None = None,
        lifetime: float = LIFETIME,
    ) -> None:
        self._load = load
        self._default = default
        self._logger = logger or logging.getLogger(__name__)
        self._loaded = 0.0  # instant of the last attempt
        self._cached = CachedObject(self._read, lifetime, on_failure=self._not_loaded)

    @property
    def sites(self) -> Mapping[str, SiteSpec]:
        """All queues by name."""
        return self._cached.get()

    def check(self, name: str | None) -> bool:
        """Tell whether a queue of that name exists."""
        return self._find(name) is not None

    def check_afresh(self, name: str) -> bool:
        """Do the same, but load again before saying no: the queue may be new."""
        if self.check(name):
            return True
        if monotonic() - self._loaded < FRESH:
            return False
        self._cached.forget()
        return self.check(name)

    def get(self, name: str | None) -> SiteSpec:
        """Return the queue, or the configured default under that name if there is none: ask ``check`` for existence."""
        return self._find(name) or replace(self._default, sitename=name or self._default.sitename)

    def _find(self, name: str | None) -> SiteSpec | None:
        """Look a queue up by its name, or any queue of a nucleus by ``nucleus:<site>``."""
        if not name:
            return None
        sites = self.sites
        if name.startswith(_NUCLEUS):
            nucleus = name.removeprefix(_NUCLEUS)
            return next((site for site in sites.values() if site.nucleus == nucleus), None)
        return sites.get(name)

    def _not_loaded(self, failure: Exception) -> None:
        self._logger.error("site configuration is kept as it was, because loading failed: %s", failure)

    def _read(self) -> Mapping[str, SiteSpec]:
        self._loaded = monotonic()
        sites, findings = read_sites(self._load())
        for finding in findings:
            self._logger.warning("site configuration: %s", finding)
        return sites
