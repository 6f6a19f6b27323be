"""Which retry rules apply to a failed job: RETRYERRORS joined with RETRYACTIONS, evaluated without a database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl


class RetryAction(StrEnum):
    """What a rule wants done."""

    no_retry = "no_retry"
    limit_retry = "limit_retry"
    increase_memory = "increase_memory"
    increase_memory_xtimes = "increase_memory_xtimes"
    increase_cputime = "increase_cputime"
    reduce_input_per_job = "reduce_input_per_job"


#: Error columns in the order in which the Adder asks, and those of who else ends jobs.
ADDER_SOURCES: Final = ("pilotErrorCode", "exeErrorCode", "ddmErrorCode", "transExitCode")
SERVER_SOURCES: Final = ("taskBufferErrorCode",)
WATCHER_SOURCES: Final = ("jobDispatcherErrorCode",)

#: Error column -> the column that explains it.
DIAGS: Final[Mapping[str, str | None]] = {
    "pilotErrorCode": "pilotErrorDiag",
    "exeErrorCode": "exeErrorDiag",
    "ddmErrorCode": "ddmErrorDiag",
    "transExitCode": None,
    "jobDispatcherErrorCode": "jobDispatcherErrorDiag",
    "taskBufferErrorCode": "taskBufferErrorDiag",
}


@dataclass(frozen=True, slots=True)
class RetryRule:
    """One row of RETRYERRORS with the action that it names. A condition that is None holds for every job."""

    id: int
    source: str
    code: int
    action: str
    active: bool = True  # both flags, of the rule and of the action
    diag: str | None = None  # regular expression, from the start of the text
    parameters: str | None = None
    architecture: str | None = None
    release: str | None = None
    work_queue: int | None = None
    expires: datetime | None = None

    @property
    def conditions(self) -> int:
        """How many conditions there are: the more, the stricter."""
        return sum(c is not None for c in (self.diag, self.architecture, self.release, self.work_queue))

    @property
    def values(self) -> dict[str, str]:
        """The parameters ``k=v&k=v``."""
        return dict(parse_qsl(self.parameters or "", keep_blank_values=True))

    @property
    def limit(self) -> float:
        """Attempts that ``limit_retry`` leaves; infinite if the parameter is missing or no number."""
        text = self.values.get("maxAttempt", "")
        return int(text) if text.isdecimal() else float("inf")


@dataclass(frozen=True, slots=True)
class FailedJob:
    """What rules look at: errors in the order of evaluation, as (column, code, text)."""

    PandaID: int
    task: int | None
    attempt: int
    max_attempt: int | None
    errors: tuple[tuple[str, int, str | None], ...]
    architecture: str | None = None  # cmtConfig
    release: str | None = None  # AtlasRelease
    work_queue: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One rule that applies to a job. ``dry_run``: the rule or its action is not active."""

    PandaID: int
    task: int | None
    rule: RetryRule
    dry_run: bool = False


def decide(job: FailedJob, rules: Iterable[RetryRule], now: datetime) -> list[Decision]:
    """Return what the rules want done about a job, at most one of each action.

    The first error with an active rule ends the search; of several rules with one action the strictest counts.
    """
    valid = [rule for rule in rules if rule.expires is None or now < rule.expires]
    told: list[Decision] = []
    for source, code, diag in job.errors:
        matching = [r for r in valid if r.source == source and r.code == code and _matches(r, job, diag)]
        told += [Decision(job.PandaID, job.task, r, dry_run=True) for r in matching if not r.active]
        chosen = _strictest([rule for rule in matching if rule.active])
        if chosen:
            return [*told, *(Decision(job.PandaID, job.task, rule) for rule in chosen)]
    return told


def unreadable(rules: Iterable[RetryRule]) -> list[str]:
    """Return what is wrong with rules that can never apply as they are meant, for the log."""
    problems = []
    for rule in rules:
        if rule.source not in DIAGS:
            problems.append(f"rule {rule.id}: errorSource {rule.source} is no error column of a job")
        if rule.action not in list(RetryAction):
            problems.append(f"rule {rule.id}: there is no action {rule.action}")
        if rule.diag is not None and _pattern(rule.diag) is None:
            problems.append(f"rule {rule.id}: errorDiag {rule.diag!r} is no regular expression")
        if rule.action == RetryAction.limit_retry and rule.limit == float("inf"):
            problems.append(f"rule {rule.id}: limit_retry needs the parameter maxAttempt=<number>")
    return problems


def _matches(rule: RetryRule, job: FailedJob, diag: str | None) -> bool:
    if rule.action not in list(RetryAction):
        return False
    if rule.action == RetryAction.limit_retry and rule.limit == float("inf"):
        return False
    if rule.diag is not None:
        pattern = _pattern(rule.diag)
        if pattern is None or pattern.match(diag or "") is None:
            return False
    return (
        rule.architecture in (None, job.architecture)
        and rule.release in (None, job.release)
        and rule.work_queue in (None, job.work_queue)
    )


def _strictest(rules: Sequence[RetryRule]) -> list[RetryRule]:
    by_action: dict[str, RetryRule] = {}
    for rule in sorted(rules, key=lambda r: (-r.conditions, r.limit, r.id)):
        by_action.setdefault(rule.action, rule)
    return list(by_action.values())


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None
