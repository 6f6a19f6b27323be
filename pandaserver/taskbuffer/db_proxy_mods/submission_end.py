"""The end of a user's submission, for the mail that tells about it. Of jobs of tasks the task layer tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.messages import MAIL_TOPIC
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

SUBMISSIONS: Final = """
    SELECT DISTINCT prodUserName, jobDefinitionID FROM ATLAS_PANDA.jobsArchived4
    WHERE PandaID IN (:ids[]) AND jediTaskID IS NULL AND prodSourceLabel IN ('user', 'panda')
      AND prodUserName IS NOT NULL
    ORDER BY prodUserName, jobDefinitionID
"""

LIVE: Final = tuple(
    f"""
    SELECT COUNT(*) FROM ATLAS_PANDA.{table}
    WHERE prodUserName = :prodUserName AND jobDefinitionID = :jobDefinitionID AND jediTaskID IS NULL
"""
    for table in ("jobsDefined4", "jobsActive4")
)

ENDED: Final = """
    SELECT jobStatus, COUNT(*), MIN(creationTime), MAX(endTime), MIN(jobsetID), MIN(computingSite), MAX(computingSite),
        MIN(PandaID)
    FROM ATLAS_PANDA.jobsArchived4
    WHERE prodUserName = :prodUserName AND jobDefinitionID = :jobDefinitionID AND jediTaskID IS NULL
      AND prodSourceLabel IN ('user', 'panda')
    GROUP BY jobStatus
    ORDER BY jobStatus
"""

DATASETS: Final = """
    SELECT DISTINCT type, dataset FROM ATLAS_PANDA.filesTable4
    WHERE PandaID = :PandaID AND dataset IS NOT NULL
    ORDER BY type, dataset
"""

ADDRESS: Final = "SELECT email FROM ATLAS_PANDAMETA.users WHERE name = :name"


@dataclass(frozen=True, slots=True)
class SubmissionEnd:
    """What became of a submission all of whose jobs have ended."""

    user: str
    job_definition_id: int
    address: str | None  # as the user's row says
    counts: dict[str, int] = field(default_factory=dict)  # by status
    jobset_id: int | None = None
    created: datetime | None = None
    ended: datetime | None = None
    sites: tuple[str, ...] = ()  # the first and the last in the alphabet
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def leave_mail(tx: Transaction, ids: Sequence[int]) -> None:
    """Leave a note for each submission of a user of which jobs have ended just now."""
    tx.insert(
        "ATLAS_PANDA.panda_messages",
        [
            {
                "topic": MAIL_TOPIC,
                "creationTime": tx.now(),
                "payload": json.dumps({"user": user, "jobDefinitionID": number}),
            }
            for user, number in tx.rows(SUBMISSIONS, ids=list(ids))
        ],
    )


def address_of(tx: Transaction, user: str) -> str | None:
    """Return the mail address of a user as stored, which may be a word that forbids mail."""
    found: str | None = tx.value(ADDRESS, name=user[:60])
    return found


@operation(timeout=60, repeatable=True)
def get_submission_end(tx: Transaction, user: str, job_definition_id: int) -> SubmissionEnd | None:
    """Return what became of a submission, None while jobs of it live."""
    which = {"prodUserName": user, "jobDefinitionID": job_definition_id}
    if any(tx.value(text, **which) for text in LIVE):
        return None
    rows = tx.rows(ENDED, **which)
    if not rows:  # it has gone to the archive
        return SubmissionEnd(user, job_definition_id, None)
    files = tx.rows(DATASETS, PandaID=max(row[7] for row in rows))
    return SubmissionEnd(
        user,
        job_definition_id,
        address_of(tx, user),
        {row[0]: int(row[1]) for row in rows},
        next((row[4] for row in rows if row[4] is not None), None),
        min(row[2] for row in rows),
        max((row[3] for row in rows if row[3] is not None), default=None),
        tuple(sorted({site for row in rows for site in row[5:7] if site})),
        tuple(name for kind, name in files if kind == "input"),
        tuple(name for kind, name in files if kind in ("output", "log")),
    )


@operation(timeout=60)
def leave_user_mail(tx: Transaction, user: str, subject: str, body: str) -> None:
    """Leave a mail for a user, to be sent by a daemon script."""
    payload = json.dumps({"user": user, "subject": subject, "body": body})
    tx.insert("ATLAS_PANDA.panda_messages", [{"topic": MAIL_TOPIC, "creationTime": tx.now(), "payload": payload}])


@operation(timeout=60, repeatable=True)
def get_mail_address(tx: Transaction, user: str) -> str | None:
    """Return the mail address of a user as stored, which may be a word that forbids mail."""
    return address_of(tx, user)
