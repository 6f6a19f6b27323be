"""Read sites, queues, storage, software or networks from their sources, and make the tables say the same.

Without an option: sites, storage endpoints, and which queue uses which; ``--json_dump``: queues; ``--sw_tags``:
software of queues; ``--network``: measurements between sites. ``--force`` accepts a source that most rows are missing
from.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.brokerage.site_reader import site_from
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.environment import configuration, required
from pandaserver.srvcore.errors import Conflict, ExternalError
from pandaserver.srvcore.json_source import SECONDS, Access, read_json
from pandaserver.taskbuffer import network_dumps, site_dumps
from pandaserver.taskbuffer.site_rows import Reading
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("configurator")

#: Seconds that storing one kind may take: networks have hundreds of thousands of rows.
STORE_SECONDS: Final = 240.0

#: Column of DDM_ENDPOINT -> source that decides about it.
_BLACKLISTS: Final = {
    "blacklisted": "CRIC_URL_DDMBLACKLIST",
    "blacklisted_write": "CRIC_URL_DDMBLACKLIST",
    "blacklisted_read": "CRIC_URL_DDMBLACKLIST_READ",
}


class NotConfigured(ExternalError):
    """No source is configured."""


class Sources:
    """The documents of this run, each read once, when somebody asks for it."""

    def __init__(self, places: Mapping[str, str], access: Access, seconds: float = SECONDS) -> None:
        self._places = places
        self._access = access
        self._seconds = seconds
        self._read: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        """Tell whether a source is configured."""
        return bool(self._places.get(name))

    def use(self, name: str, read: Callable[[Any], Any]) -> Any:
        """Return what ``read`` makes of a document; an error names the source, and is the same for all who ask."""
        if not self.has(name):
            raise NotConfigured(f"{name} is not set")
        if name not in self._read:
            try:
                self._read[name] = read_json(self._places[name], seconds=self._seconds, access=self._access)
            except ExternalError as error:
                self._read[name] = error
        try:
            if isinstance(self._read[name], ExternalError):
                raise self._read[name]
            return read(self._read[name])
        except ExternalError as error:
            raise ExternalError(f"{name}: {error.message}") from error


Plan = Mapping[str, Callable[[], Reading]]


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:
    """Store every kind of what the option names; a kind whose source is bad stays as it is."""
    options = _parser().parse_args([str(word) for word in argv[1:]])
    server = configuration().server
    plan = plan_of(options.what, Sources(places_of(server), access_of(server, os.environ)))
    store(LogWrapper(_log, options.what), required(tbuf), plan, force=options.force)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("configurator", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    for option in ("network", "json_dump", "sw_tags"):
        what.add_argument(f"--{option}", dest="what", action="store_const", const=option, default="sites")
    parser.add_argument("--force", action="store_true", help="accept a source that most rows are missing from")
    return parser


def places_of(server: ServerSettings) -> dict[str, str]:
    """Return where each source is."""
    return {
        "CRIC_URL_SITES": server.CRIC_URL_SITES,
        "CRIC_URL_DDMENDPOINTS": server.CRIC_URL_DDMENDPOINTS,
        "CRIC_URL_SCHEDCONFIG": server.CRIC_URL_SCHEDCONFIG,
        "CRIC_URL_DDMBLACKLIST": server.CRIC_URL_DDMBLACKLIST,
        "CRIC_URL_DDMBLACKLIST_READ": server.CRIC_URL_DDMBLACKLIST_READ,
        "RUCIO_RSE_USAGE": server.RUCIO_RSE_USAGE,
        "CRIC_URL_TAGS": server.CRIC_URL_TAGS,
        "CRIC_URL_CM": server.CRIC_URL_CM,
        "NWS_URL": server.NWS_URL,
    }


def access_of(server: ServerSettings, environ: Mapping[str, str]) -> Access:
    """Return who we are to a source, and whom we trust."""
    proxy, authorities = environ.get("X509_USER_PROXY"), environ.get("X509_CERT_DIR")
    return Access(
        certificate=Path(proxy) if proxy and server.configurator_use_cert else None,
        authorities=Path(authorities) if authorities else None,
    )


def plan_of(what: str, sources: Sources) -> Plan:
    """Return the kinds to be stored, in order, each with the way to its rows."""
    plans: dict[str, Plan] = {
        "sites": {
            "sites": lambda: _used(sources, "CRIC_URL_SITES", site_dumps.read_sites),
            "endpoints": lambda: _endpoints(sources),
            "space": lambda: _used(sources, "RUCIO_RSE_USAGE", site_dumps.read_space),
            "queue_sites": lambda: _used(sources, "CRIC_URL_SCHEDCONFIG", site_dumps.read_queue_sites),
            "relations": lambda: _relations(sources),
        },
        "json_dump": {"queues": lambda: _used(sources, "CRIC_URL_SCHEDCONFIG", _queues)},
        "sw_tags": {"tags": lambda: _used(sources, "CRIC_URL_TAGS", site_dumps.read_tags)},
        "network": {
            "metrics": lambda: _used(sources, "NWS_URL", _metrics),
            "closeness": lambda: _used(sources, "CRIC_URL_CM", network_dumps.read_closeness),
        },
    }
    return plans[what]


def store(log: LogWrapper, tbuf: TaskBuffer, plan: Plan, *, force: bool = False) -> list[str]:
    """Store the kinds of a plan, one transaction each; return those that a bad source has left as they were."""
    bad: list[str] = []
    for kind, read in plan.items():
        try:
            reading = read()
            stored = tbuf.within(STORE_SECONDS).storeSiteRows(kind, reading, force)
        except NotConfigured as error:
            log.info(f"not done kind={kind}: {error.message}")
        except (ExternalError, Conflict) as error:
            log.warning(f"unchanged kind={kind}: {error.message}")
            bad.append(kind)
        else:
            log.info(f"stored kind={kind} rows={len(reading.rows)} {stored}")
            if reading.findings:
                log.warning(f"entries left as they were kind={kind}: {'; '.join(reading.findings)}")
    return bad


def _used(sources: Sources, name: str, read: Callable[[Any], Reading]) -> Reading:
    found: Reading = sources.use(name, read)
    return found


def _endpoints(sources: Sources) -> Reading:
    """Read endpoints with all configured blacklists: a bad one must not set anything free."""
    listed = {
        column: sources.use(source, site_dumps.read_blacklist)
        for column, source in _BLACKLISTS.items()
        if sources.has(source)
    }
    return _used(sources, "CRIC_URL_DDMENDPOINTS", lambda document: site_dumps.read_endpoints(document, listed))


def _relations(sources: Sources) -> Reading:
    endpoints = _used(sources, "CRIC_URL_DDMENDPOINTS", lambda document: site_dumps.read_endpoints(document, {}))
    return _used(sources, "CRIC_URL_SCHEDCONFIG", lambda document: site_dumps.read_relations(document, endpoints))


def _queues(document: Any) -> Reading:
    return site_dumps.read_queues(document, site_from)


def _metrics(document: Any) -> Reading:
    return network_dumps.read_metrics(document, datetime.now(UTC).replace(tzinfo=None))
