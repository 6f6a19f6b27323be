"""Every statement of the program compiles for every backend, and what Oracle would refuse is not among them."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.oracle import Oracle
from pandaserver.taskbuffer.dialects.subset import INSTEAD, KEYWORDS, ORACLE_RESERVED, RESERVED_COLUMNS
from tests.oracle_check import check_canonical, complaints, tables
from tests.statements import statements

STATEMENTS = statements()


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("sql", [sql for _, sql in STATEMENTS], ids=[name for name, _ in STATEMENTS])
@pytest.mark.parametrize("backend", ["sqlite", "postgres", "mysql", "oracle"])
def test_every_statement_compiles(backend: str, sql: str) -> None:
    assert dialect_for(ConnectionSettings(backend, "panda")).statement(sql).text


@pytest.mark.parametrize("sql", [sql for _, sql in STATEMENTS], ids=[name for name, _ in STATEMENTS])
def test_oracle_would_read_every_statement(sql: str) -> None:
    check_canonical(sql)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t WHERE b = ''",
        "SELECT a FROM t LIMIT 3",
        "SELECT a FROM t AS x WHERE a = 1",
        "SELECT a FROM t FETCH FIRST 3 ROWS ONLY FOR UPDATE",
        "SELECT a FROM t WHERE b = TRUE",
        "INSERT INTO t (a) VALUES (1), (2)",
        "SELECT 1",
        "SELECT a FROM t WHERE b = %s",
        "SELECT nothing FROM ATLAS_PANDA.Config",
        "SELECT x.nothing FROM ATLAS_PANDA.Config x",
        "SELECT a FROM ATLAS_PANDA.nothing",
        "INSERT INTO ATLAS_PANDA.Config (nothing) VALUES (1)",
        "UPDATE ATLAS_PANDA.Config SET nothing = 1",
        f"SELECT app FROM ATLAS_PANDA.Config WHERE app IN ({', '.join(['1'] * 1001)})",
    ],
)
def test_the_check_for_oracle_finds_what_oracle_refuses(text: str) -> None:
    assert complaints(text)


def test_oracle_would_read_what_strategies_write() -> None:
    oracle = dialect_for(ConnectionSettings("oracle", "panda"))
    assert isinstance(oracle, Oracle)
    key = ("app", "component", "key", "vo")
    assert complaints(oracle.merge_text("ATLAS_PANDA.Config", key, ("value", "type"))) == []
    assert complaints(oracle.merge_text("ATLAS_PANDA.Config", key, ())) == []
    assert complaints(oracle.insert_text("ATLAS_PANDA.Config", (*key, "value"), 1)) == []


def test_a_merge_binds_the_key_and_then_the_values_twice() -> None:
    oracle = dialect_for(ConnectionSettings("oracle", "panda"))
    assert isinstance(oracle, Oracle)
    assert oracle.merge_text("ATLAS_PANDA.Config", ("key",), ("value",)) == (
        'MERGE INTO ATLAS_PANDA.Config t USING (SELECT :1 AS "KEY" FROM DUAL) s ON (t."KEY" = s."KEY")'
        ' WHEN MATCHED THEN UPDATE SET t.value = :2 WHEN NOT MATCHED THEN INSERT ("KEY", value) VALUES (s."KEY", :3)'
    )


def test_no_column_has_a_name_that_the_subset_takes_for_something_else() -> None:
    columns = frozenset().union(*tables().values())
    assert columns & (KEYWORDS | INSTEAD.keys() | ORACLE_RESERVED) == set()


def test_columns_that_some_backend_reserves_are_quoted() -> None:
    from sqlalchemy.dialects.mysql.reserved_words import RESERVED_WORDS_MARIADB, RESERVED_WORDS_MYSQL
    from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS as POSTGRES

    reserved = {word.upper() for word in (*RESERVED_WORDS_MARIADB, *RESERVED_WORDS_MYSQL, *POSTGRES)}
    assert frozenset().union(*tables().values()) & reserved <= RESERVED_COLUMNS
