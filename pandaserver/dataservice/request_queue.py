"""The queue of requests that lie as files in the cache directory of this machine: when each is tried, when it goes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Final

from pandacommon.pandalogger.logger_utils import dump_error_message
from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.dataservice.RequestPluginBase import Fate, Outcome
from pandaserver.srvcore.errors import BadRequest

#: Seconds that one run of a script spends; what is left waits for the next run.
STRETCH: Final = 300.0


@dataclass(frozen=True, slots=True)
class RequestKind:
    """One kind of files, and its times in seconds."""

    prefix: str
    min_age: float  # before, the file may be incomplete, and its author may still talk to the server
    last_chance: float  # an attempt at this age is the last one


EVENT_PICKING: Final = RequestKind("evp", 60, 24 * 3600)
RECOVERY: Final = RequestKind("recov", 5, 2 * 3600)
WORKFLOW: Final = RequestKind("workflow", 5, 2 * 3600)

#: text of the file, name of the file -> outcome; BadRequest: the file is no such request
Handle = Callable[[str, str], Outcome]
#: text, name, outcome, whether that was the last attempt
Tell = Callable[[str, str, Outcome], None]


def work_through(
    directory: Path, kind: RequestKind, handle: Handle, tell: Tell, log: LogWrapper, stretch: float = STRETCH
) -> dict[Fate, int]:
    """Try the requests that are due, the oldest first, one at a time; return how many ended how.

    A file goes when its request is done or refused, or after its last attempt; then ``tell`` hears of it.
    """
    counts, until = dict.fromkeys(Fate, 0), monotonic() + stretch
    for path in _due(directory, kind):
        if monotonic() >= until:
            log.info("time is over, the rest waits for the next run")
            break
        with _held(path) as descriptor:
            if descriptor is None:  # another process is at work on it, or has just finished
                continue
            outcome = _try(path, kind, handle, log)
            counts[outcome.fate] += 1
            log.info(f"<file={path.name}> attempt fate={outcome.fate.value} message={outcome.message!r}")
            if outcome.fate is not Fate.later:
                _tell(path, tell, outcome, log)
                path.unlink(missing_ok=True)
    return counts


def _due(directory: Path, kind: RequestKind) -> list[Path]:
    found = []
    for path in directory.glob(f"{kind.prefix}.*"):
        age = _age(path)
        if age is not None and age >= kind.min_age:
            found.append((-age, path))
    return [path for _, path in sorted(found)]


def _age(path: Path) -> float | None:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    return time() - facts.st_mtime if path.is_file() and not path.is_symlink() else None


def _try(path: Path, kind: RequestKind, handle: Handle, log: LogWrapper) -> Outcome:
    age = _age(path) or 0.0
    try:
        outcome = handle(path.read_text("utf-8"), path.name)
    except (BadRequest, UnicodeDecodeError) as error:
        return Outcome.refused(f"the request cannot be read: {error}")
    except Exception as error:  # noqa: BLE001 - the plug-in boundary, foreign code
        dump_error_message(log, f"<file={path.name}> attempt failed error={error!r}")
        outcome = Outcome.later("it failed for a reason that the server's log tells")
    if outcome.fate is Fate.later and age >= kind.last_chance:
        hours = f"{age / 3600:.0f} hours"
        return Outcome.refused(f"given up after {hours}: {outcome.message}")
    return outcome


def _tell(path: Path, tell: Tell, outcome: Outcome, log: LogWrapper) -> None:
    try:
        tell(path.read_text("utf-8", errors="replace"), path.name, outcome)
    except Exception as error:  # noqa: BLE001 - a request is not repeated because its author could not be told
        dump_error_message(log, f"<file={path.name}> could not tell the user error={error!r}")


@contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """Hold the file itself, so that a run by hand and one by the daemon do not work on it at the same time."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield descriptor if os.fstat(descriptor).st_nlink else None
    finally:
        os.close(descriptor)
