"""Junk is refused by name, at both doors, and reaches no handler."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import Client

from tests.api.odd_requests import FORM, JSON, LEGACY, V1, client, registry, taken

__all__ = ["client", "registry", "taken"]


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
