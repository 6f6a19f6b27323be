"""Results of operations survive being kept as text, and the text can do nothing but stand for them."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer import kept_values
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.kept_values import kept, restored
from pandaserver.taskbuffer.operation import load_all_operations
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.submission import StoredJob, Submitted
from pandaserver.taskbuffer.tickets import checked_key, owner_of
from tests.factories import make_job

PLAIN = (type(None), bool, int, float, str, bytes, datetime, Decimal)
CONTAINERS = (list, tuple, set, frozenset, dict, Sequence, Mapping)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=3)
        | st.frozensets(st.integers() | st.text(), max_size=3)
    ),
    max_leaves=10,
)


@given(values)
def test_plain_values_survive(value: Any) -> None:
    assert restored(kept(value) or "") == value


@pytest.mark.parametrize(
    "value",
    [
        Submitted((StoredJob(1, 2, None, "n\u00e9\ud800", True),), (1,)),
        JobStatus.activated,
        Decimal("1.5"),
        {"~": 1, "v": 2},
        {(1, "a"): [datetime(2026, 1, 2, 3, 4, 5, 6)]},
        ["x" * 5000, {1, 2}],
    ],
)
def test_our_types_survive(value: Any) -> None:
    found = restored(kept(value) or "")
    assert (type(found), found) == (type(value), value)


def test_jobs_survive_with_their_files() -> None:
    job = make_job()
    found = restored(kept([job]) or "")[0]
    for name in (field.name for field in dataclasses.fields(job) if field.name != "Files"):
        assert getattr(found, name) == getattr(job, name)
    assert [type(file) for file in found.Files] == [FileSpec] * len(job.Files)
    assert [file.lfn for file in found.Files] == [file.lfn for file in job.Files]


def test_what_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_values, "MOST", 1000)
    assert kept(list(range(5000))) is None
    assert kept("x" * 5000) is not None  # compressed


def test_five_thousand_jobs_are_a_tenth_of_the_limit() -> None:
    jobs = tuple(StoredJob(10**10 + n, 17, 18, f"user.jdoe.0123456789.{n:06}", True) for n in range(5000))
    assert len(kept(Submitted(jobs)) or "") < kept_values.MOST / 5


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", "pandaserver.nothing:X", "pandaserver.srvcore.errors:PandaError"]
)
def test_a_text_makes_nothing_but_plain_types(name: str) -> None:
    with pytest.raises(LookupError):
        restored(json.dumps({"~": "data", "v": {}, "c": name}))


def test_a_type_with_other_fields_than_then_is_refused() -> None:
    text = (kept(StoredJob(1, 2, 3, None, True)) or "").replace("has_jobset", "had_jobset")
    with pytest.raises(LookupError, match="another StoredJob"):
        restored(text)


def test_an_object_is_refused() -> None:
    with pytest.raises(TypeError, match="a object cannot be kept"):
        kept(object())


def unkeepable(hint: Any) -> Iterator[Any]:
    """Name the types within a type that could not be kept."""
    origin = typing.get_origin(hint)
    if hint is Any or hint is Ellipsis or hint in PLAIN or hint in CONTAINERS:
        return
    if origin in CONTAINERS or origin in (types.UnionType, typing.Union):
        for part in typing.get_args(hint):
            yield from unkeepable(part)
        return
    if isinstance(hint, type) and issubclass(hint, Enum | tuple):
        return
    if dataclasses.is_dataclass(hint):
        return
    yield hint


def test_the_results_of_all_changes_can_be_kept() -> None:
    bad = {
        name: found
        for name, operation in load_all_operations().items()
        if not operation.repeatable and operation.function.__module__.startswith("pandaserver.")
        if (found := list(unkeepable(typing.get_type_hints(operation.function)["return"])))
    }
    assert bad == {}


# ---- keys and their owners


def test_keys() -> None:
    assert checked_key(" 5f0c-1 ") == "5f0c-1"
    for bad in ("", " ", "a b", "x" * 129, "\u00e9", "a\0"):
        with pytest.raises(BadRequest, match="Idempotency-Key must have"):
            checked_key(bad)


def test_two_long_names_are_two_owners() -> None:
    long = "/CN=" + "x" * 300
    assert owner_of("/CN=Jane Doe") == "/CN=Jane Doe"
    assert len({owner_of(long + "a"), owner_of(long + "b"), owner_of("/CN=\u00e9"), owner_of("/CN=\u00e8")}) == 4
    assert all(len(owner_of(dn)) <= 250 and owner_of(dn).isascii() for dn in (long, "/CN=" + "\u00e9" * 249))
