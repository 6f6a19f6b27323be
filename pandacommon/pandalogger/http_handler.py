"""Sending records to an HTTP log collector without ever making the caller wait for it."""

from __future__ import annotations

import http.client
import json
import logging
import os
import queue
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from pandacommon.pandalogger.line_format import hide_credentials

#: Fields of every record, unless ``extra`` of the log call replaces them.
DEFAULT_FIELDS: Final = {"PandaID": -1, "User": "unknown", "Type": "unknown", "ID": "tester"}

_TIMEOUT: Final = 1.0  # seconds for one record
_CAPACITY: Final = 1000  # records that may wait; further ones are dropped and counted
_MAX_TEXT: Final = 4000
_REPORT_EVERY: Final = 60.0  # seconds
_PLAIN: Final = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Collector:
    """Where a collector listens and what it understands."""

    host: str
    port: int
    path: str
    method: str = "GET"  # or POST
    encoding: str = "url"  # or json


class CollectorHandler(logging.Handler):
    """Hand records to one sender thread per process; when the collector is slow, records are dropped."""

    def __init__(self, collector: Collector, complaints: logging.Logger | None = None) -> None:
        """Say to ``complaints`` from time to time how many records were lost."""
        super().__init__()
        self.collector = collector
        self.dropped = 0
        self._complaints = complaints
        self._reported, self._next_report = 0, 0.0
        self._owner = 0  # process whose thread serves the queue
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(_CAPACITY)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it if too many wait."""
        if self._owner != os.getpid():  # first record, or the first one after a fork, which copies no thread
            self._owner = os.getpid()
            self._waiting = queue.Queue(_CAPACITY)
            threading.Thread(target=self._send_all, args=(self._waiting,), name="log-collector", daemon=True).start()
        try:
            self._waiting.put_nowait(fields_of(record))
        except queue.Full:
            self.dropped += 1

    def _send_all(self, waiting: queue.Queue[dict[str, Any]]) -> None:
        while True:
            fields = waiting.get()
            try:
                self._send(fields)
            except (OSError, http.client.HTTPException) as error:
                self.dropped += 1
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Report losses, at once and then rarely."""
        now = time.monotonic()
        if self._complaints is None or now < self._next_report:
            return
        lost, self._reported = self.dropped - self._reported, self.dropped
        self._next_report = now + _REPORT_EVERY
        self._complaints.warning(
            "records lost=%d collector=%s:%d error=%r", lost, self.collector.host, self.collector.port, error
        )

    def _send(self, fields: dict[str, Any]) -> None:
        body, content_type = encoded(fields, self.collector.encoding)
        connection = http.client.HTTPConnection(self.collector.host, self.collector.port, timeout=_TIMEOUT)
        try:
            if self.collector.method == "GET":
                connection.request("GET", f"{self.collector.path}?{body}")
            else:
                connection.request("POST", self.collector.path, body, {"Content-Type": content_type})
            connection.getresponse().read()
        finally:
            connection.close()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the plain fields of a record, long texts cut."""
    fields: dict[str, Any] = DEFAULT_FIELDS | {k: v for k, v in vars(record).items() if isinstance(v, _PLAIN)}
    fields["msg"] = fields["message"] = hide_credentials(record.getMessage())[:_MAX_TEXT]
    return fields


def encoded(fields: dict[str, Any], encoding: str) -> tuple[str, str]:
    """Return the text that a collector of that encoding reads, and its content type."""
    if encoding == "url":
        return urllib.parse.urlencode(fields), "application/x-www-form-urlencoded"
    headers = {"timestamp": int(fields.get("created", 0) * 1000), "host": socket.gethostname()}
    return json.dumps([{"headers": headers, "body": json.dumps(fields)}]), "application/json"
