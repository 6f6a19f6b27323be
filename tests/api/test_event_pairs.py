"""Every request about event ranges is answered as its golden pairs say, at both doors and in every way to send it.

In a case ``given.ranges`` are (first event, status, attempts left) of ranges of ten events of task 77, file 5; ranges
that are ready are the job set's, the others the job's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from werkzeug.test import Client

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import pairs
from tests.api.conftest import MakeClient
from tests.db.completion import change
from tests.db.crowd import insert
from tests.db.stages import put_job

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "events"

_numbers = count(7_000_000)


def all_pairs() -> list[pairs.Pair]:
    found = []
    for file in sorted(GOLDEN.glob("*.json")):
        content = json.loads(file.read_text())
        for door in pairs.DOORS:
            for case in content[f"{door}_cases"]:
                found.append(pairs.Pair(case.get("path", content[door]), door, content.get("verb", "POST"), case))
    return found


def arrange(given: Mapping[str, Any], tbuf: TaskBuffer) -> dict[str, Any]:
    """Make a job with its ranges and return what its names stand for."""
    if "job" not in given:
        return {}
    jobset = next(_numbers)
    job = put_job(tbuf, **{"eventService": 1, "jobsetID": jobset, "jediTaskID": 77, **given["job"]})
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET fileID = 5, GUID = 'g-in' WHERE PandaID = :id AND type = 'input'",
        id=job,
    )
    member = {"jobsetID": jobset, "PandaID": job, "eventService": 1, "jediTaskID": 77}
    insert(tbuf, "PANDA.panda_event_jobs", member)
    for first, status, *attempts in given["ranges"]:
        row = {
            "jediTaskID": 77,
            "PandaID": job if status else jobset,
            "fileID": 5,
            "job_processID": first,
            "datasetID": 3,
            "status": status,
            "def_min_eventID": first,
            "def_max_eventID": first + 9,
            "attemptNr": attempts[0] if attempts else 3,
            "jobsetID": jobset,
            "rangeID": next(_numbers),
        }
        insert(tbuf, "PANDA.JEDI_Events", row)
    return {"job": job, "jobtext": str(job), "jobset": jobset}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


@pytest.mark.parametrize("pair", all_pairs(), ids=str)
def test_a_request_is_answered_as_its_golden_pair_says(pair: pairs.Pair, server: Client, tbuf: TaskBuffer) -> None:
    wrong = []
    for body, accepts_json in pair.ways():
        named = arrange(pair.case.get("given", {}), tbuf)
        reply = pairs.send(server, pair, named, body, accepts_json)
        problem = pairs.mismatch(reply, pair.expected(accepts_json), named)
        if problem:
            wrong.append(f"{body}, {'JSON' if accepts_json else 'form'} asked for: {problem}")
    assert wrong == []


def test_every_request_about_ranges_has_a_pair() -> None:
    from pandaserver.api.registry import REGISTRY, Door

    import pandaserver.jobdispatcher.event_requests as declared  # isort: skip

    routes = [route for route in REGISTRY if route.handler.__module__ == declared.__name__]
    named = {(pair.door, pair.path) for pair in all_pairs()}
    wanted = {
        (door.value, path) for route in routes for door, path in ((Door.V1, route.v1), (Door.LEGACY, route.legacy))
    }
    assert len(routes) == 5
    assert wanted == named
