"""When each script of the daemon runs: due, queued or running, never two of these."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from pandaserver.config.values import DaemonSpec

WARNING_PAUSE = 900.0  # seconds between two warnings about the same late script


class State(Enum):
    """What a script waits for."""

    idle = "idle"  # its due time
    queued = "queued"  # a worker
    running = "running"  # its own end


@dataclass(slots=True)
class Entry:
    """One script and its times, instants of the monotonic clock."""

    spec: DaemonSpec
    due: float
    state: State = State.idle
    started: float = 0.0  # of the run in progress
    last_start: float | None = None  # of the last run that counted
    late: float = 0.0  # seconds after its due time at which the last run began
    warned: float = float("-inf")


class Schedule:
    """Periods count from start to start. A script that is late runs once, not once for every period missed."""

    def __init__(self, specs: Iterable[DaemonSpec], now: float) -> None:
        self._entries = {spec.name: Entry(spec, due=now) for spec in specs}
        self._queue: deque[str] = deque()
        self._removed: dict[str, Entry] = {}  # by a reload; a run may still be in progress, and they may come back

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def reload(self, specs: Iterable[DaemonSpec], now: float) -> None:
        """Take other specifications into use. A script that stays keeps its state and its last start."""
        before = self._removed | self._entries
        self._entries = {}
        for spec in specs:
            entry = before.get(spec.name) or Entry(spec, due=now)
            entry.spec = spec
            if entry.state is State.running:
                entry.due = entry.started + spec.period
            elif entry.state is State.idle:
                entry.due = now if entry.last_start is None else max(now, entry.last_start + spec.period)
            self._entries[spec.name] = entry
        self._queue = deque(name for name in self._queue if name in self._entries)
        self._removed = {name: _dequeued(entry) for name, entry in before.items() if name not in self._entries}

    def queue_due(self, now: float) -> list[DaemonSpec]:
        """Queue the scripts that are due, in the order of the configuration, and return them."""
        due = [entry for entry in self if entry.state is State.idle and entry.due <= now]
        for entry in due:
            entry.state = State.queued
            self._queue.append(entry.spec.name)
        return [entry.spec for entry in due]

    def start_next(self, now: float) -> DaemonSpec | None:
        """Mark the script that has been queued for longest as running and return it."""
        if not self._queue:
            return None
        entry = self._entries[self._queue.popleft()]
        entry.state = State.running
        entry.started = now
        entry.late = now - entry.due
        entry.due = now + entry.spec.period
        return entry.spec

    def ended(self, name: str) -> None:
        """Note that a run is over, however it ended: the script is due a period after its start."""
        entry = self._running(name)
        if entry is not None:
            entry.state = State.idle
            entry.last_start = entry.started

    def postponed(self, name: str, until: float) -> None:
        """Note that a script did not run after all and is due at ``until``; this does not count as a start."""
        entry = self._running(name)
        if entry is not None:
            entry.state = State.idle
            entry.due = until

    def next_event(self) -> float:
        """Return the next instant at which a script becomes due or worth a warning, infinity if there is none."""
        moments = (entry.due if entry.state is State.idle else _warning_due(entry) for entry in self)
        return min(moments, default=float("inf"))

    def newly_late(self, now: float) -> list[tuple[DaemonSpec, float]]:
        """Return the scripts that are badly late and how late they are, each at most every 15 minutes."""
        late = [entry for entry in self if entry.state is not State.idle and _warning_due(entry) <= now]
        for entry in late:
            entry.warned = now
        return [(entry.spec, now - entry.due) for entry in late]

    def _running(self, name: str) -> Entry | None:
        """Return the entry, also if a reload removed it during the run; None if it is not running."""
        entry = self._entries.get(name) or self._removed.get(name)
        return entry if entry is not None and entry.state is State.running else None


def _dequeued(entry: Entry) -> Entry:
    if entry.state is State.queued:
        entry.state = State.idle
    return entry


def _warning_due(entry: Entry) -> float:
    if entry.spec.loop and entry.state is State.running:
        return float("inf")  # allowed to exceed its period
    if entry.state is State.queued and entry.last_start is None:
        return float("inf")  # at start everything is due at once
    return max(entry.due + max(300, entry.spec.period // 2), entry.warned + WARNING_PAUSE)
