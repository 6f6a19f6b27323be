"""An instance to examine: settings that are well unless a test spoils them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pandaserver.config.panda_config import PandaConfig
from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings
from pandaserver.health.result import Result, Severity
from pandaserver.health.scene import Scene

Check = Callable[[Scene], Iterator[Result]]


def make_scene(
    home: Path,
    server: Mapping[str, Any] | None = None,
    daemon: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    **changes: Any,
) -> Scene:
    """Return a scene whose directories lie below ``home``; ``changes`` are attributes of the scene itself."""
    for name in ("log", "cache", "schedconfig", "db", "auth"):
        (home / name).mkdir(exist_ok=True)
    me = pwd.getpwuid(os.geteuid())
    settings = ServerSettings(
        logdir=home / "log",
        cache_dir=home / "cache",
        schedconfig_dir=home / "schedconfig",
        auth_config=home / "auth",
        backend="sqlite",
        dbname=str(home / "db" / "panda.sqlite3"),
        pserverhost="localhost",
    )
    config = PandaConfig(
        replace(settings, **(server or {})),
        replace(DaemonSettings(enable=True, uname=me.pw_name, gname=grp.getgrgid(me.pw_gid).gr_name), **(daemon or {})),
        LoggerSettings(logdir=home / "log"),
        (),
        {},
        (),
    )
    return Scene(config, {"PANDA_HOME": str(home)} | dict(environ or {}), **changes)


def found(check: Check, scene: Scene) -> list[tuple[str, str]]:
    """Return severity and message of each result."""
    return [(result.severity.name, result.message) for result in check(scene)]


def severities(check: Check, scene: Scene) -> set[Severity]:
    """Return what severities there are."""
    return {result.severity for result in check(scene)}
