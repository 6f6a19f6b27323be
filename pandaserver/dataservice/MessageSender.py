"""Draining the table of outgoing messages: in order, in batches, and nothing is forgotten before it was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.taskbuffer.messages import OutgoingMessage

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("send_messages")

BATCH: Final = 200

#: Messages that the broker may refuse in one round before we leave it alone until the next.
MOST_REFUSALS: Final = 3


class Broker(Protocol):
    """Whoever takes messages."""

    @property
    def problem(self) -> str:
        """Why the last message was not taken."""

    def send(self, messages: Sequence[OutgoingMessage], destinations: Mapping[str, str]) -> set[int]:
        """Send and return the messages that were taken; raise ExternalError without a connection."""


def drain(task_buffer: TaskBuffer, broker: Broker, destinations: Mapping[str, str], seconds: float) -> int:
    """Send messages of these topics until none waits or the time is over; return how many were taken.

    A message may arrive twice, if we die between the broker's receipt and the deletion; its header
    ``panda-message-id`` tells. Only refusals count as attempts: while there is no connection, no message is to blame.
    """
    total, until = 0, monotonic() + seconds
    refused: set[int] = set()
    while monotonic() < until:
        waiting = task_buffer.waitingMessages(sorted(destinations), BATCH)
        batch = [message for message in waiting if message.id not in refused]
        if not batch:
            break
        taken = _send(task_buffer, broker, batch, destinations)
        total += len(taken)
        rest = [message for message in batch if message.id not in taken]
        for message in rest:  # alone, to see which one the broker does not like
            if len(refused) >= MOST_REFUSALS or monotonic() >= until:
                return total
            if _send(task_buffer, broker, [message], destinations):
                total += 1
                continue
            refused.add(message.id)
            task_buffer.countFailedMessages([message.id])
            _log.warning(
                f"refused id={message.id} topic={message.topic} attempts={message.attempts + 1} error={broker.problem}"
            )
    return total


def _send(
    task_buffer: TaskBuffer, broker: Broker, batch: Sequence[OutgoingMessage], destinations: Mapping[str, str]
) -> set[int]:
    taken = broker.send(batch, destinations)
    task_buffer.deleteMessages(sorted(taken))
    return taken
