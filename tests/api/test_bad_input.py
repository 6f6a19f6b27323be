"""Junk is refused by name, at both doors, and reaches no handler."""

from __future__ import annotations

import gzip
import io
import json
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import Client

from pandaserver.api.answering import json_answer
from pandaserver.api.registry import (
    AlsoText,
    AtLeast,
    AtMost,
    Auth,
    Call,
    Lenient,
    MaxLength,
    Registry,
    Upload,
    Wire,
    comma_separated,
    words,
)
from pandaserver.taskbuffer.client_jobs import read_ids, read_jobs, unpickled
from tests.api.callers import USER
from tests.api.conftest import MakeClient

LEGACY, V1 = "/server/panda/take", "/api/v1/test/take"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture
def taken() -> list[dict[str, Any]]:
    """What reached the handler."""
    return []


@pytest.fixture
def registry(taken: list[dict[str, Any]]) -> Registry:
    made = Registry()

    @made.request(v1="test/take", legacy="take", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def take(
        call: Call,
        number: Annotated[int | None, Wire("aNumber"), AtLeast(1), AtMost(1000)] = None,
        real: float | None = None,
        text: Annotated[str, MaxLength(10)] = "",
        flag: bool = False,
        ids: Annotated[list[int], Wire("idList", read=read_ids), MaxLength(3)] = [],  # noqa: B006
        things: dict[str, Any] | None = None,
        names: Annotated[list[str] | None, Wire("nameList", read=words)] = None,
        codes: Annotated[list[str] | None, Wire("codeList", read=comma_separated)] = None,
        rss: Annotated[int | None, Wire("maxRSS"), Lenient, AtLeast(0)] = None,
        log: Annotated[str, Lenient] = "",
        late: Annotated[int | None, AlsoText()] = None,
        old: Annotated[str | None, Wire(only="legacy")] = None,
        new: Annotated[str | None, Wire(only="v1")] = None,
        pickle: Annotated[Any, Wire(read=unpickled(dict))] = None,
    ) -> bool:
        """Take everything."""
        taken.append({k: v for k, v in locals().items() if k not in ("call", "taken")})
        return True

    @made.request(v1="test/need", legacy="need", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def need(call: Call, number: Annotated[int, Wire("aNumber")], file: Upload | None = None) -> int:
        """Need a number."""
        return number

    @made.request(v1="test/ask", legacy="ask", method="GET", auth=Auth.ANYONE, answer=json_answer)
    def ask(
        call: Call,
        ids: list[int],
        flag: bool = False,
        days: int | None = None,
        kinds: list[str] = ["a"],  # noqa: B006
        factor: float = 1.0,
        options: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Ask with a query string."""
        return [ids, flag, days, kinds, factor, options]

    @made.request(v1="test/jobs", legacy="jobs", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def jobs(call: Call, jobs: Annotated[list[Any], Wire(read=read_jobs, read_v1=read_jobs)]) -> int:
        """Take jobs."""
        return len(jobs)

    return made


@pytest.fixture
def client(make_client: MakeClient, registry: Registry) -> Client:
    return make_client(registry=registry, max_request_body=50_000)


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameter", "value", "expected"),
    [
        ("aNumber", "number", "5", 5),
        ("aNumber", "number", "5.0", 5),
        ("aNumber", "number", 24.9, 24),
        ("aNumber", "number", "None", None),
        ("aNumber", "number", "NULL", None),
        ("aNumber", "number", "", None),
        ("aNumber", "number", None, None),
        ("real", "real", "2.5", 2.5),
        ("real", "real", 3, 3.0),
        ("text", "text", 17, "17"),
        ("text", "text", True, "True"),
        ("text", "text", "", ""),
        ("flag", "flag", "True", True),
        ("flag", "flag", True, True),
        ("flag", "flag", "yes", False),
        ("flag", "flag", "1", False),
        ("idList", "ids", "[1, 2]", [1, 2]),
        ("idList", "ids", "1,2", [1, 2]),
        ("idList", "ids", [1, "2"], [1, 2]),
        ("idList", "ids", "(lp0\nI1\naL2L\na.", [1, 2]),
        ("idList", "ids", "7", [7]),
        ("things", "things", '{"a": [1]}', {"a": [1]}),
        ("things", "things", {"a": [1]}, {"a": [1]}),
        ("nameList", "names", " a  b ", ["a", "b"]),
        ("codeList", "codes", "a, b,,", ["a", "b"]),
        ("maxRSS", "rss", "junk", None),
        ("maxRSS", "rss", "-5", None),
        ("maxRSS", "rss", [1], None),
        ("maxRSS", "rss", "1e999", None),
        ("log", "log", "a\0b\ud800", "a\N{REPLACEMENT CHARACTER}b?"),
        ("old", "old", "x", "x"),
        ("pickle", "pickle", "(dp0\nVa\np1\nI1\ns.", {"a": 1}),
    ],
)
def test_the_historical_door_understands(
    client: Client, taken: list[Any], name: str, parameter: str, value: Any, expected: Any
) -> None:
    reply = client.post(LEGACY, data=json.dumps({name: value}), content_type=JSON)
    assert reply.text == "true"
    assert taken[0][parameter] == expected
    assert type(taken[0][parameter]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("aNumber", "five", "Type error: 'aNumber' must be of type int, got str."),
        ("aNumber", "--5", "Type error: 'aNumber' must be of type int, got str."),
        ("aNumber", "9" * 5000, "Type error: 'aNumber' must be of type int, got str."),
        ("aNumber", str(2**63), "Type error: 'aNumber' must be of type int, got a number of more than 64 bits."),
        ("aNumber", "nan", "Type error: 'aNumber' must be of type int, got a number that is not finite."),
        ("aNumber", "1e400", "Type error: 'aNumber' must be of type int, got a number that is not finite."),
        ("aNumber", [1], "Type error: 'aNumber' must be of type int, got list."),
        ("aNumber", "0", "Argument error: 'aNumber' must be at least 1, got 0"),
        ("aNumber", 1001, "Argument error: 'aNumber' must be at most 1000, got 1001"),
        ("real", float("nan"), "Type error: 'real' must be of type float, got a number that is not finite."),
        ("text", "x" * 11, "Argument error: 'text' must have at most 10 characters, got 11"),
        ("text", "a\0", "Type error: 'text' must be of type str, got text with a NUL character."),
        ("text", "a\ud800", "Type error: 'text' must be of type str, got text that is not valid Unicode."),
        ("text", {"a": 1}, "Type error: 'text' must be of type str, got dict."),
        ("text", None, None),
        ("idList", "[1, 2, 3, 4]", "Argument error: 'idList' must have at most 3 elements, got 4"),
        ("idList", "[1, true, {}]", "Argument error: 'idList' must be a list of identifiers, and one of them"),
        ("idList", "cos\nsystem\n(S'ls'\ntR.", "Argument error: 'idList' the pickle has a forbidden"),
        ("idList", "[" * 9000, "Argument error: 'idList' is not JSON: "),
        ("things", "[1]", "Type error: 'things' must be of type dict, got list."),
        ("things", "{", "Type error: 'things' must be of type dict, got text that is not JSON."),
        ("nameList", {"a": 1}, "Type error: 'nameList' must be of type list[str], got dict."),
        ("pickle", "(lp0\n.", "Argument error: 'pickle' must contain a dict, not list"),
    ],
)
def test_the_historical_door_refuses(
    client: Client, taken: list[Any], name: str, value: Any, reason: str | None
) -> None:
    reply = client.post(LEGACY, data=json.dumps({name: value}), content_type=JSON)
    if reason is None:
        assert reply.text == "true"
    else:
        assert reply.status_code == 200
        assert reply.text.startswith(f"ERROR : {reason}")
        assert taken == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("number", 5, 5),
        ("number", True, 1),
        ("number", None, None),
        ("real", 3, 3.0),
        ("text", "x", "x"),
        ("flag", True, True),
        ("ids", [1, 2], [1, 2]),
        ("things", {"a": None}, {"a": None}),
        ("late", "17", 17),
        ("late", 17, 17),
        ("rss", "junk", None),
        ("new", "x", "x"),
    ],
)
def test_v1_takes_the_declared_type(client: Client, taken: list[Any], name: str, value: Any, expected: Any) -> None:
    assert client.post(V1, json={name: value}).json["success"] is True
    assert taken[0][name] == expected
    assert type(taken[0][name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("number", "5", "Type error: 'number' must be of type int, got str."),
        ("number", 5.0, "Type error: 'number' must be of type int, got float."),
        ("number", 0, "Argument error: 'number' must be at least 1, got 0"),
        ("number", 2**64, "Type error: 'number' must be of type int, got a number of more than 64 bits."),
        ("real", 10**400, "Type error: 'real' must be of type float, got a number that is too large."),
        ("text", 5, "Type error: 'text' must be of type str, got int."),
        ("text", None, "Type error: 'text' must be of type str, got NoneType."),
        ("flag", "True", "Type error: 'flag' must be of type bool, got str."),
        ("flag", 1, "Type error: 'flag' must be of type bool, got int."),
        ("ids", "[1]", "Type error: 'ids' must be of type list[int], got str."),
        ("ids", [1, "2"], "Type error: 'ids' must be of type list[int], got str."),
        ("things", [], "Type error: 'things' must be of type dict, got list."),
        ("late", "x", "Type error: 'late' must be of type int, got str."),
        ("aNumber", 5, "Argument error: got an unexpected keyword argument 'aNumber'"),
        ("old", "x", "Argument error: got an unexpected keyword argument 'old'"),
    ],
)
def test_v1_refuses(client: Client, taken: list[Any], name: str, value: Any, reason: str) -> None:
    reply = client.post(V1, json={name: value})
    assert (reply.status_code, reply.json) == (200, {"success": False, "message": reason, "data": None})
    assert taken == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ids=1", [[1], False, None, ["a"], 1.0, None]),
        ("ids=1&ids=3.0&flag=TRUE", [[1, 3], True, None, ["a"], 1.0, None]),
        ("ids=1&flag=1&days=None", [[1], True, None, ["a"], 1.0, None]),
        ("ids=1&flag=yes&days=7&kinds=x&kinds=y&factor=2", [[1], False, 7, ["x", "y"], 2.0, None]),
        ('ids=1&options={"a":1}', [[1], False, None, ["a"], 1.0, {"a": 1}]),
    ],
)
def test_v1_casts_query_strings(client: Client, query: str, expected: list[Any]) -> None:
    assert client.get(f"/api/v1/test/ask?{query}").json["data"] == expected


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "Argument error: missing a required argument: 'ids'"),
        ("ids=x", "Type error: 'ids' must be of type list[int], got str."),
        ("ids=1&days=1&days=2", "Type error: 'days' must be of type int, got list."),
        ("ids=1&ids=%FF", "'ids' in the query string is not valid UTF-8"),
        ("ids=1&more=1", "Argument error: got an unexpected keyword argument 'more'"),
        ("ids=1&factor=inf", "Type error: 'factor' must be of type float, got a number that is not finite."),
    ],
)
def test_v1_refuses_query_strings(client: Client, query: str, reason: str) -> None:
    assert client.get(f"/api/v1/test/ask?{query}").json["message"] == reason


def test_a_missing_parameter_is_named_as_the_door_knows_it(client: Client) -> None:
    assert client.post("/server/panda/need").text == "ERROR : Argument error: missing a required argument: 'aNumber'"
    message = client.post("/api/v1/test/need", json={}).json["message"]
    assert message == "Argument error: missing a required argument: 'number'"


def test_the_first_value_wins_at_the_historical_door(client: Client, taken: list[Any]) -> None:
    client.post(LEGACY + "?aNumber=3&text=q", data="aNumber=1&aNumber=2", content_type=FORM)
    assert (taken[0]["number"], taken[0]["text"]) == (1, "q")


def test_a_form_at_v1_is_cast_as_a_query_string(client: Client, taken: list[Any]) -> None:
    client.post(V1, data="number=7&flag=true&ids=1", content_type=FORM)
    assert (taken[0]["number"], taken[0]["flag"], taken[0]["ids"]) == (7, True, [1])


# ---- bodies ----------------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


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


BOMB = gzip.compress(b"[" + b" " * 5_000_000 + b"]")

BODIES = [
    (b"{", JSON, "received invalid JSON"),
    (b"[1]", JSON, "received invalid JSON : the body must be an object, not list"),
    (b"\xff\xfe\xff", JSON, "received invalid JSON"),
    (b'{"text": "\xff"}', JSON, "received invalid JSON"),
    (b"[" * 40_000, JSON, "received invalid JSON"),
    (b'{"aNumber": ' + b"9" * 10_000 + b"}", JSON, "received invalid JSON"),
    (BOMB, JSON, "the body expands to more than the 50000 bytes"),
    (gzip.compress(BOMB), JSON, "received invalid JSON"),
    (BOMB, FORM, "the body expands to more than the 50000 bytes"),
    (packed({})[:-5], JSON, "the compressed body is incomplete"),
    (packed({})[:10] + b"\xff" * 20, JSON, "the compressed body is damaged"),
    (gzip.compress(b"") * 20, JSON, "the compressed body has more than 16 members"),
    (b"x=" + b"y" * 50_000, FORM, "the body has 50002 bytes, and at most 50000 are allowed here"),
    (b"a=1&text=%C3", FORM, "'text' in the body is not valid UTF-8"),
    (b"text=\xff", FORM, "'text' in the body is not valid UTF-8"),
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


# ---- whatever comes --------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "aNumber",
        "number",
        "real",
        "text",
        "flag",
        "idList",
        "ids",
        "things",
        "nameList",
        "codeList",
        "pickle",
        "log",
        "x",
    ]
)
relaxed = hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(body=st.dictionaries(names, values, max_size=5))
def test_no_json_is_a_bug(client: Client, body: dict[str, Any]) -> None:
    for path in (LEGACY, V1):
        assert client.post(path, data=json.dumps(body), content_type=JSON).status_code == 200


@relaxed
@given(body=st.binary(max_size=200), media=st.sampled_from([JSON, FORM, "multipart/form-data; boundary=x", ""]))
def test_no_body_is_a_bug(client: Client, body: bytes, media: str) -> None:
    for path in (LEGACY, V1, "/server/panda/need", "/server/panda/jobs"):
        assert client.post(path, data=body, content_type=media).status_code == 200


@relaxed
@given(query=st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_query_string_is_a_bug(client: Client, query: str) -> None:
    for path in (LEGACY, "/api/v1/test/ask"):
        assert client.get(path, environ_overrides={"QUERY_STRING": query}).status_code == 200
