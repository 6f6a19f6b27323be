"""The configuration of a server: files, variables and JSON map become typed settings, and all mistakes a list.

Only entries and ``panda-admin`` read it; everything else receives values through constructors.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from pandacommon.liveconfigparser.ini import Problem, Sections, Value
from pandacommon.liveconfigparser.LiveConfigParser import LiveConfigParser
from pandaserver.config.checks import check_together
from pandaserver.config.finding import ConfigurationError, Finding, Severity, did_you_mean
from pandaserver.config.logger_settings import LEVEL
from pandaserver.config.plugins import plugin_for
from pandaserver.config.reading import read
from pandaserver.config.report import Unreadable
from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings
from pandaserver.config.unused_settings import CHECKED, FOREIGN_SECTIONS, UNUSED
from pandaserver.config.values import ABOUT, About
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.SiteSpec import SiteSpec

__all__ = ["PandaConfig", "connection_settings", "load", "operation_settings", "plugin_for"]

#: Where the JSON map may lie below PANDA_HOME; the first is the current name, the second that of the guide.
MAP_FILES: Final = (
    "etc/config_json/panda_server_config.json",
    "etc/configmap/panda_server_configmap.json",
)

S = TypeVar("S", bound=ServerSettings | DaemonSettings | LoggerSettings)


@dataclass(frozen=True, slots=True)
class PandaConfig:
    """Everything that was read, where from, and what is wrong with it."""

    server: ServerSettings
    daemon: DaemonSettings
    logger: LoggerSettings
    files: tuple[str, ...]  # that were read; log them, as a forgotten file overrides single keys silently
    sources: Mapping[tuple[str, str], str]  # (section, key) -> file:line, for what is not a default
    findings: tuple[Finding, ...]

    def require(self, *sections: str) -> None:
        """Raise ConfigurationError with all errors of those sections, and all that belong to no section."""
        errors = [
            str(finding)
            for finding in self.findings
            if finding.severity is Severity.error and (not finding.section or finding.section in sections)
        ]
        if errors:
            raise ConfigurationError("\n".join(["the configuration has mistakes:", *errors]))


def load(environ: Mapping[str, str], directories: Sequence[Path] | None = None) -> PandaConfig:
    """Read ``panda_server.cfg`` and ``panda_common.cfg`` from all usual directories (or only the given ones)."""
    findings: list[Finding] = []
    sources: dict[tuple[str, str], str] = {}
    server_file, common_file = LiveConfigParser(environ, directories), LiveConfigParser(environ, directories)
    server_file.read("panda_server.cfg")
    _read_map(server_file, environ, findings)
    common_file.read("panda_common.cfg")
    in_server, in_common = server_file.sections(), common_file.sections(raw=("logger", "log_level"))
    findings += map(_as_finding, [*server_file.problems, *common_file.problems])
    if "server" not in in_server:
        where = ", ".join(str(directory) for directory in server_file.directories)
        findings.append(Finding(Severity.error, "", 0, "server", "", "is in no panda_server.cfg", f"looked in {where}"))
    findings += _unknown_sections(in_server, {"server", "daemon"})
    findings += _unknown_sections(in_common, {"logger", "log_level"})
    server = _with_host_name(_settings(ServerSettings, in_server, findings, sources))
    daemon = _with_package(_settings(DaemonSettings, in_server, findings, sources))
    logger = replace(
        _settings(LoggerSettings, in_common, findings, sources), levels=_levels(in_common, findings, sources)
    )
    findings += check_together(server, daemon, in_server)
    return PandaConfig(
        server, daemon, logger, (*server_file.files, *common_file.files), sources, tuple(_in_order(findings))
    )


def connection_settings(server: ServerSettings) -> ConnectionSettings:
    """Return where the database is. Oracle is reached by its TNS alias or DSN, which stands in ``dbhost``."""
    is_oracle = server.backend == "oracle"
    return ConnectionSettings(
        backend=server.backend,
        name=server.dbhost if is_oracle else server.dbname,
        host="" if is_oracle else server.dbhost,
        port=server.dbport,
        user=server.dbuser,
        password=server.dbpasswd,
        schemas={
            "ATLAS_PANDA": server.schemaPANDA,
            "ATLAS_PANDAARCH": server.schemaPANDAARCH,
            "ATLAS_PANDAMETA": server.schemaMETA,
            "ATLAS_DEFT": server.schemaDEFT,
        },
        timeout=server.dbtimeout,
        dump_sql=server.dump_sql,
    )


def operation_settings(server: ServerSettings) -> OperationSettings:
    """Return the values that operations consult."""
    return OperationSettings(
        hostname=server.pserverhost or socket.getfqdn(),
        record_statuschange=server.record_statuschange,
        push_messages=server.mbproxy_configFile is not None,
        mail_users=bool(server.emailSMTPsrv),
        pilot_secrets_owner=server.pilot_secrets,
        sandbox_hostname=server.sandboxHostname,
        main_vo=server.main_vo,
    )


def default_site(settings: ServerSettings) -> SiteSpec:
    """Return the queue that stands for unknown ones."""
    return SiteSpec(
        sitename=settings.def_sitename,
        nickname=settings.def_nickname,
        type=settings.def_type,
        status=settings.def_status,
    )


def _read_map(parser: LiveConfigParser, environ: Mapping[str, str], findings: list[Finding]) -> None:
    home = environ.get("PANDA_HOME")
    present = [path for name in MAP_FILES if home and (path := Path(home) / name).is_file()]
    if len(present) > 1:
        message = f"is ignored, because {present[0]} exists, too"
        findings.append(Finding(Severity.warning, str(present[1]), 0, "", "", message, "remove one of the two"))
    if present:
        parser.read_map(present[0])


def _settings(kind: type[S], sections: Sections, findings: list[Finding], sources: dict[tuple[str, str], str]) -> S:
    """Return the settings of one section; what is absent or unreadable has its default."""
    hints = get_type_hints(kind)
    by_key = {key: f.name for f in fields(kind) for key in _keys_of(f.name, f.metadata[ABOUT])}
    about = {f.name: f.metadata[ABOUT] for f in fields(kind)}
    chosen: dict[str, Any] = {}
    for key, value in sections.get(kind.SECTION, {}).items():
        if key in by_key:
            name = by_key[key]
            report = _Reporter(value, kind.SECTION, key, findings)
            try:
                chosen[name] = read(value.content, hints[name], about[name], report)
            except Unreadable as error:
                report(error.message, error.suggestion)
            else:
                sources[kind.SECTION, key] = f"{value.file}:{value.line}"
        elif reason := UNUSED[kind.SECTION].get(key):
            if key not in CHECKED:
                _Reporter(value, kind.SECTION, key, findings)(f"has no effect here: {reason}", severity=Severity.note)
        else:
            hint = did_you_mean(key, [*by_key, *UNUSED[kind.SECTION]])
            _Reporter(value, kind.SECTION, key, findings)("is not a known setting", hint, severity=Severity.warning)
    return kind(**chosen)


def _keys_of(name: str, about: About) -> Iterable[str]:
    return () if about.section else (about.key or name, *about.aliases)


class _Reporter:
    """A Report that knows which value it is about."""

    def __init__(self, value: Value, section: str, key: str, findings: list[Finding]) -> None:
        self._value, self._section, self._key, self._findings = value, section, key, findings

    def __call__(
        self, message: str, suggestion: str = "", *, severity: Severity = Severity.error, part: str = "", line: int = 0
    ) -> None:
        key = f"{self._key} {part}".rstrip()
        place = self._value.file, self._value.line + line
        self._findings.append(Finding(severity, *place, self._section, key, message, suggestion))


def _as_finding(problem: Problem) -> Finding:
    place = problem.file, problem.line, problem.section, problem.key
    return Finding(Severity.error, *place, problem.message, problem.suggestion)


def _unknown_sections(sections: Sections, known: set[str]) -> Iterable[Finding]:
    for name, values in sections.items():
        if name not in known | FOREIGN_SECTIONS:
            first = next(iter(values.values()), Value("", "", 0))
            place = first.file, max(first.line - 1, 0)
            yield Finding(Severity.warning, *place, name, "", "is not a known section", did_you_mean(name, known))


def _levels(sections: Sections, findings: list[Finding], sources: dict[tuple[str, str], str]) -> Mapping[str, str]:
    levels: dict[str, str] = {}
    for name, value in sections.get("log_level", {}).items():
        report = _Reporter(value, "log_level", name, findings)
        try:
            levels[name] = read(value.content, str, LEVEL, report)
        except Unreadable as error:
            report(error.message, error.suggestion)
        else:
            sources["log_level", name] = f"{value.file}:{value.line}"
    return levels


def _with_host_name(server: ServerSettings) -> ServerSettings:
    return replace(server, pserverhost=server.pserverhost or socket.getfqdn())


def _with_package(daemon: DaemonSettings) -> DaemonSettings:
    prefix = f"{daemon.package}." if daemon.package else ""
    return replace(daemon, daemons=tuple(replace(spec, module=prefix + spec.module) for spec in daemon.daemons))


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.file, finding.line))
