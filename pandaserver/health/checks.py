"""Every check of an instance, in the order in which a person would look, and running them side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from pandaserver.config.finding import Severity as Mistake
from pandaserver.health import certificates, daemon, database, files, setup, web
from pandaserver.health.result import Result, Severity, failure
from pandaserver.health.scene import Scene

Check = Callable[[Scene], Iterator[Result]]

CHECKS: Final[Mapping[str, Check]] = {
    "configuration": setup.configuration,
    "imports": setup.imports,
    "directories": files.directories,
    "disk": files.disk,
    "database": database.reachable,
    "schema": database.schema,
    "durability": database.durability,
    "clock": database.clock,
    "tokens": files.tokens,
    "certificates": certificates.certificates,
    "modules": files.modules,
    "http": web.plain,
    "https": web.secure,
    "daemon": daemon.heartbeat,
    "scripts": daemon.scripts,
}

#: Seconds for all checks together; a file server that hangs must not hang the one who looks for the reason.
LIMIT: Final = 30.0


@dataclass(slots=True)
class Examination:
    """The results of one check, as far as they have come."""

    name: str
    results: list[Result]
    thread: threading.Thread | None = None


def examine(scene: Scene, names: Iterable[str], limit: float = LIMIT) -> list[tuple[str, Result]]:
    """Run the checks of these names and return their results in the order of the table, by the deadline.

    A configuration with mistakes is the only thing that is looked at.
    """
    deadline = monotonic() + limit
    wanted = [name for name in CHECKS if name in set(names)]
    if any(finding.severity is Mistake.error for finding in scene.config.findings):
        wanted = ["configuration"]  # defaults stand where the mistakes are, so the others would look elsewhere
    examinations = [_started(name, scene) for name in wanted]
    found: list[tuple[str, Result]] = []
    for one in examinations:
        assert one.thread is not None
        one.thread.join(max(0.0, deadline - monotonic()))
        found += [(one.name, result) for result in list(one.results)]
        if one.thread.is_alive():
            found.append((one.name, failure(f"did not end within {limit:.0f} s", "something that it looks at hangs")))
    return found


def worst(found: Iterable[tuple[str, Result]]) -> Severity:
    """Return the worst severity."""
    return max((result.severity for _, result in found), default=Severity.ok)


def _started(name: str, scene: Scene) -> Examination:
    made = Examination(name, [])

    def run() -> None:
        try:
            made.results.extend(CHECKS[name](scene))
        except Exception as error:  # noqa: BLE001  a check that breaks must not hide the others
            made.results.append(failure(f"the check itself failed: {error!r}"))

    made.thread = threading.Thread(target=run, name=f"check {name}", daemon=True)
    made.thread.start()
    return made
