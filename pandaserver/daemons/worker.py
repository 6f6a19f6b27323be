"""A worker's life: run the scripts that the master names, one at a time, on one database connection."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from time import monotonic

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.thread_utils import LockPool
from pandaserver.config.panda_config import PandaConfig, connection_settings, operation_settings
from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.exclusive import LockedElsewhere, exclusive_run
from pandaserver.daemons.locations import lock_directory
from pandaserver.daemons.output_files import OutputFiles
from pandaserver.daemons.process_tree import adopt_orphans, die_as_tree_with, kill_tree
from pandaserver.daemons.protocol import LineReader, Order, Outcome, Report, send_line
from pandaserver.daemons.script_run import run_script
from pandaserver.srvcore.child_process import resident_megabytes
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

SIGNALS_OF_THE_MASTER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def live(sock: socket.socket, config: PandaConfig, output: OutputFiles) -> int:
    """Serve the master until it says stop or is gone; return the exit code."""
    _leave_signals_to_the_master()
    adopt_orphans()
    die_as_tree_with(sock)
    PandaLogger.configure(config.logger)
    worker = Worker(sock, config, output)
    return worker.serve() if worker.start() else 1


class Worker:
    """The one worker of this process."""

    def __init__(self, sock: socket.socket, config: PandaConfig, output: OutputFiles) -> None:
        self._sock = sock
        self._output = output
        self._config = config
        self._specs = {spec.name: spec for spec in config.daemon.daemons}
        self._log = LogWrapper(PandaLogger.getLogger("daemons"), f"worker_pid={os.getpid()}")
        self._tbuf = self._make_task_buffer()
        self._lock_pool = LockPool(lock_directory(os.environ, config.logger))

    def start(self) -> bool:
        """Reach the database and report ready."""
        try:
            self._tbuf.check_database()
        except PandaError as error:
            self._log.error(f"failed to start: {error}")
            if "schema_version" in error.details:  # no worker can start until somebody upgrades it
                send_line(self._sock, Report.unusable, error.message)
            return False
        self._log.info("start, waiting for message")
        send_line(self._sock, Report.ready)
        return True

    def serve(self) -> int:
        """Follow orders."""
        reader = LineReader(self._sock)
        while (orders := reader.read()) is not None:
            for order, *arguments in orders:
                if order == Order.stop:
                    self._log.info("got stop, end")
                    self._tbuf.close()
                    return 0
                self._log.info(f"got message daemon={arguments[0]}")
                if not self._run(self._specs[arguments[0]]):
                    return 1
        self._log.warning("the master is gone, end")
        kill_tree(os.getpid())  # with what scripts left behind; our watch may be doing the same
        return 0

    def _run(self, spec: DaemonSpec) -> bool:
        """Run a script and report how it ended. False if this process may have been left in disorder."""
        started = monotonic()
        outcome, wait, text = self._attempt(spec)
        sys.stdout.flush()
        gc.collect()
        _reap_orphans()
        send_line(self._sock, Report.ended, outcome, monotonic() - started, wait, resident_megabytes(os.getpid()), text)
        return outcome is not Outcome.failed

    def _attempt(self, spec: DaemonSpec) -> tuple[Outcome, float, str]:
        self._output.follow()
        self._log.info(f"start daemon={spec.name} module={spec.module}")
        try:
            if spec.sync:
                with exclusive_run(spec, self._tbuf, self._make_task_buffer, self._log, self._held_until) as fenced:
                    run_script(spec, fenced, self._lock_pool, self._must_stop)
            else:
                run_script(spec, self._tbuf, self._lock_pool, self._must_stop)
        except LockedElsewhere as locked:
            self._log.info(f"skipped since locked daemon={spec.name} wait_s={locked.wait:.1f}")
            return Outcome.skipped, locked.wait, ""
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a script may raise anything
            self._log.exception(f"failed daemon={spec.name}, stop this worker")
            return Outcome.failed, 0.0, f"{type(error).__name__}: {error}"
        self._log.info(f"finish daemon={spec.name}")
        return Outcome.done, 0.0, ""

    def _held_until(self, end: float) -> None:
        send_line(self._sock, Report.held_until, end)

    def _must_stop(self) -> bool:
        """Tell whether the master wants us to end, or is gone: during a run it has nothing else to tell."""
        readable, _, _ = select.select([self._sock], [], [], 0)
        return bool(readable)

    def _make_task_buffer(self) -> TaskBuffer:
        server = self._config.server
        return TaskBuffer(LocalBridge(connection_settings(server), operation_settings(server)))


def _leave_signals_to_the_master() -> None:
    # Signals for the whole service reach workers, too; a script goes on until the master's stop_timeout. A handler that
    # does nothing, rather than SIG_IGN, is not inherited by programs that scripts start; forked children drop it here.
    for number in SIGNALS_OF_THE_MASTER:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(after_in_child=_restore_signals)


def _restore_signals() -> None:
    for number in SIGNALS_OF_THE_MASTER:
        signal.signal(number, signal.SIG_DFL)


def _reap_orphans() -> None:
    """Collect ended processes that scripts left behind; no script is running, so nobody else waits for them."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
