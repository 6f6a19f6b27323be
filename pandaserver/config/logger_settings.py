"""Every setting of the logs once: sections ``[logger]`` and ``[log_level]`` of ``panda_common.cfg``."""

# ruff: noqa: RUF009  (setting() is dataclasses.field with more facts)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pandacommon.pandalogger.http_handler import Collector
from pandaserver.config.values import ABOUT, About, setting, words

_LEVELS: Final = words("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
_METHODS: Final = words("GET", "POST")
_ENCODINGS: Final = words("url", "json")

#: Section [log_level], whose keys are the names of loggers.
LEVEL: Final = About("Level of single loggers.", section="log_level", words=_LEVELS)


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """Section ``[logger]`` of ``panda_common.cfg``. Its values are taken as they stand, without variables."""

    SECTION: ClassVar[str] = "logger"
    FILE: ClassVar[str] = "panda_common.cfg"

    logdir: Path = setting(
        Path("/var/log/panda"),
        "Directory of all panda-*.log files.",
        heading="Files",
        sample="/var/log/panda",
    )
    log_level: str = setting(
        "DEBUG",
        "Least important level that is logged; DBProxy says no more than INFO unless [log_level] names it.",
        sample="DEBUG",
        words=_LEVELS,
    )
    line_format: str = setting("text", "Form of a line: text, or json.", words=words("text", "json"))
    log_to_stdout: bool = setting(False, "Copy every line to stdout, as containers want it.")
    rotating_policy: str = setting(
        "none",
        "none: files are reopened when another program rotates them; time or size: for a single process only.",
        words=words("none", "time", "size"),
    )
    rotating_backup_count: int = setting(1, "Rotated files to keep.", at_least=0)
    rotating_max_size: int = setting(1024, "Size at which policy size rotates.", unit="MB", at_least=1)
    rotating_interval: int = setting(24, "Age at which policy time rotates.", unit="h", at_least=1)

    loghost: str = setting(
        "", "Host of an HTTP log collector; none means that nothing is sent.", heading="Remote collectors"
    )
    monport_apache: int = setting(80, "Port of the collector.", key="monport-apache", at_least=1)
    monurlprefix: str = setting("/logger/logger/query", "Path of the collector, also of the second one.")
    method: str = setting("GET", "HTTP method of the collector: GET or POST.", words=_METHODS)
    encoding: str = setting("url", "What the collector reads: url or json.", words=_ENCODINGS)
    loghost_new: str = setting("", "Host of a second collector.")
    monport_apache_new: int = setting(8081, "Its port.", key="monport-apache_new", at_least=1)
    method_new: str = setting("POST", "Its HTTP method.", words=_METHODS)
    encoding_new: str = setting("json", "What it reads.", words=_ENCODINGS)

    levels: Mapping[str, str] = field(
        default_factory=dict,
        metadata={ABOUT: LEVEL},
    )

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """The configured collectors, in the form that the loggers take."""
        first = Collector(self.loghost, self.monport_apache, self.monurlprefix, self.method, self.encoding)
        second = Collector(
            self.loghost_new, self.monport_apache_new, self.monurlprefix, self.method_new, self.encoding_new
        )
        return tuple(collector for collector in (first, second) if collector.host)
