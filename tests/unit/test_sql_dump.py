"""The SQL dump shows statements and values, and no secret."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer import sql_dump
from pandaserver.taskbuffer.connection_settings import Secret


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr(sql_dump._logger, "debug", written.append)
    return written


def test_a_statement_is_one_line_with_its_values(lines: list[str]) -> None:
    sql_dump.dump("SELECT a\n  FROM t", {"n": 1, "ids": [1, 2], "name": "x"})
    assert lines == ["SELECT a FROM t {n: 1, ids: [1, 2], name: 'x'}"]


def test_a_secret_is_hidden(lines: list[str]) -> None:
    sql_dump.dump("SELECT a FROM t", [Secret("hush"), "open"])
    assert lines == ["SELECT a FROM t [<hidden>, 'open']"]


def test_texts_of_confidential_tables_are_hidden(lines: list[str]) -> None:
    sql_dump.dump("INSERT INTO atlas_panda.secrets (owner, data) VALUES (%s, %s)", ["jane", "hush"])
    assert lines == ["INSERT INTO atlas_panda.secrets (owner, data) VALUES (%s, %s) [<hidden>, <hidden>]"]


def test_long_texts_and_lists_are_cut(lines: list[str]) -> None:
    sql_dump.dump("SELECT a FROM t", ["x" * 1000, list(range(100))])
    assert len(lines[0]) < 400
