"""Telling users by mail that the last job of a submission has ended, and whatever else was left for them.

Users of tasks hear from the task layer.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.MailUtils import Mailer
from pandaserver.srvcore.errors import BadRequest, ExternalError
from pandaserver.srvcore.mail_address import NO_MAIL, usable_address
from pandaserver.taskbuffer.db_proxy_mods.submission_end import SubmissionEnd
from pandaserver.taskbuffer.messages import MAIL_TOPIC, OutgoingMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Notifier")

BATCH: Final = 500

#: Attempts after which a mail that the server does not take is given up.
MOST_FAILURES: Final = 100

#: Datasets that a mail names at most.
MOST_NAMES: Final = 20


class Notifier:
    """Works through the notes that ended jobs left, one mail a submission."""

    def __init__(self, task_buffer: TaskBuffer, mailer: Mailer) -> None:
        self._task_buffer = task_buffer
        self._mailer = mailer

    def run(self, seconds: float) -> int:
        """Send mail until no note waits or the time is over; return how many were sent.

        A note about a submission whose other jobs live is dropped: the last of them leaves another one.
        """
        sent, until = 0, monotonic() + seconds
        seen: set[str] = set()
        while monotonic() < until:
            notes = self._task_buffer.waitingMessages([MAIL_TOPIC], BATCH)
            if not notes:
                break
            for key, ids in _grouped(notes).items():
                try:
                    sent += 0 if key in seen else self._tell(json.loads(key))
                except ExternalError as error:
                    _log.warning(f"mail waits n={len(notes)} error={error}")
                    self._task_buffer.countFailedMessages(ids)
                    self._give_up(notes)
                    return sent
                seen.add(key)
                self._task_buffer.deleteMessages(ids)
        return sent

    def _tell(self, note: Mapping[str, Any]) -> int:
        user = str(note["user"])
        if "subject" in note:
            stored = self._task_buffer.getMailAddress(user)
            return self._send(stored, f"user={user!r} subject={note['subject']!r}", note["subject"], note["body"])
        end = self._task_buffer.getSubmissionEnd(user, int(note["jobDefinitionID"]))
        if end is None or not end.counts:
            return 0
        about = f"user={user!r} jobDefinitionID={end.job_definition_id} jobs={sum(end.counts.values())}"
        return self._send(end.address, about, subject_of(end), body_of(end))

    def _send(self, stored: str | None, about: str, subject: str, body: str) -> int:
        address = usable_address(stored)
        if address is None:
            _log.info(f"no mail {about}: no address, or none is wanted")
            return 0
        try:
            self._mailer.send(address, subject, body)
        except BadRequest as error:
            _log.warning(f"no mail {about}: {error}")
            return 0
        _log.info(f"mailed {about}")
        return 1

    def _give_up(self, notes: Iterable[OutgoingMessage]) -> None:
        hopeless = [note.id for note in notes if note.attempts >= MOST_FAILURES]
        if hopeless:
            self._task_buffer.deleteMessages(hopeless)
            _log.error(f"given up n={len(hopeless)}: the mail server took them {MOST_FAILURES} times not")


def subject_of(end: SubmissionEnd) -> str:
    """Return the subject, which users sort their mail by."""
    number = end.job_definition_id
    return (
        f"PANDA notification for JobsetID : {end.jobset_id}"
        if end.jobset_id
        else f"PANDA notification JobID : {number}"
    )


def body_of(end: SubmissionEnd) -> str:
    """Return the text: what was submitted, and what became of it."""
    total = sum(end.counts.values())
    lines = [
        f"Summary of JobID : {end.job_definition_id}",
        "",
        f"Created : {end.created:%Y-%m-%d %H:%M:%S} (UTC)" if end.created else "",
        f"Ended   : {end.ended:%Y-%m-%d %H:%M:%S} (UTC)" if end.ended else "",
        f"Site    : {', '.join(end.sites)}" if end.sites else "",
        "",
        f"Total Number of Jobs : {total}",
        f"           Succeeded : {end.counts.get('finished', 0)}",
        f"           Failed    : {end.counts.get('failed', 0)}",
        f"           Cancelled : {end.counts.get('cancelled', 0) + end.counts.get('closed', 0)}",
        "",
        *_names("In ", end.inputs),
        *_names("Out", end.outputs),
        "",
        f"Mail like this stops when your address in the server's records is changed to {NO_MAIL}.",
    ]
    return "\n".join(lines) + "\n"


def _names(label: str, names: tuple[str, ...]) -> list[str]:
    more = [f"{label} : ... and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return [f"{label} : {name}" for name in names[:MOST_NAMES]] + more


def _grouped(notes: Iterable[OutgoingMessage]) -> dict[str, list[int]]:
    """Return the notes that say the same, under what they say."""
    found: dict[str, list[int]] = {}
    for note in notes:
        found.setdefault(note.payload, []).append(note.id)
    return found
