"""One record, one line: the format that operators, scripts and site tools parse."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Final

from pandacommon.pandalogger.context import request_id

LINE: Final = "%(asctime)s %(name)-12s: %(levelname)-8s %(message)s"

#: Loggers whose lines end in fields that other programs read up to the end of the line.
_WITHOUT_REQUEST_ID: Final = frozenset({"panda.log.PilotRequests"})

# Secrets have types that hide themselves; this catches the credential inside the text of a foreign exception.
_CREDENTIAL: Final = re.compile(r"(?i:(bearer)\s+)[\w.~+/=-]{8,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")


class LineFormatter(logging.Formatter):
    """Text in the historical format, in UTC, followed by the identifier of the request if there is one."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(LINE)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        line = _one_line(super().formatMessage(record))
        serving = _serving(record)
        return f"{line} request_id={serving}" if serving else line

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback of an exception below it."""
        return hide_credentials(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors that read files."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON text of a record."""
        fields = {
            "time": self.formatTime(record),
            "logger": record.name,
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if serving := request_id.get():
            fields["request_id"] = serving
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return hide_credentials(json.dumps(fields, ensure_ascii=False))


def hide_credentials(text: str) -> str:
    """Return the text with bearer tokens replaced."""
    return _CREDENTIAL.sub(lambda found: f"{found[1]} <hidden>" if found[1] else "<hidden>", text)


def _one_line(text: str) -> str:
    """Return text that has words of callers in it without a way for them to begin a line of their own."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _serving(record: logging.LogRecord) -> str:
    return "" if record.name in _WITHOUT_REQUEST_ID else request_id.get()
