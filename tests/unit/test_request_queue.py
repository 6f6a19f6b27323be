"""Requests that lie as files: when each is tried, when it goes, and what the files look like."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

import pytest

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.dataservice.request_formats import (
    EventPickingRequest,
    RecoveryRequest,
    WorkflowRequest,
    event_lines,
    read_event_picking,
    read_recovery,
    read_workflow,
    write_event_picking,
    write_recovery,
    write_workflow,
)
from pandaserver.dataservice.request_queue import EVENT_PICKING, RECOVERY, WORKFLOW, RequestKind, work_through
from pandaserver.dataservice.RequestPluginBase import Fate, Outcome
from pandaserver.srvcore.errors import BadRequest

LOG = LogWrapper(logging.getLogger("requests"), None)
HOUR = 3600.0


class Worker:
    """Tries requests with one outcome, and remembers."""

    def __init__(self, outcome: Outcome | Exception | None = None) -> None:
        self.outcome = outcome or Outcome.done()
        self.tried: list[str] = []
        self.told: list[tuple[str, Outcome]] = []

    def handle(self, text: str, name: str) -> Outcome:
        self.tried.append(name)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def tell(self, text: str, name: str, outcome: Outcome) -> None:
        self.told.append((name, outcome))

    def run(self, directory: Path, kind: RequestKind = EVENT_PICKING, stretch: float = 60) -> None:
        work_through(directory, kind, self.handle, self.tell, LOG, stretch)


def put(directory: Path, name: str, seconds: float) -> Path:
    path = directory / name
    path.write_text("x")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "age", "is_tried"),
    [
        (EVENT_PICKING, "evp.a", 55, False),
        (EVENT_PICKING, "evp.a", 65, True),
        (RECOVERY, "recov.a", 3, False),
        (RECOVERY, "recov.a", 7, True),
        (WORKFLOW, "workflow.a", 3, False),
        (WORKFLOW, "workflow.a", 7, True),
        (EVENT_PICKING, "evpx.a", 65, False),
        (EVENT_PICKING, ".evp.a", 65, False),
    ],
)
def test_a_request_is_tried_when_it_is_old_enough(
    tmp_path: Path, kind: RequestKind, name: str, age: float, is_tried: bool
) -> None:
    put(tmp_path, name, age)
    worker = Worker()
    worker.run(tmp_path, kind)
    assert worker.tried == [name] * is_tried


@pytest.mark.parametrize(
    ("kind", "name", "age", "stays"),
    [
        (EVENT_PICKING, "evp.a", 23.9 * HOUR, True),
        (EVENT_PICKING, "evp.a", 24.1 * HOUR, False),
        (RECOVERY, "recov.a", 1.9 * HOUR, True),
        (RECOVERY, "recov.a", 2.1 * HOUR, False),
        (WORKFLOW, "workflow.a", 1.9 * HOUR, True),
        (WORKFLOW, "workflow.a", 2.1 * HOUR, False),
    ],
)
def test_a_request_that_does_not_work_yet_stays_until_its_last_chance(
    tmp_path: Path, kind: RequestKind, name: str, age: float, stays: bool
) -> None:
    path = put(tmp_path, name, age)
    worker = Worker(Outcome.later("the index is away"))
    worker.run(tmp_path, kind)
    assert (path.exists(), len(worker.told)) == (stays, 0 if stays else 1)
    if not stays:
        assert worker.told[0][1].fate is Fate.refused
        assert "given up" in worker.told[0][1].message
        assert "the index is away" in worker.told[0][1].message


@pytest.mark.parametrize("outcome", [Outcome.done("good"), Outcome.refused("bad")])
def test_a_settled_request_goes_and_its_user_is_told(tmp_path: Path, outcome: Outcome) -> None:
    path = put(tmp_path, "evp.a", 65)
    worker = Worker(outcome)
    worker.run(tmp_path)
    assert (path.exists(), worker.told) == (False, [("evp.a", outcome)])


def test_an_attempt_that_stumbles_is_repeated(tmp_path: Path) -> None:
    path = put(tmp_path, "evp.a", 65)
    worker = Worker(RuntimeError("index crashed"))
    worker.run(tmp_path)
    assert (path.exists(), worker.told) == (True, [])


def test_what_cannot_be_read_goes_at_once(tmp_path: Path) -> None:
    path = put(tmp_path, "evp.a", 65)
    worker = Worker(BadRequest("no userName"))
    worker.run(tmp_path)
    assert (path.exists(), worker.told[0][1].fate) == (False, Fate.refused)


def test_bytes_that_are_no_text_go_at_once(tmp_path: Path) -> None:
    path = put(tmp_path, "evp.a", 65)
    path.write_bytes(b"\xff\xfe")
    os.utime(path, (time.time() - 65,) * 2)
    Worker().run(tmp_path)
    assert not path.exists()


def test_a_user_who_cannot_be_told_does_not_make_a_request_run_twice(tmp_path: Path) -> None:
    path = put(tmp_path, "evp.a", 65)
    worker = Worker()
    worker.tell = lambda *_: 1 / 0  # type: ignore[assignment]
    worker.run(tmp_path)
    assert not path.exists()


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    for name, age in (("evp.young", 70), ("evp.old", 700), ("evp.middle", 100)):
        put(tmp_path, name, age)
    worker = Worker()
    worker.run(tmp_path)
    assert worker.tried == ["evp.old", "evp.middle", "evp.young"]


def test_the_rest_waits_when_the_time_is_over(tmp_path: Path) -> None:
    put(tmp_path, "evp.a", 65)
    worker = Worker()
    worker.run(tmp_path, stretch=0)
    assert worker.tried == []


def test_a_request_in_other_hands_is_left_alone(tmp_path: Path) -> None:
    path = put(tmp_path, "evp.a", 65)
    worker = Worker()
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        worker.run(tmp_path)
    assert (worker.tried, path.exists()) == ([], True)


def test_links_and_directories_are_no_requests(tmp_path: Path) -> None:
    secret = put(tmp_path, "secret", 65)
    (tmp_path / "evp.link").symlink_to(secret)
    (tmp_path / "evp.directory").mkdir()
    worker = Worker()
    worker.run(tmp_path)
    assert worker.tried == []


# -- formats


def test_an_event_picking_file_has_one_value_a_line() -> None:
    events, guids = event_lines("1 2 g1\n1 2 g2\n\n3\n4 5 g3", True)
    texts = {"userName": "/CN=Jane", "creationTime": "2026-01-02 03:04:05", "params": "a=b --c", "eventPickDS": "ds"}
    text = write_event_picking(EventPickingRequest(texts, events, guids))
    assert text.splitlines()[:2] == ["userName=/CN=Jane", "creationTime=2026-01-02 03:04:05"]
    assert "params=a=b --c" in text.splitlines()
    assert "runEvent=4,5" in text.splitlines()
    assert text.splitlines()[-1] == "runEvtGuidMap={('1', '2'): ['g1', 'g2'], ('4', '5'): ['g3']}"
    read = read_event_picking(text)
    assert (read.run_events, read.guids, read.texts["params"]) == (events, guids, "a=b --c")


def test_lines_with_other_numbers_of_words_are_skipped() -> None:
    assert event_lines("1 2\n1 2 3\n1\n\n 4  5 \n", False) == ((("1", "2"), ("4", "5")), {})


@pytest.mark.parametrize("value", ["x\nuserName=/CN=admin", "x\r", "x\x0by", "x\u2028y", "x" * (2**20 + 1)])
def test_a_value_cannot_pretend_to_be_another_line(value: str) -> None:
    with pytest.raises(BadRequest, match="one line"):
        write_event_picking(EventPickingRequest({"userName": "/CN=Jane", "params": value}, ()))


@pytest.mark.parametrize("text", ["", "x=y", "userName=\n", "userName=a\nrunEvtGuidMap=__import__('os')"])
def test_what_is_no_event_picking_request_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_event_picking(text)


def test_the_first_value_of_a_key_counts() -> None:
    assert read_event_picking("userName=a\nuserName=b").user == "a"


def test_recovery_and_workflow_files_are_read_as_written() -> None:
    recovery = RecoveryRequest("/CN=Jane", "2026-01-02 03:04:05", {"jediTaskID": 5, "dryRun": True})
    workflow = WorkflowRequest("/CN=Jane", "2026-01-02 03:04:05", {"outDS": "user.x"})
    assert read_recovery(write_recovery(recovery)) == recovery
    assert read_workflow(write_workflow(workflow)) == workflow


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"userName": "a", "data": 1}', "[" * 100000])
def test_what_is_no_workflow_request_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_workflow(text)
