"""At most so many heavy questions at once on a machine, so that they cannot take every database connection."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from pandaserver.srvcore.errors import Busy

#: Longest wait for a turn, and the pause between two looks.
PATIENCE: Final = 5.0
_PAUSE: Final = 0.02


class HeavyQuestions:
    """Gives turns. A turn is a locked file: the lock of a process that dies is free at once."""

    def __init__(self, directory: Path, most: int, logger: logging.Logger, patience: float = PATIENCE) -> None:
        self._files = [directory / f"heavy_question.{n}.lock" for n in range(most)]
        self._patience = patience
        self._logger = logger

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for a turn and have it; Busy if none comes in time. ``deadline`` is of the monotonic clock."""
        handle = self._wait(min(deadline, monotonic() + self._patience)) if self._files else None
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def _wait(self, until: float) -> int | None:
        while True:
            for path in self._files:
                try:
                    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                except OSError as problem:  # a limit is not worth refusing everybody
                    self._logger.warning("heavy questions are not counted: %s", problem)
                    return None
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(handle)
                    continue
                return handle
            if monotonic() >= until:
                raise Busy(
                    f"{len(self._files)} questions of this kind are being answered on this machine; try again later"
                )
            sleep(_PAUSE)
