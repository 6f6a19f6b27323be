"""The web process's side of its Setupper child: a hint that costs nothing and may be lost."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Final

from pandaserver.srvcore.child_process import command_of, environment

MODULE: Final = "pandaserver.dataservice.setupper_main"

#: Most bytes of a line: the kernel writes as much at once or not at all, so lines of threads do not mix.
LINE_LIMIT: Final = 4096

#: Seconds between two starts, so that a child that cannot live does not become a load.
START_PAUSE: Final = 10.0


class SetupperChild:
    """One child, started by the first hint, started again when it has ended. It ends when this process does."""

    def __init__(self, logger: logging.Logger, command: Sequence[str] | None = None) -> None:
        self._logger = logger
        self._command = list(command or command_of(MODULE))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def nudge(self, ids: Iterable[int]) -> None:
        """Tell the child about new jobs. What cannot be told at once is left to the daemon, which finds it later."""
        lines = list(_lines(ids))
        if not lines:
            return
        with self._lock:
            try:
                pipe = self._pipe()
                for line in lines:
                    os.write(pipe, line)
            except OSError as error:  # no process, no reader, or a child that is far behind
                self._logger.warning("the Setupper child was not told of %d lines: %s", len(lines), error)

    def close(self) -> None:
        """Let the child finish what it knows and end."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()

    def _pipe(self) -> int:
        """Return the descriptor to write to, of a child that was alive a moment ago."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def _start(self) -> subprocess.Popen[bytes]:
        wait = self._started + START_PAUSE - monotonic()
        if self._started and wait > 0:
            raise ChildProcessError(f"it ended soon after its start; the next start is in {wait:.0f} s")
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._started = monotonic()
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment(),
            bufsize=0,
            start_new_session=True,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._logger.info("Setupper child PID=%d started", process.pid)
        return process


def _lines(ids: Iterable[int]) -> Iterator[bytes]:
    """Write identifiers as lines that the kernel takes in one piece."""
    words: list[str] = []
    size = 0
    for word in map(str, ids):
        if size + len(word) + 1 > LINE_LIMIT:
            yield (" ".join(words) + "\n").encode()
            words, size = [], 0
        words.append(word)
        size += len(word) + 1
    if words:
        yield (" ".join(words) + "\n").encode()
