"""What can happen to event ranges and to the jobs that work on them: plain tables and functions of plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer import ErrorCode
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE, FINE_GRAINED, JUMBO
from pandaserver.taskbuffer.states import JobStatus


class EventStatus(IntEnum):
    """State of a range, as numbers that other programs know."""

    ready = 0
    sent = 1
    running = 2
    finished = 3
    cancelled = 4
    discarded = 5
    done = 6
    failed = 7
    fatal = 8
    merged = 9
    corrupted = 10
    reserved_fail = 98
    reserved_get = 99


E = EventStatus

#: Ranges whose work is in a consumer's hands, or was until it failed.
HELD: Final = (E.sent, E.running, E.failed)

#: Ranges whose output exists.
PROCESSED: Final = (E.finished, E.done, E.merged)

#: What a pilot reports -> the state that follows. Words that are not final change less and are answered by null.
REPORTS: Final[dict[str, EventStatus]] = {
    "running": E.running,
    "transferring": E.running,
    "finished": E.finished,
    "failed": E.failed,
    "fatal": E.fatal,
}

#: Words after which the range may still change in the hands of the same job.
UNSETTLED: Final = frozenset({"running", "transferring"})

#: State that a report brings -> the states from which it does. Reporting a state again changes nothing and is no error.
UPDATES: Final[dict[EventStatus, frozenset[EventStatus]]] = {
    E.running: frozenset({E.sent, E.running}),
    E.finished: frozenset({E.sent, E.running}),
    E.failed: frozenset({E.sent, E.running}),
    E.fatal: frozenset({E.sent, E.running, E.failed}),
}

#: States of a job that gets ranges, and of one that may report about them.
ACQUIRING: Final = frozenset({"sent", "running", "starting"})
REPORTING: Final = frozenset({"sent", "running", "starting", "transferring"})

#: Items of one update that are looked at; the rest is answered by null and sent again.
MOST_UPDATES: Final = 100_000

#: Ranges that one submission may make.
MOST_RANGES: Final = 200_000

#: Attempts that a range gets when the submission does not say.
MAX_ATTEMPTS: Final = 3

#: Kinds of jobs that take ranges one by one.
TAKERS: Final = frozenset({EVENT_SERVICE, JUMBO, FINE_GRAINED})


@dataclass(frozen=True, slots=True)
class RangeKey:
    """The five numbers of an eventRangeID."""

    task: int
    job: int
    file: int
    process: int
    attempt: int

    @classmethod
    def read(cls, text: object) -> RangeKey | None:
        """Return the key that a text means; None if it means none."""
        parts = str(text).split("-")
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.task}-{self.job}-{self.file}-{self.process}-{self.attempt}"


# ---- splitting -------------------------------------------------------------------------------------------------------

_PREFIX: Final = "es:"


@dataclass(frozen=True, slots=True)
class FileSplit:
    """How the events of one input file are cut into ranges. Events are counted from ``first``, both ends belong."""

    lfn: str
    first: int
    last: int
    per_range: int
    attempts: int
    offset: int = 0

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last event of each range."""
        for start in range(self.first, self.last + 1, self.per_range):
            yield start, min(start + self.per_range - 1, self.last)

    @property
    def n_ranges(self) -> int:
        """Number of ranges."""
        return (self.last - self.first + self.per_range) // self.per_range


def splits_of(special_handling: str | None) -> tuple[str, tuple[FileSplit, ...], str | None] | None:
    """Return group, splits and what is left of the flags, from ``es:<group>:<lfn>/<first>/<last>/<size>[/<attempts>
    [/<offset>]]^...``; None if there is no such word. BadRequest tells what is wrong with it.
    """
    words = [word.strip() for word in (special_handling or "").split(",") if word.strip()]
    word = next((word for word in words if word.startswith(_PREFIX)), None)
    if word is None:
        return None
    group, _, listed = word.removeprefix(_PREFIX).partition(":")
    splits = tuple(_split(item) for item in listed.split("^") if item)
    if sum(split.n_ranges for split in splits) > MOST_RANGES:
        raise BadRequest(f"specialHandling asks for more than {MOST_RANGES} event ranges")
    kept = [kept for kept in words if not kept.startswith(_PREFIX) and kept != "eventservice"]
    return group, splits, ",".join(["eventservice", *kept])


