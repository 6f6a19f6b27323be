"""How often pilots asked, by queue: counted from the log of their requests, rotated files included."""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

LOG_NAME: Final = "panda-PilotRequests.log"

#: What the first characters of a line look like.
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_TIME_WIDTH: Final = 19

#: Requests that count, under the names of the historical door.
GET_JOB: Final = "getJob"
UPDATE_JOB: Final = "updateJob"

#: Bytes between two places in a log that the search for the begin of the window tells apart.
_CLOSE: Final = 64 * 1024


@dataclass(slots=True)
class PilotCounts:
    """What one queue's pilots did in a window."""

    get_job: int = 0
    update_job: int = 0
    nodes: set[str] = field(default_factory=set)


def count_requests(directory: Path, now: datetime, windows: Iterable[int]) -> dict[int, dict[str, PilotCounts]]:
    """Return for each window (in hours) what the pilots of each queue did; ``now`` is naive UTC."""
    begins = {hours: now - timedelta(hours=hours) for hours in windows}
    counts: dict[int, defaultdict[str, PilotCounts]] = {hours: defaultdict(PilotCounts) for hours in begins}
    oldest = min(begins.values())
    for path in _files(directory, oldest):
        for when, method, site, node in _requests(path, oldest):
            for hours, begin in begins.items():
                if begin <= when <= now:
                    _count(counts[hours][site], method, node)
    return {hours: dict(found) for hours, found in counts.items()}


def _count(of_site: PilotCounts, method: str, node: str) -> None:
    if method == GET_JOB:
        of_site.get_job += 1
    else:
        of_site.update_job += 1
    if node:
        of_site.nodes.add(node)


def _files(directory: Path, oldest: datetime) -> list[Path]:
    """Return the log and those rotated ones that were written to in the window; a compressed copy counts once."""
    since = (oldest - datetime(1970, 1, 1)).total_seconds()
    found: dict[str, Path] = {}
    for path in sorted(directory.glob(f"{LOG_NAME}*")):
        try:
            facts = path.stat()
        except FileNotFoundError:  # rotated away this moment
            continue
        plain = path.name.removesuffix(".gz")
        if path.is_file() and facts.st_mtime >= since:
            found.setdefault(plain, path)  # sorted: the plain file comes before its compressed copy
    return list(found.values())


def _requests(path: Path, oldest: datetime) -> Iterator[tuple[datetime, str, str, str]]:
    """Return time, method, queue and node of the lines about pilots' requests."""
    with closing(_opened(path, oldest)) as stream:
        for raw in stream:
            line = _line(raw)
            when = _time_of(line)
            _, found, tail = line.partition(" method=")
            if when is None or not found:
                continue
            pairs = dict(pair.partition("=")[::2] for pair in f"method={tail.strip()}".split(","))
            method, site = pairs["method"], pairs.get("site", "")
            if method in (GET_JOB, UPDATE_JOB) and site not in ("", "None"):
                yield when, method, site, _machine(pairs.get("node", ""))


def _machine(node: str) -> str:
    """Return the machine of a slot: ``slot1_3@b7n12`` is one of b7n12."""
    return "" if node == "None" else node.rpartition("@")[2]


def _opened(path: Path, oldest: datetime) -> BinaryIO:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path))
    stream = path.open("rb")
    begin = _begin(stream, path.stat().st_size, oldest)
    stream.seek(begin)
    if begin:
        stream.readline()  # the rest of a line
    return stream


def _begin(stream: BinaryIO, size: int, oldest: datetime) -> int:
    """Return a place before the first line of the window, found by halving, because a day's log is large."""
    low, high = 0, size
    while high - low > _CLOSE:
        middle = (low + high) // 2
        stream.seek(middle)
        stream.readline()
        when = None
        while when is None and (raw := stream.readline()):
            when = _time_of(_line(raw))
        if when is not None and when < oldest:
            low = middle
        else:
            high = middle
    return low


def _line(raw: bytes) -> str:
    """Return a line as the text format has it: where logs are JSON, time and message say the same."""
    text = raw.decode("utf-8", errors="replace")
    if not text.startswith("{"):
        return text
    try:
        content = json.loads(text)
    except ValueError:
        return text
    return f"{content.get('time')} {content.get('message')}"


def _time_of(line: str) -> datetime | None:
    try:
        return datetime.strptime(line[:_TIME_WIDTH], _TIME)
    except ValueError:
        return None
