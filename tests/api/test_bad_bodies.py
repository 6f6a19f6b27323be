"""Bodies that cannot be read, or are too large, are refused at both doors and reach no handler."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import Registry
from tests.api.callers import USER
from tests.api.conftest import MakeClient
from tests.api.odd_requests import FORM, JSON, LEGACY, V1, client, registry, taken

__all__ = ["client", "registry", "taken"]


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode(), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (packed({"aNumber": 7}), {}),
        (packed({"aNumber": 7}), {"Content-Encoding": "gzip"}),
        (b'{"aNumber": 7}', {}),
        (b'{"aNumber": 7}', {"Content-Encoding": "identity"}),
    ],
)
@pytest.mark.parametrize("media", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_may_be_compressed_with_or_without_saying_so(
    client: Client, taken: list[Any], body: bytes, headers: dict[str, str], media: str
) -> None:
    assert client.post(LEGACY, data=body, content_type=media, headers=headers).text == "true"
    assert taken[0]["number"] == 7


def test_an_empty_body_without_a_type_is_no_parameters(client: Client) -> None:
    assert client.post(LEGACY).text == "true"


BOMB = gzip.compress(b"[" + b" " * 5_000_000 + b"]", mtime=0)

BODIES = [
    (b"{", JSON, "received invalid JSON"),
    (b"[1]", JSON, "received invalid JSON : the body must be an object, not list"),
    (b"\xff\xfe\xff", JSON, "received invalid JSON"),
    (b'{"text": "\xff"}', JSON, "received invalid JSON"),
    (b"[" * 40_000, JSON, "received invalid JSON"),
    (b'{"aNumber": ' + b"9" * 10_000 + b"}", JSON, "received invalid JSON"),
    (BOMB, JSON, "the body expands to more than the 50000 bytes"),
    (gzip.compress(BOMB, mtime=0), JSON, "received invalid JSON"),
    (BOMB, FORM, "the body expands to more than the 50000 bytes"),
    (packed({})[:-5], JSON, "the compressed body is incomplete"),
    (packed({})[:10] + b"\xff" * 20, JSON, "the compressed body is damaged"),
    (gzip.compress(b"", mtime=0) * 20, JSON, "the compressed body has more than 16 members"),
    (b"x=" + b"y" * 50_000, FORM, "the body has 50002 bytes, and at most 50000 are allowed here"),
    (b"a=1&text=%C3", FORM, "'text' "),
    (b"text=\xff", FORM, "'text' "),
    (b"&".join(b"a=1" for _ in range(12_000)), FORM, None),
    (b"&" * 49_000, FORM, "the body has more than 20000 fields"),
    (b"junk", "application/octet-stream", "a body of type 'application/octet-stream' cannot be read"),
    (b"junk", "multipart/form-data", "the multipart body has no boundary"),
    (b"junk", "multipart/form-data; boundary=\xff", "the multipart body"),
    (b"junk", "multipart/form-data; boundary=x", "the multipart body cannot be read at its beginning"),
    (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\r\n--x--\r\n', "multipart/form-data; boundary=x",
     "'text' is not valid UTF-8"),
    (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\ncut', "multipart/form-data; boundary=x",
     "the multipart body cannot be read at 'text'"),
    (b"".join(b'--x\r\nContent-Disposition: form-data; name="p"\r\n\r\n1\r\n' for _ in range(1001)) + b"--x--",
     "multipart/form-data; boundary=x", "the body has 52"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "media", "reason"), BODIES)
@pytest.mark.parametrize("path", [LEGACY, V1])
def test_a_body_that_cannot_be_read_is_refused(
    client: Client, taken: list[Any], path: str, body: bytes, media: str, reason: str | None
) -> None:
    reply = client.post(path, data=body, content_type=media)
    assert reply.status_code == 200
    if reason is not None:
        assert reason in (reply.json["message"] if path == V1 else reply.text)
        assert taken == []


@pytest.mark.parametrize("bytes_", [b"%FF", b"\xff"])
def test_bytes_that_are_no_text_are_refused_by_name_where_they_matter(
    client: Client, taken: list[Any], bytes_: bytes
) -> None:
    refused = client.post(LEGACY, data=b"text=" + bytes_, content_type=FORM).text
    assert refused == "ERROR : Type error: 'text' must be of type str, got text that is not valid Unicode."
    at_v1: Any = client.post(V1, data=b"text=" + bytes_, content_type=FORM).json
    assert at_v1["message"] == "'text' in the body is not valid UTF-8"
    for name in ("aNumber", "idList", "nameList", "codeList", "pickle"):
        assert client.post(LEGACY, data=name.encode() + b"=" + bytes_, content_type=FORM).status_code == 200
    assert taken == []
    told = client.post(LEGACY, data=b"log=a" + bytes_ + b"&maxRSS=" + bytes_ + b"&%FF=1", content_type=FORM)
    assert (told.text, taken[0]["log"], taken[0]["rss"]) == ("true", "a?", None)


@pytest.mark.parametrize("length", ["-1", "x", "1" * 30, "٣"])
def test_a_length_that_is_none_is_refused(client: Client, length: str) -> None:
    reply = client.post(LEGACY, environ_overrides={"CONTENT_LENGTH": length})
    assert reply.text.startswith("ERROR : Content-Length must be a number")


def test_a_body_that_ends_early_is_refused(client: Client, taken: list[Any]) -> None:
    reply = client.post(LEGACY, data=b"a=1", content_type=FORM, environ_overrides={"CONTENT_LENGTH": "9"})
    assert reply.text == "ERROR : the body ended 6 bytes before its Content-Length of 9"
    assert taken == []


def test_a_chunked_body_is_read_to_its_end(client: Client, taken: list[Any]) -> None:
    chunks = {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"aNumber=7"), "wsgi.input_terminated": True}
    assert client.post(LEGACY, content_type=FORM, environ_overrides=chunks).text == "true"
    assert taken[0]["number"] == 7


def test_a_chunked_body_has_the_same_limit(client: Client) -> None:
    chunks = {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"x" * 90_000), "wsgi.input_terminated": True}
    reply = client.post(LEGACY, content_type=FORM, environ_overrides=chunks)
    assert "more than the 50000 bytes" in reply.text


def test_callers_without_credentials_send_less(make_client: MakeClient, registry: Registry) -> None:
    client = make_client(registry=registry)
    body = b"text=" + b"x" * 3_000_000
    assert "at most 2097152 are allowed" in client.post(LEGACY, data=body, content_type=FORM).text
    known = client.post(LEGACY, data=body, content_type=FORM, environ_overrides=USER)
    assert "must have at most 10 characters" in known.text


def test_a_multipart_body_cannot_be_compressed(client: Client) -> None:
    reply = client.post(
        "/server/panda/need", data={"file": (io.BytesIO(b"x"), "f")}, headers={"Content-Encoding": "gzip"}
    )
    assert reply.text == "ERROR : a multipart body cannot be compressed as a whole"
