"""The row of a user: ban, counters, permissions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pandaserver.srvcore.errors import DuplicateKey
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.submission import Submitter
from pandaserver.taskbuffer.transaction import Transaction

#: Value of USERS.status that bans a user.
DISABLED: Final = "disabled"

#: Counter of a user that nobody has seen before.
FIRST_JOB_ID: Final = 1

#: Longest texts that the columns take.
NAME_LIMIT: Final = 60
DN_LIMIT: Final = 150

#: How long the number of a user's jobs is kept up by addition before it is counted again.
COUNT_AGAIN: Final = timedelta(minutes=1)

READ_USER: Final = """
    SELECT id, jobID, status, gridPref, nCurrent, cacheTime, email FROM ATLAS_PANDAMETA.users WHERE name = :name
"""

LOCK_USER: Final = READ_USER + " FOR UPDATE"

UPDATE_COUNTERS: Final = """
    UPDATE ATLAS_PANDAMETA.users
    SET jobID = :jobID, nCurrent = :nCurrent, cacheTime = :cacheTime, dn = :dn, email = :email, latestJob = :now,
        lastMod = :now
    WHERE id = :id
"""

#: Jobs of a user that make the next one wait. What is being merged has used its slot already.
COUNT_QUEUE: Final = """
    SELECT (SELECT COUNT(*) FROM ATLAS_PANDA.jobsDefined4 WHERE prodUserName = :name)
         + (SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4 WHERE prodUserName = :name AND jobStatus <> 'merging')
    FROM ATLAS_PANDAMETA.users WHERE id = :id
"""

COUNT_GROUP_QUEUE: Final = """
    SELECT workingGroup, COUNT(*) FROM (
        SELECT workingGroup FROM ATLAS_PANDA.jobsDefined4
        WHERE prodUserName = :name AND workingGroup IN (:groups[])
        UNION ALL
        SELECT workingGroup FROM ATLAS_PANDA.jobsActive4
        WHERE prodUserName = :name AND workingGroup IN (:groups[]) AND jobStatus <> 'merging'
    ) queue
    GROUP BY workingGroup
"""

BANNED: Final = "SELECT name FROM ATLAS_PANDAMETA.users WHERE status = 'disabled' ORDER BY name"

#: Identities with one of the permission letters.
PERMITTED: Final = """
    SELECT DISTINCT dn FROM ATLAS_PANDAMETA.users
    WHERE gridPref LIKE :pattern AND dn IS NOT NULL AND (status IS NULL OR status <> 'disabled')
    ORDER BY dn
"""

#: User names with one of the permission letters.
PERMITTED_NAMES: Final = """
    SELECT name FROM ATLAS_PANDAMETA.users
    WHERE gridPref LIKE :pattern AND (status IS NULL OR status <> 'disabled')
    ORDER BY name
"""

SHOW_USER: Final = """
    SELECT name, dn, email, status, gridPref, jobID, nCurrent, firstJob, latestJob FROM ATLAS_PANDAMETA.users
    WHERE name = :name
"""

SET_STATUS: Final = """
    UPDATE ATLAS_PANDAMETA.users SET status = :status, lastMod = CURRENT_TIMESTAMP WHERE name = :name
"""


SET_EMAIL: Final = """
    UPDATE ATLAS_PANDAMETA.users SET email = :email, lastMod = CURRENT_TIMESTAMP WHERE name = :name
"""

SET_PERMISSIONS: Final = """
    UPDATE ATLAS_PANDAMETA.users SET gridPref = :letters, lastMod = CURRENT_TIMESTAMP WHERE name = :name
"""


@dataclass(slots=True)
class User:
    """What submission reads and writes of a user's row."""

    id: int | None  # None: not stored yet
    name: str
    job_id: int
    is_banned: bool
    permissions: str
    n_queued: int  # jobs that are not done
    counted: datetime | None = None  # when they were counted
    email: str | None = None  # what is stored, else what the credential says

    @property
    def is_locked(self) -> bool:
        """Tell whether ``lock_user`` gave this row, so that its counters may be written."""
        return self.counted is not None


def read_user(tx: Transaction, name: str) -> User:
    """Return a user's row as it is, without the queue's length."""
    row = tx.one(READ_USER, name=name[:NAME_LIMIT])
    if row is None:
        return User(None, name[:NAME_LIMIT], FIRST_JOB_ID, False, "", 0)
    return User(row[0], name[:NAME_LIMIT], row[1], row[2] == DISABLED, row[3] or "", row[4])


def lock_user(tx: Transaction, submitter: Submitter) -> User:
    """Hold the submitter's row, made if there is none: submissions of one user follow each other."""
    name = submitter.name[:NAME_LIMIT]
    row = tx.one(LOCK_USER, name=name)
    if row is None:
        _add_user(tx, submitter)
        row = tx.one(LOCK_USER, name=name)
        assert row is not None  # inserted by us or by whoever was faster, and rows of users stay
    id_, job_id, status, permissions, n_queued, counted, email = row
    if tx.now() - counted > COUNT_AGAIN:
        n_queued, counted = tx.value(COUNT_QUEUE, name=name, id=id_), tx.now()
    email = email or submitter.email or None
    return User(id_, name, job_id, status == DISABLED, permissions or "", int(n_queued), counted, email)


