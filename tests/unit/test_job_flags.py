"""Flags in specialHandling, and names of outputs of a repeated attempt."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.db_proxy_mods.pilot_retry import new_names, renamed
from pandaserver.taskbuffer.job_flags import flag_value, has_flag, with_flag


def test_a_flag_is_a_whole_word() -> None:
    assert has_flag("sj, us,pc", "secrets")
    assert not has_flag("usx,bus", "secrets")
    assert not has_flag(None, "secrets")


@pytest.mark.parametrize("word", ["debug", "dm"])
def test_debug_has_two_spellings(word: str) -> None:
    assert has_flag(f"sj,{word}", "debug")
    assert with_flag(f"{word},sj", "debug", False) == "sj"


def test_a_value_follows_its_prefix() -> None:
    assert flag_value("sj,rr:4000,rt=x", "retry_ram") == "4000"
    assert flag_value("sj,rt=x", "request_type") == "x"
    assert flag_value("sj", "retry_ram") is None


def test_an_empty_list_is_none() -> None:
    assert with_flag("debug", "debug", False) is None
    assert with_flag(None, "debug", True) == "debug"


def test_libraries_keep_their_names() -> None:
    assert new_names(["a.root", "x.lib.tgz"], 2) == {"a.root": "a.root.2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-o a.root", "-o a.root.2"),
        ("-o 'a.root' b", "-o 'a.root.2' b"),
        ("-o=a.root,b", "-o=a.root.2,b"),
        ("see a.root.", "see a.root.2."),
        ("-o xa.root a.root.tgz a.rootx b-a.root", "-o xa.root a.root.tgz a.rootx b-a.root"),
    ],
)
def test_only_whole_names_are_replaced(text: str, expected: str) -> None:
    assert renamed(text, {"a.root": "a.root.2"}) == expected
