from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep

import pytest

from pandaserver.dataservice import setupper_child
from pandaserver.dataservice.setupper_child import SetupperChild
from pandaserver.dataservice.setupper_main import serve

LOGGER = logging.getLogger("test")
COPYING = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())"
SLEEPING = "import time; time.sleep(60)"


def wait_until(condition: object, seconds: float = 10.0) -> None:
    deadline = monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert monotonic() < deadline
        sleep(0.01)


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    return tmp_path / "heard"


@pytest.fixture
def child(heard: Path) -> Iterator[SetupperChild]:
    made = SetupperChild(LOGGER, [sys.executable, "-c", COPYING, str(heard)])
    yield made
    made.close()


def test_one_child_hears_of_all_submissions(child: SetupperChild, heard: Path) -> None:
    child.nudge([1, 2])
    child.nudge([])
    child.nudge([3])
    child.close()
    assert heard.read_text() == "1 2\n3\n"


def test_lines_are_short_enough_to_stay_in_one_piece(child: SetupperChild, heard: Path) -> None:
    ids = range(10_000_000_000, 10_000_005_000)
    child.nudge(ids)
    child.close()
    lines = heard.read_text().splitlines()
    assert max(map(len, lines)) < 4096
    assert [int(word) for line in lines for word in line.split()] == list(ids)


def test_lines_of_threads_do_not_mix(child: SetupperChild, heard: Path) -> None:
    threads = [threading.Thread(target=child.nudge, args=([n] * 100,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child.close()
    assert sorted(set(heard.read_text().splitlines())) == sorted(" ".join([str(n)] * 100) for n in range(1, 9))


def test_a_child_that_does_not_listen_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    child = SetupperChild(LOGGER, [sys.executable, "-c", SLEEPING])
    started = monotonic()
    for _ in range(20):
        child.nudge(range(10_000_000_000, 10_000_001_000))
    assert monotonic() - started < 2
    assert "was not told" in caplog.text
    assert child._process is not None
    child._process.kill()
    child.close()


def test_a_child_that_ended_is_started_again_after_a_pause(
    child: SetupperChild, heard: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.nudge([1])
    process = child._process
    assert process is not None
    process.kill()
    process.wait()
    child.nudge([2])
    assert "the next start is in" in caplog.text
    monkeypatch.setattr(setupper_child, "START_PAUSE", 0.0)
    child.nudge([3])
    child.close()
    assert heard.read_text() == "3\n"


def test_a_child_that_cannot_start_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    SetupperChild(LOGGER, ["/nonexistent/python"]).nudge([1])
    assert "was not told of 1 lines" in caplog.text


class Pipe:
    def __init__(self) -> None:
        self.source, self.sink = os.pipe()
        self.told: list[list[int]] = []

    def set_up(self, ids: Sequence[int]) -> None:
        self.told.append(list(ids))
        if ids == [13]:
            raise RuntimeError("bad luck")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.source)


def test_the_child_works_through_what_it_is_told_until_the_pipe_closes(pipe: Pipe) -> None:
    worker = threading.Thread(target=serve, args=(pipe.source, pipe.set_up, 60.0, LOGGER))
    worker.start()
    os.write(pipe.sink, b"1 2\n3")
    wait_until(lambda: pipe.told == [[1, 2]])
    os.write(pipe.sink, b"4\njunk 5\n")
    os.close(pipe.sink)
    worker.join(10)
    assert pipe.told == [[1, 2], [34, 5]]


def test_a_failing_set_up_does_not_end_the_child(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    worker = threading.Thread(target=serve, args=(pipe.source, pipe.set_up, 60.0, LOGGER))
    worker.start()
    os.write(pipe.sink, b"13\n")
    wait_until(lambda: "bad luck" in caplog.text)
    os.write(pipe.sink, b"14\n")
    os.close(pipe.sink)
    worker.join(10)
    assert pipe.told == [[13], [14]]


def test_a_child_without_work_ends(pipe: Pipe) -> None:
    serve(pipe.source, pipe.set_up, 0.05, LOGGER)
    os.close(pipe.sink)
