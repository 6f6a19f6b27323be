"""JSON documents of other services, from a URL, a ``file:`` URL or a path: whole or not at all, within a deadline."""

from __future__ import annotations

import json
import math
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Any, Final
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from pandaserver.srvcore.errors import ExternalError

MB: Final = 2**20

#: Seconds and bytes that a document may take.
SECONDS: Final = 60.0
MOST_BYTES: Final = 256 * MB

_WEB: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class Access:
    """What https needs beside the address."""

    certificate: Path | None = None  # of this client, with its key in the same file
    authorities: Path | None = None  # directory of CA certificates that are trusted beside those of the machine


ANONYMOUS: Final = Access()


def read_json(
    source: str,
    *,
    seconds: float = SECONDS,
    most: int = MOST_BYTES,
    access: Access = ANONYMOUS,
    form: bytes | None = None,
    follow: bool = True,
) -> Any:
    """Return the document; with a form, what a POST of it is answered. ExternalError says why there is none to use.

    Without ``follow`` a redirection to another address is an error.
    """
    deadline = monotonic() + seconds
    try:
        if urlsplit(source).scheme in _WEB:
            return parse_json(_fetch_web(source, deadline, most, access, form, follow))
        return parse_json(_read_file(source, most))
    except HTTPError as error:
        error.close()
        raise ExternalError(f"{source}: HTTP status {error.code}") from error
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        reason = f"no answer within {seconds:g} s" if monotonic() >= deadline else error
        raise ExternalError(f"{source}: {reason}") from error


def parse_json(data: bytes) -> Any:
    """Parse strictly: a name that stands twice in one object is refused, and so are numbers that JSON does not have."""
    return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return made


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _read_file(source: str, most: int) -> bytes:
    parts = urlsplit(source)
    path = Path(request.url2pathname(parts.path)) if parts.scheme == "file" else Path(source)
    if path.exists() and not path.is_file():  # a pipe would make us wait for its writer
        raise ValueError("not a file")
    with path.open("rb") as file:
        return _checked(file.read(most + 1), most)


def _fetch_web(source: str, deadline: float, most: int, access: Access, form: bytes | None, follow: bool) -> bytes:
    sockets = _Sockets()
    # A timeout of the socket counts from one packet to the next, so a slow sender needs a limit of the whole.
    timer = Timer(deadline - monotonic(), sockets.shut)
    timer.daemon = True
    timer.start()
    try:
        asked = request.Request(source, form)
        with _opener(sockets, access, follow).open(asked, timeout=max(0.1, deadline - monotonic())) as response:
            data = _checked(response.read(most + 1), most)
            if monotonic() >= deadline or response.length:
                raise ValueError(f"ends after {len(data)} bytes, {response.length} are missing")
            return data
    finally:
        timer.cancel()


def _checked(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise ValueError(f"larger than {most} bytes")
    return data


class _Sockets:
    """The sockets of one fetch, for whoever ends it."""

    def __init__(self) -> None:
        self._all: list[socket.socket] = []
        self._is_over = False

    def note(self, one: socket.socket) -> None:
        """Add one; it may have taken longer to connect than the fetch may take."""
        self._all.append(one)
        if self._is_over:
            self.shut()

    def shut(self) -> None:
        """End whatever waits for one of them, and will."""
        self._is_over = True
        for one in self._all:
            with suppress(OSError):  # the other end was faster
                one.shutdown(socket.SHUT_RDWR)


def _opener(sockets: _Sockets, access: Access, follow: bool) -> request.OpenerDirector:
    """Return what speaks http and https and nothing else, whatever a redirection asks for."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        _Http(sockets),
        _Https(sockets, access),
        request.HTTPDefaultErrorHandler(),
        *([request.HTTPRedirectHandler()] if follow else []),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Http(request.HTTPHandler):
    def __init__(self, sockets: _Sockets) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(partial(_HttpConnection, self._sockets), req)


class _Https(request.HTTPSHandler):
    def __init__(self, sockets: _Sockets, access: Access) -> None:
        super().__init__()
        self._sockets = sockets
        self._access = access

    def https_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(partial(_HttpsConnection, self._sockets, context=_context(self._access)), req)


class _HttpConnection(HTTPConnection):
    """Notes its socket, which the response keeps when the connection has forgotten it."""

    def __init__(self, sockets: _Sockets, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.note(self.sock)


class _HttpsConnection(HTTPSConnection):
    """Does the same."""

    def __init__(self, sockets: _Sockets, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.note(self.sock)


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if access.authorities is not None:
        context.load_verify_locations(capath=access.authorities)
    if access.certificate is not None:
        context.load_cert_chain(access.certificate)
    return context
