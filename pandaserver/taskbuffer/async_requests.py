"""What operators may ask of machines: rules and plain data, without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: Kinds of requests.
GREP: Final = "grep"
SLEEP_ECHO: Final = "sleep_echo"

#: Name under which the daemon of this server announces its machine.
SERVICE: Final = "pandaserver"

#: Letter in the permissions of a user who may search logs.
LOG_PERMISSION: Final = "l"

#: States of a machine's answer.
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"

#: How often a machine begins; a daemon that dies of a request shall not die of it for ever.
MOST_ATTEMPTS: Final = 2

#: Characters of a machine's text that are kept.
MOST_TEXT: Final = 200_000
MOST_ERROR: Final = 2000


@dataclass(frozen=True, slots=True)
class AsyncRequest:
    """One request as it was asked. Exactly one of service and machine is given."""

    kind: str
    parameters: Mapping[str, Any]
    requester: str
    service: str | None = None
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What one machine has to do."""

    request_id: str
    kind: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MachineAnswer:
    """What one machine answers."""

    status: str  # done or failed
    text: str = ""
    return_code: int = 0
    truncated: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class AsyncState:
    """What is known about a request."""

    requester: str
    expected_machines: Sequence[str]
    results: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def is_complete(self) -> bool:
        """Whether every machine that was expected to answer has answered."""
        ended = {result["machine_name"] for result in self.results if result["status"] != RUNNING}
        return ended >= set(self.expected_machines)
