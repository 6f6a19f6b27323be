"""What single settings cannot tell: combinations that do not work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from pandacommon.liveconfigparser.ini import Sections, Value
from pandaserver.config.finding import Finding, Severity
from pandaserver.config.settings import DaemonSettings, ServerSettings
from pandaserver.config.values import TokenAuth

_NOWHERE = Value("", "", 0)


def check_together(server: ServerSettings, daemon: DaemonSettings, sections: Sections) -> Iterable[Finding]:
    """Return what is wrong with the settings as a whole."""
    yield from _check_server(server, sections.get("server", {}))
    yield from _check_daemon(daemon, sections.get("daemon", {}))


def _check_server(server: ServerSettings, given: dict[str, Value]) -> Iterable[Finding]:
    needed: tuple[str, ...] = ("dbname",) if server.backend == "sqlite" else ("dbhost", "dbuser", "dbpasswd")
    needed += ("dbname",) if server.backend in ("postgres", "mysql") else ()
    for key in needed:
        if not getattr(server, key) and given:
            backend = server.backend if "backend" in given else f"{server.backend}, which is meant when none is given"
            yield _error(given, "server", key, f"is needed for backend {backend}")
    if server.dbpasswd.reveal() == "FIXME":
        yield _error(given, "server", "dbpasswd", "is still that of the template", "give the password")
    jedi = given.get("schemaJEDI", _NOWHERE)
    if jedi is not _NOWHERE and jedi.content != server.schemaPANDA:
        yield _error(given, "server", "schemaJEDI", "must be schemaPANDA, as both kinds of tables are read together")
    for network in server.metrics_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield _error(given, "server", "metrics_networks", str(error), "write networks such as 10.1.0.0/16")
    if not re.fullmatch(r"\d+\.\d+\.\d+", server.client_version):
        yield _error(given, "server", "client_version", "is no version that clients understand", "write N.N.N")
    if server.token_authType is TokenAuth.scitokens and not server.token_issuers:
        message = "is empty, so no token is accepted"
        yield _finding(Severity.warning, given, "server", "token_issuers", message, "list <vo>=<URL of the issuer>")


def _check_daemon(daemon: DaemonSettings, given: dict[str, Value]) -> Iterable[Finding]:
    if not daemon.enable:
        return
    for key in ("package", "config"):
        if key not in given:
            yield _error(given, "daemon", key, "is needed, because the daemon is enabled")


def _error(given: dict[str, Value], section: str, key: str, message: str, suggestion: str = "") -> Finding:
    return _finding(Severity.error, given, section, key, message, suggestion)


def _finding(
    severity: Severity, given: dict[str, Value], section: str, key: str, message: str, suggestion: str
) -> Finding:
    # A key that is absent has no line of its own; that of any key of the section leads to the file.
    nearby = next(iter(given.values()), _NOWHERE)
    place = given.get(key, Value("", nearby.file, 0))
    return Finding(severity, place.file, place.line, section, key, message, suggestion)
