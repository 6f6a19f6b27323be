"""Records for an HTTP collector, which may be slow, broken or absent."""

from __future__ import annotations

import json
import logging
import multiprocessing
import queue
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pandacommon.pandalogger.http_handler import Collector, CollectorHandler
from pandacommon.pandalogger.PandaLogger import PandaLogger
from tests.unit.logging_fixture import Configure, configure, fresh_loggers

__all__ = ["configure", "fresh_loggers"]


class Received(HTTPServer):
    def __init__(self) -> None:
        self.requests: queue.Queue[tuple[str, str, str]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Keeper)


class _Keeper(BaseHTTPRequestHandler):
    def _keep(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        assert isinstance(self.server, Received)
        self.server.requests.put((self.command, self.path, body))
        self.send_response(200)
        self.end_headers()

    do_GET = do_POST = _keep

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Received]:
    with Received() as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http
        http.shutdown()
        thread.join(10)


@pytest.fixture
def dead_end() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_nothing_is_sent_unless_a_collector_is_configured(configure: Configure) -> None:
    configure()
    PandaLogger.getHttpLogger("prod")
    assert not [h for h in logging.getLogger("panda.mon").handlers if isinstance(h, CollectorHandler)]


def test_a_record_arrives_with_its_fields_in_the_url(configure: Configure, server: Received) -> None:
    configure(loghost="127.0.0.1", monport_apache=server.server_port)
    PandaLogger.getHttpLogger("prod").info("hello", extra={"Type": "brokerage"})
    method, path, _ = server.requests.get(timeout=10)
    fields = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
    assert method == "GET"
    assert path.startswith("/logger/logger/query?")
    assert (fields["msg"], fields["Type"], fields["PandaID"], fields["ID"]) == (
        ["hello"],
        ["brokerage"],
        ["-1"],
        ["tester"],
    )


def test_a_second_collector_gets_json_by_post(configure: Configure, server: Received) -> None:
    configure(loghost_new="127.0.0.1", monport_apache_new=server.server_port)
    PandaLogger.getHttpLogger("prod").warning("x" * 5000)
    method, path, body = server.requests.get(timeout=10)
    (record,) = json.loads(body)
    assert (method, path) == ("POST", "/logger/logger/query")
    assert set(record) == {"headers", "body"}
    assert json.loads(record["body"])["message"] == "x" * 4000


def test_a_dead_collector_costs_neither_time_nor_threads(dead_end: int) -> None:
    handler = CollectorHandler(Collector("127.0.0.1", dead_end, "/"))
    record = logging.makeLogRecord({"msg": "x"})
    handler.emit(record)
    threads, slowest = threading.active_count(), 0.0
    for _ in range(3000):
        start = time.thread_time()
        handler.emit(record)
        slowest = max(slowest, time.thread_time() - start)
    assert slowest < 0.01
    assert threading.active_count() == threads
    assert handler.dropped >= 1999


def test_lost_records_are_reported_in_a_file(configure: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    logs = configure(loghost="127.0.0.1", monport_apache=port)
    for _ in range(3):
        PandaLogger.getHttpLogger("prod").info("hello")
    deadline = time.monotonic() + 10
    while not (logs / "panda-collector.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lines = (logs / "panda-collector.log").read_text().splitlines()
    assert len(lines) == 1
    assert f"records lost=1 collector=127.0.0.1:{port} error=ConnectionRefusedError" in lines[0]


def _send_one(handler: CollectorHandler) -> None:
    handler.emit(logging.makeLogRecord({"msg": "from the child"}))
    time.sleep(10)  # ended by the parent as soon as the record has arrived


def test_a_forked_process_has_a_sender_of_its_own(server: Received) -> None:
    handler = CollectorHandler(Collector("127.0.0.1", server.server_port, "/", "POST", "json"))
    handler.emit(logging.makeLogRecord({"msg": "from the parent"}))
    server.requests.get(timeout=10)
    child = multiprocessing.get_context("fork").Process(target=_send_one, args=(handler,))
    child.start()
    try:
        assert "from the child" in server.requests.get(timeout=10)[2]
    finally:
        child.kill()
        child.join(10)
