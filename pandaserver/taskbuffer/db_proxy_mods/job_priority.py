"""Priorities of new jobs: the facts that the rules ask of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.policy import Policy
from pandaserver.taskbuffer.db_proxy_mods.user import User, count_group_queue
from pandaserver.taskbuffer.job_flags import has_flag, with_flag
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import is_user_type
from pandaserver.taskbuffer.priorities import (
    EXPRESS_QUOTA,
    EXPRESS_WINDOW,
    SUPER_OFFSET,
    Terms,
    boost_for,
    current_priority,
    is_health_check,
    offset_at,
)
from pandaserver.taskbuffer.submission import Submission
from pandaserver.taskbuffer.transaction import Transaction

#: Letter of USERS.gridPref that puts a user's group jobs in front.
SUPER_USER: Final = "s"

EXPRESS_LIVE: Final = """
    SELECT PandaID FROM ATLAS_PANDA.jobsDefined4 WHERE prodUserName = :name AND specialHandling LIKE '%express%'
    UNION ALL
    SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE prodUserName = :name AND specialHandling LIKE '%express%'
"""

EXPRESS_ENDED: Final = """
    SELECT startTime, endTime FROM ATLAS_PANDA.jobsArchived4
    WHERE modificationTime > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
      AND prodSourceLabel = 'user' AND prodUserName = :name AND specialHandling LIKE '%express%'
"""


def set_priorities(
    tx: Transaction, jobs: Sequence[JobSpec], submission: Submission, user: User, policy: Policy
) -> None:
    """Set ``currentPriority``, and take the express flag from jobs beyond the user's quota."""
    _limit_express(tx, jobs, user.name)
    terms = _TermsOf(tx, submission, user, policy, jobs)
    is_test_user = user.name in policy.test_users
    position = 0
    for job in jobs:
        if is_user_type(job.prodSourceLabel, job.processingType):
            job.currentPriority = current_priority(job, terms.of(job), position, is_test_user)
            position += 1
        else:
            job.currentPriority = current_priority(job, Terms(), 0, False)


class _TermsOf:
    """The terms of each job of one submission: they differ by group, queue and kind of job."""

    def __init__(
        self, tx: Transaction, submission: Submission, user: User, policy: Policy, jobs: Sequence[JobSpec]
    ) -> None:
        self._submission = submission
        self._user = user
        self._boosts = policy.boosts
        self._today = tx.now().date()
        groups = sorted({job.workingGroup for job in jobs if job.workingGroup and job.prodSourceLabel == "user"})
        self._in_group = count_group_queue(tx, user.name, groups) if groups else {}

    def of(self, job: JobSpec) -> Terms:
        """Return how the priority of that job is computed."""
        if is_health_check(job.processingType):
            return Terms()
        boost = boost_for(self._boosts, self._user.name, job.workingGroup, self._today)
        if boost:
            return Terms(offset=boost.priority, reduced=False)
        if job.workingGroup and SUPER_USER in self._user.permissions:
            return Terms(offset=SUPER_OFFSET)
        queue = self._submission.queues.get(job.computingSite or "")
        offset = offset_at(queue.priorityoffset, self._submission.submitter.fqans) if queue else 0
        if job.workingGroup:
            return Terms(offset, self._in_group.get(job.workingGroup, 0))
        return Terms(offset, self._user.n_queued)


def _limit_express(tx: Transaction, jobs: Sequence[JobSpec], name: str) -> None:
    asking = [job for job in jobs if job.prodSourceLabel == "user" and has_flag(job.specialHandling, "express")]
    if not asking:
        return
    hours = sum(_hours(start, end) for start, end in tx.rows(EXPRESS_ENDED, name=name, hours=EXPRESS_WINDOW))
    available = EXPRESS_QUOTA - len(tx.rows(EXPRESS_LIVE, name=name)) - hours
    for job in asking[max(0, int(available)) :]:
        job.specialHandling = with_flag(job.specialHandling, "express", False)


def _hours(start: datetime | None, end: datetime | None) -> float:
    return (end - start) / timedelta(hours=1) if start and end and end > start else 0.0
