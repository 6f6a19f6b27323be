"""Every request about files is answered as its golden pairs say, at both doors and in every way to send it.

In a case ``given.files`` are files in the cache, an hour old, and ``given.sandboxes`` rows of the table of sandboxes.
Afterwards ``kept`` is all that lies in the cache, ``recorded`` all that the table has, ``request`` the one file that
waits for a daemon script (lines of a text, or a document), and ``younger`` a file that was touched.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import pandaserver.jobdispatcher.JobDispatcher
import pandaserver.taskbuffer.Utils
import pandaserver.userinterface.UserIF  # noqa: F401  declares requests, as the two above
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.api.registry import REGISTRY, Door
from pandaserver.config.settings import ServerSettings
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import pairs
from tests.api.conftest import MakeClient
from tests.db.crowd import insert, query

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "files"

RECORDED: Final = """
    SELECT userName, hostName, fileName, fileSize, checkSum FROM ATLAS_PANDAMETA.userCacheUsage ORDER BY fileName
"""
HOUR: Final = 3600.0


def all_pairs() -> list[pairs.Pair]:
    found = []
    for file in sorted(GOLDEN.glob("*.json")):
        content = json.loads(file.read_text())
        for door in pairs.DOORS:
            for case in content[f"{door}_cases"]:
                found.append(pairs.Pair(case.get("path", content[door]), door, "POST", case))
    return found


def arrange(given: Mapping[str, Any], tbuf: TaskBuffer, cache: Path) -> None:
    """Begin with an empty cache, and what the case has in it."""
    for path in cache.iterdir():
        if path.is_file():
            path.unlink()
    for name, text in given.get("files", {}).items():
        (cache / name).write_text(text)
        os.utime(cache / name, (time.time() - HOUR, time.time() - HOUR))
    for row in given.get("sandboxes", ()):
        then = naive_utcnow() - timedelta(days=row.get("age_days", 0))
        whole = {
            "userName": "Jane Doe",
            "hostName": "panda.example",
            "creationTime": then,
            "modificationTime": then,
            **row,
        }
        whole.pop("age_days", None)
        insert(tbuf, "META.userCacheUsage", whole)


def difference(case: Mapping[str, Any], tbuf: TaskBuffer, cache: Path) -> str:
    """Return what is wrong with what was left, "" if nothing is."""
    left = {path.name: path.read_text() for path in cache.iterdir() if path.is_file()}
    if "kept" in case and left != case["kept"]:
        return f"kept are {left}"
    if "recorded" in case:
        rows = [list(row) for row in query(tbuf, RECORDED)]
        if rows != case["recorded"]:
            return f"recorded are {rows}"
    if "younger" in case and (cache / case["younger"]).stat().st_mtime < time.time() - HOUR / 2:
        return "the file is still old"
    for prefix, wanted in case.get("request", {}).items():
        [(name, text)] = left.items()
        if not name.startswith(f"{prefix}.") or len(name) != len(prefix) + 37:
            return f"the request is called {name}"
        found = text.splitlines() if isinstance(wanted, list) else json.loads(text)
        if not pairs.matches(found, wanted):
            return f"the request is {found}"
    return ""


@pytest.mark.parametrize("pair", all_pairs(), ids=str)
def test_a_request_is_answered_as_its_golden_pair_says(
    pair: pairs.Pair, make_client: MakeClient, database: ConnectionSettings, tbuf: TaskBuffer, settings: ServerSettings
) -> None:
    server = make_client(tbuf=tbuf, **pair.case.get("settings", {}))
    cache = settings.cache_dir
    wrong = []
    for body, accepts_json in pair.ways():
        schema.empty_all(database)
        arrange(pair.case.get("given", {}), tbuf, cache)
        reply = pairs.send(server, pair, {}, body, accepts_json)
        problem = pairs.mismatch(reply, pair.expected(accepts_json), {"cache": str(cache)})
        problem = problem or difference(pair.case, tbuf, cache)
        if problem:
            wrong.append(f"{body}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_every_request_about_files_has_golden_pairs() -> None:
    modules = ("Utils", "file_requests", "checkpoint_requests", "log_requests")
    declared = {
        (door.value, path)
        for route in REGISTRY
        for door, path in ((Door.LEGACY, route.legacy), (Door.V1, route.v1))
        if path is not None and (route.handler.__module__.endswith(modules) or path.startswith("file_server/"))
    }
    shown = {(pair.door, pair.path) for pair in (*all_pairs(), *pairs.all_pairs())}
    of_the_system = {(door, path) for door, path in declared if path.startswith(("system/", "openapi"))}
    assert declared - of_the_system - shown == set()
