"""Does the daemon of this machine live, and do its scripts run in time and well?"""

from __future__ import annotations

from collections.abc import Iterator

from pandaserver.daemons.locations import status_file
from pandaserver.daemons.protocol import Outcome
from pandaserver.daemons.status import MasterStatus, ScriptStatus, read_status
from pandaserver.health.result import Result, failure, ok, skipped, warning
from pandaserver.health.scene import Scene

_START = "start it; panda_daemon_stdout.log tells why it ended"


def heartbeat(scene: Scene) -> Iterator[Result]:
    """The master lives and has workers."""
    if not scene.config.daemon.enable:
        yield skipped("the daemon is not enabled on this machine")
        return
    try:
        status = read_status(status_file(scene.environ, scene.config.logger))
    except (OSError, ValueError) as error:
        yield failure(str(error))
        return
    if status is None:
        yield failure("the daemon has never run on this machine", _START)
    elif status.state == "stopped":
        yield failure(f"the daemon was stopped {_ago(scene, status)}", _START)
    elif not status.is_beating(scene.now):
        yield failure(f"the daemon is silent since its last sign of life {_ago(scene, status)}", _START)
    elif not set(status.workers) - {"starting", "leaving"}:
        yield failure("the daemon has no worker that could start", "see the check of the database, and n_proc")
    else:
        yield ok(f"pid {status.pid} beats, {sum(status.workers.values())} workers of {status.n_proc}")


def scripts(scene: Scene) -> Iterator[Result]:
    """No script failed in its last run, and none is late."""
    try:
        status = read_status(status_file(scene.environ, scene.config.logger))
    except (OSError, ValueError):
        status = None
    if not scene.config.daemon.enable or status is None or not status.is_beating(scene.now):
        yield skipped("no daemon is at work")
        return
    bad = [result for script in status.scripts for result in _judged(script)]
    yield from bad
    if not bad:
        yield ok(f"{len(status.scripts)} scripts, {sum(one.history.runs for one in status.scripts)} runs")


def _judged(script: ScriptStatus) -> Iterator[Result]:
    history = script.history
    if history.last_result not in ("", Outcome.done):
        text = f"{script.name} {history.last_result}: {history.last_error or 'see the log of the master'}"
        yield warning(text, "panda-daemons.log has the traceback")
    if script.late > max(300.0, script.period / 2):
        yield warning(f"{script.name} is {script.late:.0f} s late", "raise n_proc, or see what the workers are doing")


def _ago(scene: Scene, status: MasterStatus) -> str:
    return f"{scene.now - status.written:.0f} s ago"
