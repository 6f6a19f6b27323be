"""One run of a script, by a worker or by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from time import monotonic
from typing import Final

from pandacommon.pandautils.thread_utils import LockPool
from pandaserver.config.values import DaemonSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: What scripts find in argv[0], where a program's own path would be.
PROGRAM: Final = __file__


def run_script(
    spec: DaemonSpec, tbuf: TaskBuffer, lock_pool: LockPool, must_stop: Callable[[], bool] = lambda: False
) -> None:
    """Call ``main`` of the script; with ``loop`` again while it returns True, for its period or until told to stop."""
    script = importlib.import_module(spec.module)
    started = monotonic()
    while True:
        again = script.main(argv=(PROGRAM, *spec.arguments), tbuf=tbuf, lock_pool=lock_pool)
        if not (spec.loop and again) or monotonic() - started >= spec.period or must_stop():
            return
