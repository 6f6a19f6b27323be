"""Bodies made to break whoever reads them: pickles, archives, multipart and JSON. Refused, and nothing is written."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import pickletools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.api.callers import PRODUCTION, USER
from tests.malice.conftest import Target
from tests.malice.refusals import is_refusal

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

LEGACY, V1 = "/server/panda/", "/api/v1/"

#: Requests of the historical door that read pickles, with the field that has one.
PICKLED = (("submitJobs", "jobs"), ("getJobStatus", "ids"), ("getFullJobStatus", "ids"), ("killJobs", "ids"))


@pytest.fixture(autouse=True)
def _nothing_comes_of_it(target: Target) -> Iterator[None]:
    before = target.files()
    yield
    assert target.bugs == []
    assert target.writes == []
    assert target.files() == before


# ---- pickles


class Evil:
    """Makes a file when it is unpickled by somebody careless."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


ARGUMENTS = {
    "int4": b"\x01\0\0\0",
    "uint1": b"\x01",
    "uint2": b"\x01\0",
    "uint4": b"\x01\0\0\0",
    "uint8": b"\x01" + b"\0" * 7,
    "float8": b"\0" * 8,
    "decimalnl_short": b"1\n",
    "decimalnl_long": b"1L\n",
    "floatnl": b"1.0\n",
    "stringnl": b"'x'\n",
    "stringnl_noescape": b"x\n",
    "stringnl_noescape_pair": b"posix\nsystem\n",
    "unicodestringnl": b"x\n",
    "string1": b"\x01x",
    "string4": b"\x01\0\0\0x",
    "bytes1": b"\x01x",
    "bytes4": b"\x01\0\0\0x",
    "bytes8": b"\x01" + b"\0" * 7 + b"x",
    "bytearray8": b"\x01" + b"\0" * 7 + b"x",
    "unicodestring1": b"\x01x",
    "unicodestring4": b"\x01\0\0\0x",
    "unicodestring8": b"\x01" + b"\0" * 7 + b"x",
    "long1": b"\x01\x01",
    "long4": b"\x01\0\0\0\x01",
}


#: What some instructions take from the stack.
BEFORE = (
    b"",
    b"(",
    b"(cposix\nsystem\n(S'true'\nt",
    b"cposix\nsystem\n",
    b"S'posix'\nS'system'\n",
    b"]",
    b"}(I1\n",
)


def every_instruction() -> Iterator[tuple[str, bytes]]:
    """Yield a pickle with each instruction that there is, after what some of them take from the stack."""
    for opcode in pickletools.opcodes:
        argument = ARGUMENTS[opcode.arg.name] if opcode.arg else b""
        for before in (
            b"",
            b"(",
            b"(cposix\nsystem\n(S'true'\nt",
            b"cposix\nsystem\n",
            b"S'posix'\nS'system'\n",
            b"]",
            b"}(I1\n",
        ):
            yield opcode.name, b"(lp0\n" + before + opcode.code.encode("latin-1") + argument + b"a."


@pytest.mark.parametrize(("method", "field"), PICKLED)
def test_no_instruction_of_pickles_is_a_bug_or_does_anything(
    target: Target, method: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr(os, "system", called.append)
    for name, text in every_instruction():
        fields = {field: text.decode("latin-1")}
        reply = target.client.post(LEGACY + method, data=fields, environ_overrides=USER)
        assert reply.status_code == 200, name
        assert (called, target.writes, target.bugs) == ([], [], []), name


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_that_call_are_refused(target: Target, tmp_path: Path, protocol: int) -> None:
    text = pickle.dumps([Evil(tmp_path / "evil")], protocol).decode("latin-1")
    for method, field in PICKLED:
        reply = target.client.post(LEGACY + method, data={field: text}, environ_overrides=USER)
        assert reply.status_code == 200
        reply = target.client.post(V1 + "job/submit", json={"jobs": text}, environ_overrides=USER)
        assert reply.json is not None
        assert reply.json["success"] is False
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "text",
    [
        "(lp0\n" + "(lp1\n" * 100_000 + "." * 10,
        "(" * 100_000 + "t" * 100_000 + ".",
        "(lp0\n" + "g0\na" * 1000 + ".",  # a list that has itself
        "(lp0\nL" + "9" * 100_000 + "L\na.",
        "(lp0\nS'" + "x" * 10**6,
        "(lp0\np999999999\n.",
        "(dp0\nS'__class__'\ncposix\nsystem\ns.",
        "ccopy_reg\n_reconstructor\n(cposix\nsystem\nc__builtin__\nobject\nNtR.",
        "c__builtin__\neval\n(S'1'\ntR.",
    ],
    ids=["deep lists", "deep tuples", "itself", "long number", "no end", "far memo", "class", "reconstructor", "eval"],
)
def test_monstrous_pickles_are_refused(target: Target, text: str) -> None:
    for method, field in PICKLED:
        reply = target.client.post(LEGACY + method, data={field: text}, environ_overrides=PRODUCTION)
        assert reply.status_code == 200, method


# ---- compression


def send(target: Target, body: bytes, media: str = "application/json", **headers: str) -> TestResponse:
    return target.client.post(V1 + "job/kill", data=body, content_type=media, headers=headers, environ_overrides=USER)


