"""Golden pairs of harvesters: the bytes that each generation sends and the bytes that it gets, written by hand.

A file of pairs is a list of cases. ``generations`` says which ones send it so: 2019 and 0.5 mostly agree. ``given`` are
rows by table before (``now`` and ``time:...`` are times), ``jobs`` states of jobs by name, ``after`` queries and their
rows. ``{name}`` stands for the PandaID of a job, anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from werkzeug.test import Client, TestResponse

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER
from tests.db.crowd import insert, query
from tests.db.stages import put_job

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "harvester"

CALLERS: Final[Mapping[str, dict[str, str]]] = {
    "production": PRODUCTION,
    "pilot": PILOT,
    "user": USER,
    "limited": LIMITED,
    "nobody": {},
}

#: What every harvester sends with every call.
HEADERS: Final = {"Accept": "application/json", "Connection": "close"}

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Pair:
    """One case of one file."""

    file: str
    case: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.case['name']}"

    @property
    def path(self) -> str:
        path: str = self.case["path"]
        return path


def all_pairs() -> list[Pair]:
    """Return the cases of all files."""
    return [Pair(file.stem, case) for file in sorted(GOLDEN.glob("*.json")) for case in json.loads(file.read_text())]


def prepare(pair: Pair, tbuf: TaskBuffer) -> dict[str, int]:
    """Put what a case begins with into the database, and return the jobs by name."""
    jobs = {name: put_job(tbuf, **described) for name, described in pair.case.get("jobs", {}).items()}
    for table, rows in pair.case.get("given", {}).items():
        for row in filled(rows, jobs):
            insert(tbuf, f"PANDA.{table}", {name: _time(value) for name, value in row.items()})
    return jobs


def send(client: Client, pair: Pair, jobs: Mapping[str, int]) -> TestResponse:
    """Send the request of a case, byte by byte."""
    case = pair.case
    caller = CALLERS[case.get("caller", "production")]
    path, body = filled([case["path"], case.get("body", "")], jobs)
    if case.get("verb", "POST") == "GET":
        return client.get(path, headers=HEADERS, environ_overrides=caller)
    kind = FORM if path.startswith("/server/") else JSON
    # Without parameters, old harvesters send a POST without a body and without a type.
    return client.post(
        path, data=body.encode(), content_type=kind if body else None, headers=HEADERS, environ_overrides=caller
    )


def check(pair: Pair, reply: TestResponse, jobs: Mapping[str, int], tbuf: TaskBuffer) -> None:
    """Compare a reply, and what is in the database then, with what a case says."""
    [expected] = filled([pair.case["reply"]], jobs)
    assert (reply.status_code, reply.text) == (200, expected)
    for sql, rows in pair.case.get("after", {}).items():
        assert [[_plain(value) for value in row] for row in query(tbuf, sql)] == filled(rows, jobs), sql


def filled(value: Any, jobs: Mapping[str, int]) -> Any:
    """Return a value of a case with the identifiers of jobs in it."""
    text = json.dumps(value)
    for name, panda_id in jobs.items():
        text = text.replace(f'"{{{name}}}"', str(panda_id)).replace(f"{{{name}}}", str(panda_id))
    return json.loads(text)


def _time(value: Any) -> Any:
    """Return a value of a row; ``time:`` stands before times."""
    marked = isinstance(value, str) and value.startswith("time:")
    return datetime.fromisoformat(value.removeprefix("time:")) if marked else value


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str) else str(value)


def paths() -> Iterator[str]:
    """Return the paths that have golden pairs, without their parameters."""
    return (pair.path.partition("?")[0] for pair in all_pairs())
