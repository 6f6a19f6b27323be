"""What can happen to a job: its states, the table where each state lives, and every transition.

Code, CHECK constraints, documents and tests read these tables. ``move_jobs`` is the only code that changes a status,
and it refuses whatever is not listed here.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple


class JobStatus(StrEnum):
    """State of a job. ``unknown`` is a placeholder for readers and never stored."""

    pending = "pending"
    waiting = "waiting"
    defined = "defined"
    assigned = "assigned"
    activated = "activated"
    throttled = "throttled"
    sent = "sent"
    starting = "starting"
    stagein = "stagein"
    running = "running"
    stageout = "stageout"
    holding = "holding"
    transferring = "transferring"
    merging = "merging"
    finished = "finished"
    failed = "failed"
    cancelled = "cancelled"
    closed = "closed"
    unknown = "unknown"


S = JobStatus

#: What each state means, for the generated state page.
MEANING: Final[dict[JobStatus, str]] = {
    S.pending: "Stored, but its input is not settled yet; the task layer releases it.",
    S.waiting: "Parked: no queue fits now (the reason is stored, a script tries again), or a co-jumbo placeholder.",
    S.defined: "Accepted; the Setupper has not finished with it.",
    S.assigned: "Queue fixed and input transfer requested; the input has not arrived.",
    S.activated: "Ready to be given to a pilot.",
    S.throttled: "Held back from dispatch by user or share throttling.",
    S.sent: "Given to a pilot; no heartbeat yet.",
    S.starting: "Acknowledged by a pilot or push submitter; the payload does not run yet.",
    S.stagein: "A running-like state of push systems: inputs are being copied.",
    S.running: "The payload runs and heartbeats arrive.",
    S.stageout: "A running-like state of push systems: outputs are being copied.",
    S.holding: "The final report is here, or the pilot recovers its output; the Adder has not decided yet.",
    S.transferring: "Outputs are registered where they were made and move to their destination.",
    S.merging: "Outputs wait for a merge job.",
    S.finished: "Success. Final.",
    S.failed: "Failure. Final.",
    S.cancelled: "Killed by a user or operator, or failed while a kill was pending. Final.",
    S.closed: "Ended by the system before or without useful work. Final.",
}

DEFINED, ACTIVE, ARCHIVED = "jobsDefined4", "jobsActive4", "jobsArchived4"

#: The one table in which a job of that state lives. ``jobsWaiting4`` stays empty: monitors read it.
HOME: Final[dict[JobStatus, str]] = {
    S.pending: DEFINED,
    S.waiting: DEFINED,
    S.defined: DEFINED,
    S.assigned: DEFINED,
    S.activated: ACTIVE,
    S.throttled: ACTIVE,
    S.sent: ACTIVE,
    S.starting: ACTIVE,
    S.stagein: ACTIVE,
    S.running: ACTIVE,
    S.stageout: ACTIVE,
    S.holding: ACTIVE,
    S.transferring: ACTIVE,
    S.merging: ACTIVE,
    S.finished: ARCHIVED,
    S.failed: ARCHIVED,
    S.cancelled: ARCHIVED,
    S.closed: ARCHIVED,
}

#: Tables that hold jobs, in the order of the life of a job. Readers look in all of them in one statement.
LIVE_TABLES: Final = (DEFINED, ACTIVE, ARCHIVED)

FINAL: Final = frozenset({S.finished, S.failed, S.cancelled, S.closed})

#: States in which a pilot (or push submitter) holds the job.
WITH_PILOT: Final = frozenset({S.sent, S.starting, S.stagein, S.running, S.stageout})


class Transition(NamedTuple):
    """One arrow of the diagram. ``source`` None: the job does not exist yet."""

    source: JobStatus | None
    target: JobStatus
    by: str
    because: str


def _fan(sources: tuple[JobStatus, ...], target: JobStatus, by: str, because: str) -> tuple[Transition, ...]:
    return tuple(Transition(source, target, by, because) for source in sources)


_RUNNING_LIKE = (S.starting, S.stagein, S.running, S.stageout)
_LIVE = tuple(status for status in HOME if status not in FINAL)

TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(None, S.defined, "storeJobs", "normal submission"),
    Transition(None, S.pending, "storeJobs", "the task layer asked for delayed set-up"),
    Transition(None, S.waiting, "storeJobs", "placeholder for co-jumbo jobs"),
    *_fan((S.pending, S.waiting), S.defined, "reassignJobs", "released, or a queue is looked for again"),
    *_fan((S.assigned, S.activated, S.throttled, S.starting), S.defined, "reassignJobs", "set up again from the start"),
    Transition(S.defined, S.assigned, "Setupper", "input data requested"),
    Transition(S.defined, S.activated, "Setupper", "no transfer is needed"),
    Transition(S.defined, S.waiting, "Setupper", "no queue fits; the reason is stored"),
    *_fan((S.defined, S.assigned), S.failed, "Setupper", "set-up error"),
    Transition(S.assigned, S.activated, "Activator", "input data arrived"),
    Transition(S.activated, S.throttled, "throttleJobs", "held back by user or share throttling"),
    Transition(S.throttled, S.activated, "unThrottleJobs", "released"),
    Transition(S.activated, S.sent, "JobDispatcher", "given to a pilot"),
    *_fan((S.sent, S.stagein), S.starting, "JobDispatcher", "heartbeat"),
    *_fan((S.sent, S.starting, S.stagein, S.stageout), S.running, "JobDispatcher", "heartbeat"),
    *_fan((S.sent, S.starting), S.stagein, "JobDispatcher", "push submitter copies inputs"),
    Transition(S.running, S.stageout, "JobDispatcher", "push submitter copies outputs"),
    *_fan(
        (S.sent, *_RUNNING_LIKE, S.transferring),
        S.holding,
        "JobDispatcher",
        "final heartbeat, or recovery by the pilot",
    ),
    *_fan((S.sent, *_RUNNING_LIKE), S.transferring, "JobDispatcher", "a push system moves the outputs itself"),
    *_fan((S.sent, *_RUNNING_LIKE), S.activated, "JobDispatcher", "the pilot asks for a retry and attempts are left"),
    *_fan((S.holding, S.transferring), S.finished, "Adder", "outputs in place"),
    *_fan((S.holding, S.transferring), S.failed, "Adder", "the report says so, or the output check failed"),
    *_fan((S.holding, S.transferring), S.cancelled, "Adder", "failed while a kill was pending"),
    Transition(S.holding, S.transferring, "Adder", "outputs move to their destination"),
    Transition(S.holding, S.merging, "Adder", "outputs wait for a merge job"),
    *_fan((*_RUNNING_LIKE, S.sent), S.failed, "Adder", "the worker ended before the job"),
    *_fan((*_RUNNING_LIKE, S.sent), S.cancelled, "Adder", "the worker ended while a kill was pending"),
    *_fan((S.merging,), S.finished, "Adder", "the merge job finished"),
    *_fan((S.merging,), S.failed, "Adder", "the merge job failed"),
    *_fan((S.merging,), S.cancelled, "Adder", "the merge job was cancelled"),
    *_fan(
        (S.sent, *_RUNNING_LIKE, S.holding, S.transferring, S.waiting),
        S.merging,
        "EventService",
        "its event ranges wait for the rest, or for a merge job",
    ),
    *_fan(
        (S.sent, *_RUNNING_LIKE, S.holding, S.transferring),
        S.finished,
        "EventService",
        "the job processed event ranges that others merge",
    ),
    *_fan(
        (S.sent, *_RUNNING_LIKE, S.holding, S.transferring, S.merging, S.waiting),
        S.failed,
        "EventService",
        "event ranges are left that nobody can process",
    ),
    *_fan(_LIVE, S.closed, "EventService", "its event ranges are in other hands"),
    Transition(S.transferring, S.failed, "datasetManager", "transfer timeout"),
    *_fan((S.sent, *_RUNNING_LIKE, S.holding, S.transferring), S.failed, "Watcher", "heartbeat lost"),
    *_fan(_LIVE, S.cancelled, "killJob", "killed by a user or operator"),
    *_fan(_LIVE, S.closed, "killJob", "expired, reassigned or not needed any more"),
)


def is_final(status: str) -> bool:
    """Tell whether a job of that status has ended for good."""
    return status in FINAL


@cache
def sources_of(target: JobStatus, by: str | None = None) -> tuple[JobStatus, ...]:
    """Return the states from which a job may become ``target``, through actor ``by`` only if one is named.

    Raises ValueError for an actor that the table does not know for this target: a misspelt name must not mean "never".
    """
    found = {t.source for t in TRANSITIONS if t.target is target and t.source is not None and by in (None, t.by)}
    if not found:
        raise ValueError(f"states.py lists no transition to {target} by {by}")
    return tuple(status for status in HOME if status in found)


def initial_states() -> tuple[JobStatus, ...]:
    """Return the states that a new job may have."""
    return tuple(t.target for t in TRANSITIONS if t.source is None)


def states_of(table: str) -> tuple[JobStatus, ...]:
    """Return the states whose jobs live in that table, in the order of the life of a job."""
    return tuple(status for status, home in HOME.items() if home == table)
