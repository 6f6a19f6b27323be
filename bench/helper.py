"""A process that prepares something, says so, and does it when it is told: load, bare transactions, the Adder.

The program gets a JSON task on its first line, answers with the line ``ready``, starts at the next line and prints a
JSON result. What it needs to prepare is then no part of what is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final

#: Seconds that a helper gets to end after its pipe was closed.
_PATIENCE: Final = 10.0


class HelperFailed(Exception):
    """A helper ended before it had a result; it said why on its standard error."""


class Helper:
    """One running helper; leaving the context ends it."""

    def __init__(self, module: str, task: Mapping[str, Any], **popen: Any) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen
        )
        self._tell(json.dumps(task))

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_ready(self) -> None:
        """Wait until it has prepared everything."""
        self._expect("ready")

    def go(self) -> None:
        """Let it start."""
        self._tell("go")

    def result(self) -> dict[str, Any]:
        """Wait for its result."""
        found: dict[str, Any] = json.loads(self._line())
        return found

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise HelperFailed(f"{self._module} ended with exit code {self._process.wait()}") from error

    def _line(self) -> str:
        assert self._process.stdout
        line: str = self._process.stdout.readline()
        if not line:
            raise HelperFailed(f"{self._module} ended with exit code {self._process.wait()}")
        return line

    def _expect(self, word: str) -> None:
        if (line := self._line().strip()) != word:
            raise HelperFailed(f"{self._module} said {line!r} instead of {word}")


def together(
    tasks: list[tuple[str, Mapping[str, Any]]], before: Callable[[], None] | None = None, **popen: Any
) -> list[dict[str, Any]]:
    """Run helpers side by side, all prepared before the first starts; ``before`` is called just before that."""
    with ExitStack() as stack:
        helpers = [stack.enter_context(Helper(module, task, **popen)) for module, task in tasks]
        for helper in helpers:
            helper.wait_ready()
        if before:
            before()
        for helper in helpers:
            helper.go()
        return [helper.result() for helper in helpers]


def serve(prepare: Callable[[Any], Callable[[], Mapping[str, Any]]]) -> None:
    """Be such a program: ``prepare`` takes the task and returns what to do at the start."""
    run = prepare(json.loads(sys.stdin.readline()))
    print("ready", flush=True)
    if sys.stdin.readline():  # an end of file means that nobody waits for us any more
        print(json.dumps(run()), flush=True)
