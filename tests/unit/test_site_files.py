"""What pilots fetch about queues: which files there are, what stands in them, and what may change them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pandaserver.daemons.scripts.cache_schedconfig import replace_file, write_queues

QUEUE = {"siteid": "Q", "status": "online", "catchall": None, "copytools": {"b": 1, "a": 2}, "comment_": "for people"}
WHOLE_GRID = ["agis_schedconf.json", "schedconfig.all.json"]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def json_of(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_queue_is_written_in_three_forms(tmp_path: Path) -> None:
    assert write_queues(tmp_path, {"Q": QUEUE}) == 5
    assert names(tmp_path) == ["Q.all.json", "Q.pilot.json", "Q.pilot.pilot", *WHOLE_GRID]
    assert json_of(tmp_path / "Q.all.json") == QUEUE
    assert "comment_" not in json_of(tmp_path / "Q.pilot.json")
    assert (tmp_path / "Q.pilot.pilot").read_text() == 'catchall=|copytools={"a": 2, "b": 1}|siteid=Q|status=online'


def test_the_whole_grid_has_every_queue_unchanged(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE, "not/a file": QUEUE})
    for name in WHOLE_GRID:
        assert json_of(tmp_path / name) == {"Q": QUEUE, "not/a file": QUEUE}


def test_keys_are_sorted(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE})
    assert list(json_of(tmp_path / "Q.all.json")) == ["catchall", "comment_", "copytools", "siteid", "status"]


@pytest.mark.parametrize(
    "key",
    # What the pilot reads in addition to the server, each by the name that queues have for it.
    """container_type container_options copytools acopytools appdir environ pilot_walltime_grace pilot_rss_grace
    pilot_maxwdir_grace memkillgrace es_stageout_gap use_pcache timefloor platform altstageout name site resource
    nickname panda_resource maxwdir status catchall params""".split(),
)
def test_the_short_forms_have_what_a_pilot_reads(tmp_path: Path, key: str) -> None:
    write_queues(tmp_path, {"Q": {key: "value"}})
    assert json_of(tmp_path / "Q.pilot.json") == {key: "value"}
    assert (tmp_path / "Q.pilot.pilot").read_text() == f"{key}=value"


def test_a_value_begins_no_other_key(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": {"catchall": "a|status=offline\nb", "status": "online"}})
    assert (tmp_path / "Q.pilot.pilot").read_text() == "catchall=a status=offline b|status=online"


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE})
    assert write_queues(tmp_path, {"Q": dict(reversed(QUEUE.items()))}) == 0


def test_a_file_that_is_no_text_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "Q.all.json").write_bytes(b"\xff\xfe")
    write_queues(tmp_path, {"Q": QUEUE})
    assert json_of(tmp_path / "Q.all.json") == QUEUE


def test_a_queue_that_cannot_be_read_stays_as_it_was(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE, "R": QUEUE})
    write_queues(tmp_path, {"R": {"status": "offline"}}, unreadable={"Q"})
    assert json_of(tmp_path / "Q.all.json") == QUEUE
    assert (tmp_path / "Q.pilot.pilot").exists()
    assert json_of(tmp_path / "schedconfig.all.json") == {"Q": QUEUE, "R": {"status": "offline"}}


def test_files_of_queues_that_are_gone_go_and_others_stay(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE, "R": QUEUE})
    (tmp_path / "readme.txt").write_text("x")
    write_queues(tmp_path, {"R": QUEUE})
    assert names(tmp_path) == sorted(["R.all.json", "R.pilot.json", "R.pilot.pilot", "readme.txt", *WHOLE_GRID])


def test_no_queue_at_all_is_taken_for_a_mistake(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE})
    assert write_queues(tmp_path, {}) == 0
    assert json_of(tmp_path / "Q.all.json") == QUEUE
    assert json_of(tmp_path / "schedconfig.all.json") == {"Q": QUEUE}


def test_only_old_beginnings_of_files_are_removed(tmp_path: Path) -> None:
    for name in (".new-old", ".new-young"):
        (tmp_path / name).write_text("half a fi")
    then = time.time() - 3600
    os.utime(tmp_path / ".new-old", (then, then))
    write_queues(tmp_path, {"Q": QUEUE})
    assert [name for name in names(tmp_path) if name.startswith(".")] == [".new-young"]


@pytest.mark.parametrize(
    "name", ["../escape", "a/b", ".hidden", "", "schedconfig", "Q\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_a_queue_whose_name_is_no_file_name_has_no_files(tmp_path: Path, name: str) -> None:
    assert write_queues(tmp_path / "cache", {name: QUEUE}) == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["agis_schedconf.json", "cache", "schedconfig.all.json"]


def test_everybody_may_read_the_files(tmp_path: Path) -> None:
    write_queues(tmp_path, {"Q": QUEUE})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path, texts, seen = tmp_path / "Q.all.json", ("a" * 100_000, "b" * 100_000), set()
    replace_file(path, texts[0])
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        replace_file(path, texts[turn % 2])
    ended.set()
    reader.join()
    assert seen <= set(texts)
