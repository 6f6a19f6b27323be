"""Outgoing messages as they travel between the database and whoever sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Topic of messages that become mail to a user; every other topic is one of the message broker.
MAIL_TOPIC: Final = "user_mail"

#: Failures after which a message waits behind those that failed less often, so that it holds up nobody.
PATIENCE: Final = 10


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One row of panda_messages."""

    id: int
    topic: str
    payload: str  # JSON object
    attempts: int = 0
