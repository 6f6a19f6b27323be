"""How a pretend pilot talks to a server: gzipped JSON out, whatever comes back read as the stock pilot reads it."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

#: Asks the server for one method; raises Unreachable when there is no answer.
Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]

_TIMEOUT: Final = 120.0  # seconds, the stock pilot's
#: How the server reports a bug. Other replies 500 are Apache's, when the process that served a request has died.
_BUG: Final = "internal error"


class Unreachable(Exception):
    """The server did not answer, or answered that it cannot."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a pilot shows: a token with its Origin, a certificate with its key in one file, or nothing."""

    token: str = ""
    origin: str = ""
    certificate: Path | None = None


class Server:
    """A server at ``url`` (.../server/panda). Trusts ``authorities`` (a file) beside nothing else when given."""

    def __init__(self, url: str, credential: Credential, authorities: Path | None = None) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "panda-development-pilot"}
        if credential.token:
            self._headers |= {"Authorization": f"Bearer {credential.token}", "Origin": credential.origin}
        self._context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        if credential.certificate:
            self._context.load_cert_chain(credential.certificate)

    def __call__(self, method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask once. Like the stock pilot we gzip the body without saying so."""
        body = gzip.compress(json.dumps(parameters).encode())
        return read_reply(self._fetch(urllib.request.Request(f"{self._url}/{method}", body, self._headers)))

    def download(self, url: str, target: Path) -> None:
        """Fetch a file; a missing one is an error of the job and not of the network."""
        target.write_bytes(self._fetch(urllib.request.Request(url)))

    def _fetch(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self._context) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as error:
            text = error.read(500).decode(errors="replace")
            if error.code in (502, 503, 504) or (error.code == 500 and not text.startswith(_BUG)):
                raise Unreachable(f"{request.full_url} answered {error.code}") from error
            raise PermissionError(f"{request.full_url} answered {error.code}: {text}") from error
        except (OSError, HTTPException) as error:  # URLError is an OSError
            raise Unreachable(f"{request.full_url}: {error}") from error


def read_reply(body: bytes) -> Mapping[str, Any]:
    """Read a reply as the stock pilot does: a JSON object, or else a query string whose values are all text."""
    text = body.decode()
    if text.startswith("{") and text.endswith("}"):
        found: dict[str, Any] = json.loads(text)
        return found
    return dict(parse_qsl(text))


def patiently(ask: Ask, *, give_up_after: float, pause: float = 2.0) -> Ask:
    """Return ``ask`` that tries again while the server cannot be reached.

    Safe for pilots: a repeated final update is answered ``alreadydone``, and a job that a lost getJob reply
    carried is recovered by the server.
    """

    def ask_again(method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        deadline = time.monotonic() + give_up_after
        while True:
            try:
                return ask(method, parameters)
            except Unreachable:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)

    return ask_again


def node_name() -> str:
    """Return this machine's name as pilots report it."""
    return socket.gethostname()
