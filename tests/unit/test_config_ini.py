"""The syntax of configuration files, mistakes included."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandacommon.liveconfigparser.ini import InterpolationError, Problem, Value, interpolate, parse


def parsed(text: str) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    problems: list[Problem] = []
    sections = parse(text, "f.cfg", problems.append)
    return {name: {key: value.content for key, value in keys.items()} for name, keys in sections.items()}, problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]\nkey = value", {"a": {"key": "value"}}),
        ("[a]\nuseWSGI=1\nusewsgi=2", {"a": {"useWSGI": "1", "usewsgi": "2"}}),
        ("[a]\nkey: value", {"a": {"key": "value"}}),
        ("[a]\nurl = http://h:1/p?q=1", {"a": {"url": "http://h:1/p?q=1"}}),
        ("[a]\nkey = one # two", {"a": {"key": "one # two"}}),
        ('[a]\nkey = ""', {"a": {"key": '""'}}),
        ("[a]\nkey =", {"a": {"key": ""}}),
        ("; c\n[a]\n# c\nkey = 1", {"a": {"key": "1"}}),
        ("[a]\nkey = {\n  1\n# comment\n    2 }\nnext = 3", {"a": {"key": "{\n1\n2 }", "next": "3"}}),
        ("[a]\nkey = 1\n\n  2\n\n\n[b]\n", {"a": {"key": "1\n\n2"}, "b": {}}),
    ],
)
def test_values_are_read_as_written(text: str, expected: dict[str, dict[str, str]]) -> None:
    assert parsed(text) == (expected, [])


LINES = st.sampled_from(
    [
        "[a]",
        "[b]",
        "# c",
        "; c",
        "",
        "  indented = x",
        "    more",
        "\tt",
        *(f"k{n} = v {n}" for n in range(3)),
        "k4:v=w",
    ]
)


@given(st.lists(LINES, max_size=12))
def test_files_without_mistakes_mean_what_they_mean_to_python(lines: list[str]) -> None:
    text = "\n".join(["[start]", *lines])
    python = configparser.RawConfigParser(strict=True)
    python.optionxform = str  # type: ignore[assignment,method-assign]
    ours, problems = parsed(text)
    try:
        python.read_string(text)
    except configparser.Error:
        assert problems
    else:
        assert problems == []
        assert ours == {name: dict(python[name]) for name in python.sections()}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("key = 1\n[a]", 1, "stands before the first section"),
        ("[a]\nx = 1\nnonsense here", 3, "cannot read 'nonsense...'"),
        ("[a]\nx = 1\ny = 2\nx = 3", 4, "appears twice, first in line 2"),
        ("[a]\n[b]\n[a]", 3, "this section appears twice in the file"),
        ("[a]\n= 1", 2, "cannot read '=...'"),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, line: int, message: str) -> None:
    (problem,) = parsed(text)[1]
    assert (problem.line, problem.message) == (line, message)


def test_a_line_that_cannot_be_read_is_not_repeated_in_full() -> None:
    (problem,) = parsed("[a]\npassword secret")[1]
    assert "secret" not in problem.message


def test_of_two_equal_keys_the_first_counts() -> None:
    assert parsed("[a]\nx = 1\nx = 2")[0] == {"a": {"x": "1"}}


def test_references_lead_to_other_values_of_the_section() -> None:
    siblings = {"a": Value("1%(b)s", "", 0), "b": Value("2", "", 0)}
    assert interpolate("%(a)s and 50%%", siblings) == "12 and 50%"


@pytest.mark.parametrize("text", ["50%", "%s", "%(missing)s", "%(me)s", "%(open"])
def test_a_percent_sign_that_refers_to_nothing_is_a_mistake(text: str) -> None:
    with pytest.raises(InterpolationError):
        interpolate(text, {"me": Value(text, "", 0)})
