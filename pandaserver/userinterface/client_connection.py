"""One server over HTTP as a client sees it: credentials, time limits, and one repetition where that is safe."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, Final
from urllib.parse import urlencode, urlsplit

from pandaserver.srvcore.errors import ExternalError

#: Seconds that one call may take, with its repetition.
TIMEOUT: Final = 180.0

_CHUNK: Final = 64 * 1024

#: Seconds to wait before the repetition, unless the server names a time.
WAIT: Final = 1.0

#: What a server answers that is away or busy; asking again is safe, because questions and keyed changes are.
_AWAY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its key, or a token with the VO that it is for; without either the caller is anonymous."""

    certificate: Path | None = None
    key: Path | None = None  # None: in the file of the certificate, as proxies have it
    token: str = ""
    vo: str = ""  # with the role, if any: vo:role

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Credentials:
        """Return what the environment of a user names, by the variables of the stock client."""
        token = environ.get("PANDA_AUTH_ID_TOKEN") or environ.get("OIDC_AUTH_ID_TOKEN") or ""
        if token and environ.get("PANDA_AUTH", "oidc") == "oidc":
            return cls(token=token, vo=environ.get("PANDA_AUTH_VO") or environ.get("OIDC_AUTH_VO") or "")
        if proxy := environ.get("X509_USER_PROXY"):
            return cls(Path(proxy))
        certificate, key = environ.get("X509_USER_CERT"), environ.get("X509_USER_KEY")
        return cls(Path(certificate), Path(key) if key else None) if certificate else cls()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


class _Refused(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirection would carry a token to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Connection:
    """Sends requests to one server. ``url`` is scheme, host and port; a path behind them does not count.

    ``authorities`` is a file or directory of the certificate authorities that sign servers; None: those of the system.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials = Credentials(),
        *,
        authorities: Path | None = None,
        timeout: float = TIMEOUT,
        wait: float = WAIT,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ExternalError(f"the URL of the server must be http[s]://host[:port], got {url[:200]!r}")
        self.base = f"{parts.scheme}://{parts.netloc}"
        self._timeout, self._wait = timeout, wait
        self._headers = {"Accept": "*/*"}
        if credentials.token:
            self._headers |= {"Authorization": f"Bearer {credentials.token}", "Origin": credentials.vo}
        handlers: list[urllib.request.BaseHandler] = [_Refused()]
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=_context(credentials, authorities)))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Connection:
        """Return a connection as the stock client would make one: PANDA_URL_SSL, or else PANDA_URL."""
        url = environ.get("PANDA_URL_SSL") or environ.get("PANDA_URL") or ""
        if not url:
            raise ExternalError("no server is named: set PANDA_URL_SSL, or make a Client with its URL")
        known = environ.get("X509_CERT_DIR")
        return cls(url, Credentials.of_environment(environ), authorities=Path(known) if known else None, **options)

    def get(self, path: str, query: Mapping[str, Any]) -> Answer:
        """Ask a question; it may be asked twice."""
        text = urlencode(query, doseq=True)
        return self._send(f"{path}?{text}" if text else path, None, {})

    def post(
        self, path: str, body: bytes, content_type: str, *, changes: bool, key: str | None = None, json: bool = False
    ) -> Answer:
        """Send a body. What changes something carries a key, by which the server knows a repetition."""
        headers = {"Content-Type": content_type} | ({"Accept": "application/json"} if json else {})
        if changes:
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        return self._send(path, body, headers)

    def upload(self, path: str, fields: Mapping[str, str], name: str, file: IO[bytes], *, key: str | None) -> Answer:
        """Send a form with a file."""
        boundary = uuid.uuid4().hex
        parts = [_part(boundary, f'name="{_quoted(field)}"', value.encode()) for field, value in fields.items()]
        parts.append(_part(boundary, f'name="file"; filename="{_quoted(name)}"', file.read()))
        body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        return self.post(path, body, f"multipart/form-data; boundary={boundary}", changes=True, key=key)

    # ---- sending -----------------------------------------------------------------------------------------------------

    def _send(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        deadline = monotonic() + self._timeout
        try:
            answer, retry_after = self._once(path, body, headers, deadline)
        except ExternalError:
            if deadline - monotonic() <= self._wait:
                raise
            retry_after = self._wait
        else:
            if retry_after is None or deadline - monotonic() <= retry_after:
                return answer
        sleep(retry_after)
        return self._once(path, body, headers, deadline)[0]

    def _once(
        self, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> tuple[Answer, float | None]:
        """Return the answer, and after how many seconds to ask again if the server could not do its part."""
        request = urllib.request.Request(self.base + path, data=body, headers={**self._headers, **headers})
        seconds = max(0.1, deadline - monotonic())
        try:
            with self._opener.open(request, timeout=seconds) as reply:
                return Answer(reply.status, _read(reply, deadline)), None
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, _read(error, deadline))
            return answer, self._patience(error) if error.code in _AWAY else None
        except (OSError, ValueError, HTTPException) as error:
            raise ExternalError(f"{self.base}{path.partition('?')[0]}: {error}") from error

    def _patience(self, error: urllib.error.HTTPError) -> float:
        named = error.headers.get("Retry-After", "")
        return float(named) if named.isascii() and named.isdecimal() else self._wait


def _read(reply: Any, deadline: float) -> bytes:
    """Return the body: a server that sends byte by byte does not get more time than another."""
    chunks: list[bytes] = []
    while chunk := reply.read1(_CHUNK):
        chunks.append(chunk)
        if monotonic() > deadline:
            raise TimeoutError("the reply took too long")
    return b"".join(chunks)


def _context(credentials: Credentials, authorities: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if authorities is not None:
            is_directory = authorities.is_dir()
            context.load_verify_locations(
                cafile=None if is_directory else str(authorities), capath=str(authorities) if is_directory else None
            )
        if credentials.certificate is not None:
            context.load_cert_chain(str(credentials.certificate), str(credentials.key) if credentials.key else None)
    except (OSError, ssl.SSLError) as problem:
        raise ExternalError(f"cannot use {credentials.certificate or authorities}: {problem}") from problem
    return context


def _part(boundary: str, disposition: str, content: bytes) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
