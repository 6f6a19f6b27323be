"""The configuration, and the code that it names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pandaserver.config.finding import Finding
from pandaserver.config.finding import Severity as Mistake
from pandaserver.config.imports import missing_modules, unusable_plugins
from pandaserver.health.result import Result, failure, ok, warning
from pandaserver.health.scene import Scene

#: Backend -> modules of which one is its driver, and the extra that installs it.
DRIVERS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "postgres": (("psycopg2",), "postgres"),
    "mysql": (("MySQLdb",), "mysql"),
    "oracle": (("oracledb", "cx_Oracle"), "oracle"),
}


def configuration(scene: Scene) -> Iterator[Result]:
    """The configuration files have no mistakes."""
    config = scene.config
    yield from _told(config.findings)
    if all(finding.severity is Mistake.note for finding in config.findings):
        yield ok(f"{len(config.files)} files without mistakes: {', '.join(config.files)}")


def imports(scene: Scene) -> Iterator[Result]:
    """Drivers, plug-ins, scripts and libraries that the configuration asks for can be imported."""
    server = scene.config.server
    problems = list(_told([*unusable_plugins(scene.config), *missing_modules(scene.config)]))
    modules, extra = DRIVERS.get(server.backend, ((), ""))
    if modules and not any(map(importlib.util.find_spec, modules)):
        problems.append(failure(f"no driver for {server.backend}", f"pip install panda-server[{extra}]"))
    if server.metrics_dir is not None and importlib.util.find_spec("prometheus_client") is None:
        problems.append(failure("metrics_dir is set without a library", "pip install panda-server[metrics]"))
    yield from problems
    if not problems:
        plugins = len(server.setupper_plugins) + len(server.adder_plugins)
        yield ok(f"{plugins} plug-ins, {len(scene.config.daemon.daemons)} scripts")


def _told(findings: Iterable[Finding]) -> Iterator[Result]:
    for finding in findings:
        told = {Mistake.error: failure, Mistake.warning: warning, Mistake.note: ok}
        yield told[finding.severity](str(finding))