def store_counters(tx: Transaction, user: User, dn: str) -> None:
    """Write a locked user's counters back."""
    tx.change_later(
        UPDATE_COUNTERS,
        id=user.id,
        jobID=user.job_id,
        nCurrent=user.n_queued,
        cacheTime=user.counted,
        dn=dn[:DN_LIMIT],
        email=user.email,
        now=tx.now(),
    )


def _add_user(tx: Transaction, submitter: Submitter) -> None:
    now = tx.now()
    row = {
        "id": tx.next_ids("ATLAS_PANDAMETA.USERS_ID_SEQ", 1)[0],
        "name": submitter.name[:NAME_LIMIT],
        "dn": submitter.dn[:DN_LIMIT],
        "jobID": FIRST_JOB_ID,
        "firstJob": now,
        "latestJob": now,
        "lastMod": now,
    }
    try:
        with tx.savepoint():
            tx.insert("ATLAS_PANDAMETA.users", [row])
    except DuplicateKey:
        return  # another first submission of the same user was faster; its row serves


def count_group_queue(tx: Transaction, name: str, groups: list[str]) -> dict[str, int]:
    """Return how many jobs a user has in the name of each of those working groups."""
    return {group: int(n) for group, n in tx.rows(COUNT_GROUP_QUEUE, name=name[:NAME_LIMIT], groups=groups)}


@operation(timeout=60, repeatable=True)
def banned_users(tx: Transaction) -> frozenset[str]:
    """Return the clean names of users who may do nothing."""
    return frozenset(name for (name,) in tx.rows(BANNED))


@operation(timeout=60, repeatable=True)
def identities_with_permission(tx: Transaction, letter: str) -> list[str]:
    """Return the identities of users who are not banned and whose permissions contain that letter."""
    return [dn for (dn,) in tx.rows(PERMITTED, pattern=f"%{letter}%")]


@operation(timeout=60, repeatable=True)
def names_with_permission(tx: Transaction, letter: str) -> list[str]:
    """Return the clean names of users who are not banned and whose permissions contain that letter."""
    return [name for (name,) in tx.rows(PERMITTED_NAMES, pattern=f"%{letter}%")]


@operation(timeout=60, repeatable=True)
def has_permission(tx: Transaction, name: str, letter: str) -> bool:
    """Tell whether a user is not banned and has that letter among the permissions."""
    user = read_user(tx, name)
    return bool(name) and not user.is_banned and letter in user.permissions


@operation(timeout=60)
def set_user_status(tx: Transaction, name: str, status: str | None, actor: str = "system") -> bool:
    """Ban a user (``disabled``) or lift the ban (None); return False for a user who never submitted."""
    if not tx.change(SET_STATUS, name=name[:NAME_LIMIT], status=status):
        return False
    audit.record(tx, actor, "setUserStatus", "user", name[:NAME_LIMIT], status=status)
    return True


@operation(timeout=60)
def ban_user(tx: Transaction, name: str, actor: str, reason: str) -> bool:
    """Ban a user, also one whom nobody has seen yet; return False if the ban was there before."""
    if lock_user(tx, Submitter(name=name[:NAME_LIMIT], dn="")).is_banned:
        return False
    tx.change(SET_STATUS, name=name[:NAME_LIMIT], status=DISABLED)
    audit.record(tx, actor, "banUser", "user", name[:NAME_LIMIT], reason=reason)
    return True


@operation(timeout=60)
def set_permissions(tx: Transaction, name: str, letters: str, actor: str) -> None:
    """Give a user exactly those permission letters, also one whom nobody has seen yet."""
    lock_user(tx, Submitter(name=name[:NAME_LIMIT], dn=""))
    tx.change(SET_PERMISSIONS, name=name[:NAME_LIMIT], letters=letters or None)
    audit.record(tx, actor, "setPermissions", "user", name[:NAME_LIMIT], letters=letters)


@operation(timeout=60)
def set_mail_address(tx: Transaction, name: str, address: str | None, actor: str) -> None:
    """Store where mail for a user goes, also one whom nobody has seen yet; None takes it away."""
    lock_user(tx, Submitter(name=name[:NAME_LIMIT], dn=""))
    tx.change(SET_EMAIL, name=name[:NAME_LIMIT], email=address)
    audit.record(tx, actor, "setMailAddress", "user", name[:NAME_LIMIT], email=address)


@operation(timeout=60, repeatable=True)
def user_row(tx: Transaction, name: str) -> dict[str, Any] | None:
    """Return what is known about a user, None if nothing is."""
    rows = tx.dicts(SHOW_USER, name=name[:NAME_LIMIT])
    return rows[0] if rows else None