ZEROS = zlib.compressobj(9, zlib.DEFLATED, 31)
BOMB = b"".join([*(ZEROS.compress(b"\0" * 10**6) for _ in range(200)), ZEROS.flush()])


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        gzip.compress(BOMB),  # nested: expanded once, and then no JSON
        BOMB[:-20],
        gzip.compress(b"{}") * 5000,
        b"\x1f\x8b" + b"\0" * 100,
        b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff" + b"x" * 65535,  # an extra field, and no end
        gzip.compress(b"[" * 10**6),
        gzip.compress(b'{"job_ids": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    ],
    ids=["bomb", "nested", "cut", "many members", "junk", "header only", "brackets", "deep"],
)
def test_hostile_compression_is_refused(target: Target, body: bytes) -> None:
    for headers in ({}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "gzip, gzip"}):
        assert is_refusal(send(target, body, **headers))
        assert is_refusal(send(target, body, "application/x-www-form-urlencoded", **headers))


# ---- JSON


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"job_ids":' * 50_000,
        '{"job_ids": [' + "9" * 100_000 + "]}",
        '{"job_ids": [1e400]}',
        '{"job_ids": [NaN, Infinity, -Infinity]}',
        '{"job_ids": [-9223372036854775809]}',
        '{"job_ids": [1], "job_ids": ["x"]}',
        '{"job_ids": "\\ud800"}',
        '{"\\u0000": 1}',
        '{"job_ids": [1], "__proto__": {}, "self": 1}',
        "\ufeff{}",
        "null",
        '"text"',
        '{"job_ids": [1]} trailing',
    ],
    ids=range(14),
)
def test_hostile_json_is_refused(target: Target, text: str) -> None:
    reply = send(target, text.encode(errors="surrogatepass"))
    assert (reply.status_code, is_refusal(reply)) == (200, True)


def test_of_two_values_with_one_name_the_last_counts_for_reading_and_for_the_key(target: Target) -> None:
    """No other program between us and a client may read a request in another way than we do and matter."""
    reply = send(target, b'{"job_ids": [987654321], "job_ids": [987654322]}', **{"Idempotency-Key": "k"})
    assert reply.json == {"success": True, "message": "", "data": [False]}
    target.writes.clear()  # the finished answer


# ---- multipart


def part(name: str, body: bytes = b"x", more: str = "") -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + body + b"\r\n"


END = b"--B--\r\n"


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("multipart/form-data", part("file") + END),
        ("multipart/form-data; boundary=", part("file") + END),
        ("multipart/form-data; boundary=" + "B" * 5000, part("file") + END),
        ("multipart/form-data; boundary=\u00fc", part("file") + END),
        ("multipart/form-data; boundary=OTHER", part("file") + END),
        ("multipart/form-data; boundary=B", part("file", more="; filename=f")),
        ("multipart/form-data; boundary=B", part("x") * 5000 + END),
        ("multipart/form-data; boundary=B", part("x", more="; filename=f") * 50 + END),
        ("multipart/form-data; boundary=B", part("x" * 100_000) + END),
        ("multipart/form-data; boundary=B", b"--B\r\n" + b"X: y\r\n" * 50_000 + b"\r\nx\r\n" + END),
        ("multipart/form-data; boundary=B", b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END),
        ("multipart/form-data; boundary=B", b"--B\r\n\r\nx\r\n" + END),
        ("multipart/form-data; boundary=B", part("file", b"--B\r\n" * 1000) + END),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n'
            b'--C\r\nContent-Disposition: file; filename="a"\r\n\r\nx\r\n--C--\r\n' + END,
        ),
        ("multipart/form-data; boundary=B", part("file", more='; filename="../../../evil"')[:-4] + END),
        ("multipart/mixed; boundary=B", part("file") + END),
        ("multipart/form-data; boundary=B; boundary=C", part("file") + END),
        ("multipart/form-data; boundary=B", b"\0" * 10_000),
        ("multipart/form-data; boundary=B", b"-" * 10**6),
    ],
    ids=range(19),
)
def test_hostile_multipart_is_refused(target: Target, media: str, body: bytes) -> None:
    for url in (LEGACY + "putFile", V1 + "file_server/upload_cache_file", V1 + "file_server/upload_jedi_log"):
        environ = {**USER, "CONTENT_TYPE": media.encode().decode("latin-1"), "CONTENT_LENGTH": str(len(body))}
        reply = target.client.post(url, input_stream=io.BytesIO(body), environ_overrides=environ)
        assert (reply.status_code, is_refusal(reply)) == (200, True), (url, reply.data[:200])


# ---- addresses


@pytest.mark.parametrize(
    "path",
    [
        "/server/panda/../api/v1/job/kill",
        "/server/panda//etc/passwd",
        "/server/panda/__init__",
        "/server/panda/a\0b",
        "/server/panda/" + "x" * 100_000,
        "/api/v1/job/../job/submit",
        "/api/v1/job/submit/",
        "/api/v1/job/submit\r\nX: y",
        "/api/latest/",
        "/api/v1/\ud83d",
        "/api/v2/job/submit",
    ],
)
def test_no_path_is_a_bug(target: Target, path: str) -> None:
    raw = path.encode("utf-8", "surrogatepass").decode("latin-1")
    environ = {**PRODUCTION, "PATH_INFO": raw, "SCRIPT_NAME": ""}
    reply = target.client.post("/", data=json.dumps({}), content_type="application/json", environ_overrides=environ)
    assert reply.status_code in (200, 403, 404)
    assert is_refusal(reply)
