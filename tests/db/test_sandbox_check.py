"""Records of sandboxes are compared with what servers have, over real HTTP."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

import pytest

from pandaserver.dataservice import sandbox_check
from pandaserver.dataservice.sandbox_check import Answer, asking, check_sandboxes, keep_recent
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import insert_row_of_the_past, read

COVERS = {"sandbox"}
DAY = 1440.0
STATUS = {"/cache/there": 200, "/cache/gone": 404, "/cache/refused": 403, "/cache/a%20b%2Fc": 200}


class Handler(BaseHTTPRequestHandler):
    """Has some files, and counts what it was asked."""

    def do_HEAD(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(STATUS.get(self.path, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cache() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://{{host}}:{server.server_address[1]}/cache/{{file}}"


def put_record(tbuf: TaskBuffer, name: str, days: float, host: str = "127.0.0.1", checked: float = 2.0) -> None:
    times = {"creationTime": days * DAY, "modificationTime": checked * DAY}
    row = {"userName": "Jane", "hostName": host, "fileName": name, "fileSize": 5}
    tbuf.caller.call(insert_row_of_the_past, ("ATLAS_PANDAMETA.userCacheUsage", row, times), {})


def names(tbuf: TaskBuffer) -> list[str]:
    return [row[0] for row in read(tbuf, "SELECT fileName FROM ATLAS_PANDAMETA.userCacheUsage ORDER BY fileName")]


def test_a_record_without_its_file_goes(tbuf: TaskBuffer, cache: ThreadingHTTPServer) -> None:
    for name in ("there", "gone", "refused", "a b/c"):
        put_record(tbuf, name, 5)
    assert check_sandboxes(tbuf, url_of(cache), asking()) == 1
    assert names(tbuf) == ["a b/c", "refused", "there"]
    assert check_sandboxes(tbuf, url_of(cache), asking()) == 0
    assert len(cache.asked) == 4  # type: ignore[attr-defined]  # once a day


@pytest.mark.parametrize(("days", "kept"), [(29.9, True), (30.1, False)])
def test_a_file_on_a_silent_server_is_given_up_after_a_month(tbuf: TaskBuffer, days: float, kept: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        put_record(tbuf, "there", days)
        check_sandboxes(tbuf, f"http://{{host}}:{port}/{{file}}", asking())
    assert (names(tbuf) == ["there"]) is kept


def test_a_file_that_is_there_is_never_too_old(tbuf: TaskBuffer, cache: ThreadingHTTPServer) -> None:
    put_record(tbuf, "there", 100)
    assert check_sandboxes(tbuf, url_of(cache), asking()) == 0


@pytest.mark.parametrize(("checked", "asked"), [(0.99, 0), (1.01, 1)])
def test_a_file_is_looked_for_once_a_day(
    tbuf: TaskBuffer, cache: ThreadingHTTPServer, checked: float, asked: int
) -> None:
    put_record(tbuf, "there", 5, checked=checked)
    check_sandboxes(tbuf, url_of(cache), asking())
    assert len(cache.asked) == asked  # type: ignore[attr-defined]


def test_a_silent_server_is_asked_once_and_keeps_nobody_waiting(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandbox_check, "PAGE", 2)
    asked: list[str] = []

    def ask(address: str) -> Answer:
        asked.append(address)
        return Answer.silent if "silent" in address else Answer.present

    for n in range(5):
        put_record(tbuf, f"s{n}", 9 - n, host="silent.example")
    put_record(tbuf, "there", 1)
    assert check_sandboxes(tbuf, "http://{host}/{file}", ask) == 0
    assert asked == ["http://silent.example/s0", "http://127.0.0.1/there"]
    assert "no answer from silent.example" in caplog.text


def test_time_and_pages_are_bounded(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_check, "PAGE", 1)
    monkeypatch.setattr(sandbox_check, "PAGES", 2)
    for n in range(4):
        put_record(tbuf, f"f{n}", 5)
    assert check_sandboxes(tbuf, "http://{host}/{file}", lambda _address: Answer.gone, seconds=-1) == 0
    assert check_sandboxes(tbuf, "http://{host}/{file}", lambda _address: Answer.gone) == 2


def test_an_address_that_is_none_of_the_web_is_refused() -> None:
    with pytest.raises(ValueError, match="sandbox_check_url"):
        asking()("file:///etc/passwd")


@pytest.mark.parametrize(("days", "kept"), [(0.99, True), (1.01, False)])
def test_a_file_that_was_recorded_again_stays_young(tbuf: TaskBuffer, tmp_path: Path, days: float, kept: bool) -> None:
    file = tmp_path / "sources.1.tar.gz"
    file.write_text("x")
    os.utime(file, (time() - 8 * 86400,) * 2)
    put_record(tbuf, "sources.1.tar.gz", days, host="here")
    put_record(tbuf, "../elsewhere", days, host="here")
    assert keep_recent(tbuf, "here", tmp_path) == kept
    assert (time() - file.stat().st_mtime < 3600) is kept