def _split(item: str) -> FileSplit:
    lfn, *numbers = item.split("/")
    if not lfn or not 3 <= len(numbers) <= 5 or not all(n.isascii() and n.isdigit() and len(n) < 16 for n in numbers):
        raise BadRequest(f"specialHandling: {item[:80]!r} is not <lfn>/<first>/<last>/<events per range>[/<attempts>]")
    first, last, size, *more = map(int, numbers)
    split = FileSplit(lfn, first, last, size, more[0] if more else MAX_ATTEMPTS, more[1] if len(more) > 1 else 0)
    if size < 1 or last < first or not 1 <= split.attempts <= 1000:
        raise BadRequest(f"specialHandling: {item[:80]!r} has no events, no events in a range, or too many attempts")
    return split


# ---- the end of a job ------------------------------------------------------------------------------------------------


class After(IntEnum):
    """What follows for the set of ranges when one of its consumers ends; the numbers are those of the job's table."""

    retry = 0
    merge = 2
    out_of_attempts = 3
    wait = 4
    inaction = 5
    last_unprocessed = 6
    all_failed = 7
    retry_unused = 8
    superseded = 9
    merge_unused = 10
    no_queue = 11


@dataclass(frozen=True, slots=True)
class Ending:
    """What a consumer becomes."""

    status: JobStatus
    sub_status: str | None
    error: int
    diag: str


S = JobStatus

ENDINGS: Final[dict[After, Ending]] = {
    After.retry: Ending(S.merging, "es_retry", ErrorCode.EC_EventServiceRetried, "another job takes what is left"),
    After.merge: Ending(S.merging, "es_merge", ErrorCode.EC_EventServiceMerge, "a merge job has been made"),
    After.merge_unused: Ending(S.closed, "es_merge", ErrorCode.EC_EventServiceMerge, "a merge job has been made"),
    After.out_of_attempts: Ending(S.failed, None, ErrorCode.EC_EventServiceMaxAttempt, "ranges are out of attempts"),
    After.wait: Ending(S.merging, "es_wait", ErrorCode.EC_EventServiceWaitOthers, "others work on the rest"),
    After.inaction: Ending(S.closed, "es_inaction", ErrorCode.EC_EventServiceUnprocessed, "no range was processed"),
    After.last_unprocessed: Ending(
        S.failed, None, ErrorCode.EC_EventServiceLastUnprocessed, "no range was processed, and nobody is left to do it"
    ),
    After.all_failed: Ending(S.failed, None, ErrorCode.EC_EventServiceAllFailed, "all ranges failed"),
    After.retry_unused: Ending(
        S.closed, "es_noevent", ErrorCode.EC_EventServiceNoEvent, "no range was processed; another job was made"
    ),
    After.superseded: Ending(
        S.closed, "es_badstatus", ErrorCode.EC_EventServiceBadStatus, "its ranges were cancelled meanwhile"
    ),
    After.no_queue: Ending(
        S.failed, None, ErrorCode.EC_EventServiceNoEsQueues, "ranges are left, and the queue takes no new jobs"
    ),
}

#: Outcomes that end the whole set: nothing of it will be merged.
GIVES_UP: Final = frozenset({After.out_of_attempts, After.last_unprocessed, After.all_failed, After.no_queue})


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What the end of a consumer is judged by, after it has given back what it did not finish."""

    done_here: int  # ranges that this job finished
    ready: int  # ranges that wait for somebody
    held: int  # ranges in the hands of others
    done: int  # ranges that are finished, in the whole set
    fatal: int  # ranges that nobody will try again
    others: int  # consumers of the set that are still alive and may have a part in it
    may_retry: bool  # the job has attempts left
    queue_open: bool = True  # its queue takes new jobs
    accepts_partial: bool = False  # what there is may be merged without the rest
    has_merge: bool = False  # a merge job is at work, or has done it


def judge_end(facts: SetFacts) -> After:
    """Decide what follows when a consumer ends."""
    used = facts.done_here > 0
    if facts.has_merge:
        return After.wait if used else After.inaction
    if facts.ready:
        if facts.may_retry and facts.queue_open:
            return After.retry if used else After.retry_unused
        if facts.others:
            return After.wait if used else After.inaction
        if not facts.queue_open:
            return After.no_queue
        if facts.done and facts.accepts_partial:
            return After.merge if used else After.merge_unused
        return After.out_of_attempts if facts.done else After.last_unprocessed
    if facts.held or facts.others:  # the last one decides for all
        return After.wait if used else After.inaction
    if facts.done and (not facts.fatal or facts.accepts_partial):
        return After.merge if used else After.merge_unused
    if facts.fatal:
        return After.out_of_attempts if facts.done else After.all_failed
    return After.superseded
