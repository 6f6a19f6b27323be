"""Operations that behave and misbehave inside a database child."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from pandacommon.pandalogger.context import remote_address, request_id
from pandaserver.srvcore.errors import Conflict, Unavailable
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction


@operation(timeout=60)
def bridge_echo(tx: Transaction, value: Any) -> Any:
    return value


@operation(timeout=60)
def bridge_pid(tx: Transaction) -> int:
    return os.getpid()


@operation(timeout=60)
def bridge_request_id(tx: Transaction) -> tuple[str, str]:
    return request_id.get(), remote_address.get()


@operation(timeout=60)
def bridge_sleep(tx: Transaction, started: Path) -> None:
    started.touch()
    time.sleep(600)


@operation(timeout=60)
def bridge_stop(tx: Transaction) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@operation(timeout=60)
def bridge_conflict(tx: Transaction, details: dict[str, Any]) -> None:
    raise Conflict("PandaID 1 is finished", **details)


@operation(timeout=60)
def bridge_unavailable(tx: Transaction) -> None:
    raise Unavailable("no connection to the database")


@operation(timeout=60)
def bridge_bug(tx: Transaction) -> float:
    return 1 / 0


@operation(timeout=60)
def bridge_unpicklable(tx: Transaction) -> object:
    return threading.Lock()


@operation(timeout=60)
def bridge_dies_once(tx: Transaction, mark: Path) -> str:
    return _die_at_first(mark)


@operation(timeout=60, repeatable=True)
def bridge_reads_and_dies_once(tx: Transaction, mark: Path) -> str:
    return _die_at_first(mark)


@operation(timeout=60, repeatable=True)
def bridge_reads_and_always_dies(tx: Transaction, log: Path) -> None:
    with log.open("a") as file:
        file.write("called\n")
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_first(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@operation(timeout=60)
def bridge_nap(tx: Transaction, seconds: float, value: str) -> str:
    time.sleep(seconds)
    return value
