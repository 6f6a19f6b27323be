"""The body and query string of a request into named raw values: forms, multipart, JSON, gzip.

Everything here is hostile until bound, so every step has a limit, and whatever cannot be read is a
:class:`BadRequest` that says which part of the request is to blame.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from pandaserver.api.parameters import Door
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.json_size import refuse_many_values

GZIP_MAGIC: Final = b"\x1f\x8b"

#: Clients compress with one call, so one member; a few more cost nothing, many cost time out of proportion.
_MAX_GZIP_MEMBERS: Final = 16

_MAX_FIELDS: Final = 20_000
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a request may be read."""

    body: int  # bytes of forms and JSON, as sent and after decompression
    multipart: int  # bytes of a multipart body, whose files wait on disk
    spool_dir: str | None = None  # where; None: the system's directory for temporary files


@dataclass(frozen=True, slots=True)
class Raw:
    """What arrived, by name. ``typed`` says that it was JSON; otherwise values are text, uploads, or lists of text."""

    fields: Mapping[str, Any]
    typed: bool = False


class BodyStream:
    """The body of a request: exactly as many bytes as announced, read once."""

    def __init__(self, environ: Mapping[str, Any], limit: int) -> None:
        self.length = content_length(environ)
        if self.length > limit:
            raise BadRequest(f"the body has {self.length} bytes, and at most {limit} are allowed here")
        self._stream = environ.get("wsgi.input")
        # Without a length a body can still come in chunks, if the web server marks the end of its stream.
        self._left: int | None = self.length
        if not self.length and environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH"):
            self._left = None
        self._limit, self._seen = limit, 0

    def __iter__(self) -> Iterator[bytes]:
        while self._left is None or self._left > 0:
            chunk = self._read(_CHUNK if self._left is None else min(_CHUNK, self._left))
            if not chunk:
                if self._left:
                    raise BadRequest(f"the body ended {self._left} bytes before its Content-Length of {self.length}")
                return
            self._seen += len(chunk)
            if self._left is not None:
                self._left -= len(chunk)
            if self._seen > self._limit:
                raise BadRequest(f"the body has more than the {self._limit} bytes that are allowed here")
            yield chunk

    def _read(self, size: int) -> bytes:
        try:
            piece: bytes = self._stream.read(size) if self._stream else b""
        except OSError as problem:  # what mod_wsgi makes of a connection that ends too early
            raise BadRequest(f"the body ended after {self._seen} bytes, before its end: {problem}") from problem
        return piece

    def all(self) -> bytes:
        """Return the whole body."""
        return b"".join(self)


def content_length(environ: Mapping[str, Any]) -> int:
    """Return the announced length of the body, 0 if there is none."""
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise BadRequest(f"Content-Length must be a number, got {text[:40]!r}")
    return int(text)


def read_request(environ: Mapping[str, Any], door: Door, limits: Limits) -> Raw:
    """Return the raw parameters of a request.

    The historical door reads body and query string, and a name that comes twice has its first value. At v1 a GET has
    its parameters in the query string, where a repeated name makes a list; other verbs have them in the body.
    """
    query = environ.get("QUERY_STRING", "").encode("latin-1")
    if door is Door.V1 and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return Raw(_grouped(_form_pairs(query, "the query string")))
    media, _, options = environ.get("CONTENT_TYPE", "").partition(";")
    media = media.strip().lower()
    stream = BodyStream(environ, limits.multipart if media == "multipart/form-data" else limits.body)
    match media:
        case "application/json":
            return _from_json(stream, environ, door, query, limits)
        case "multipart/form-data":
            pairs = _multipart(stream, environ, options, limits)
        case "" | "application/x-www-form-urlencoded":
            # Old clients send bytes of any encoding. What they stand in decides whether that matters: see `Lenient`.
            errors = "surrogateescape" if door is Door.LEGACY else "strict"
            pairs = _form_pairs(_expanded(stream, environ, limits), "the body", errors)
        case other if stream.length:
            raise BadRequest(f"a body of type {other[:100]!r} cannot be read; send JSON or a form")
        case _:
            pairs = []
    pairs += _form_pairs(query, "the query string")
    return Raw(_first(pairs) if door is Door.LEGACY else _grouped(pairs))


# ---- forms -----------------------------------------------------------------------------------------------------------


def _form_pairs(data: bytes, place: str, errors: str = "strict") -> list[tuple[str, Any]]:
    if not data:
        return []
    try:
        text = data.decode(errors=errors)
        return list(parse_qsl(text, keep_blank_values=True, errors=errors, max_num_fields=_MAX_FIELDS))
    except UnicodeDecodeError as problem:
        raise BadRequest(f"{_undecodable(data)} in {place} is not valid UTF-8") from problem
    except ValueError as problem:
        raise BadRequest(f"{place} has more than {_MAX_FIELDS} fields") from problem


def _undecodable(data: bytes) -> str:
    for pair in data.split(b"&"):
        try:
            unquote_to_bytes(pair.replace(b"+", b" ")).decode()
        except UnicodeDecodeError:
            name = unquote_to_bytes(pair.partition(b"=")[0]).decode(errors="replace")
            return f"'{name[:100]}'"
    return "something"


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _grouped(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif name in repeated:
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
            repeated.add(name)
    return fields


def _multipart(stream: BodyStream, environ: Mapping[str, Any], options: str, limits: Limits) -> list[tuple[str, Any]]:
    if environ.get("HTTP_CONTENT_ENCODING", "identity") not in ("", "identity"):
        raise BadRequest("a multipart body cannot be compressed as a whole")
    from pandaserver.api.multipart import read_multipart  # costs 4 MB, and only uploads need it

    return read_multipart(stream, options, limits.spool_dir)


# ---- JSON and compression --------------------------------------------------------------------------------------------


def _from_json(stream: BodyStream, environ: Mapping[str, Any], door: Door, query: bytes, limits: Limits) -> Raw:
    data = _expanded(stream, environ, limits)
    refuse_many_values(data)
    try:
        fields = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"received invalid JSON : {str(problem)[:200]}") from problem
    if not isinstance(fields, dict):
        raise BadRequest(f"received invalid JSON : the body must be an object, not {type(fields).__name__}")
    if door is Door.V1:
        return Raw(fields, typed=True)
    # Handlers of the historical door know booleans as text only, because forms cannot say more.
    texts = {name: str(value) if isinstance(value, bool) else value for name, value in fields.items()}
    return Raw(_first(_form_pairs(query, "the query string")) | texts)


def _expanded(stream: BodyStream, environ: Mapping[str, Any], limits: Limits) -> bytes:
    # The stock pilot compresses without saying so in a header.
    data = stream.all()
    coding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if data[:2] == GZIP_MAGIC:
        return gunzip(data, limits.body)
    if coding not in ("", "identity") and data:
        raise BadRequest(f"the body is not compressed as its Content-Encoding {coding[:40]!r} says; send gzip")
    return data


def gunzip(data: bytes, limit: int) -> bytes:
    """Return the expanded data, which may have at most ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(data, limit - size + 1)
        except zlib.error as problem:
            raise BadRequest(f"the compressed body is damaged: {problem}") from problem
        size += len(part)
        if size > limit:
            raise BadRequest(f"the body expands to more than the {limit} bytes that are allowed here")
        if not member.eof:
            raise BadRequest("the compressed body is incomplete")
        parts.append(part)
        data = member.unused_data
        if not data.strip(b"\0"):
            return b"".join(parts)
    raise BadRequest(f"the compressed body has more than {_MAX_GZIP_MEMBERS} members")
