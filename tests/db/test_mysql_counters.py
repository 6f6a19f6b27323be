"""A MySQL without sequences counts in rows, on a connection whose locks nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pandaserver.srvcore.errors import DatabaseError
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.mysql import MySQLSession
from tests.db.transactions import transaction

SEQUENCE = "ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ"


@pytest.fixture
def counted(database: ConnectionSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionSettings]:
    """A MariaDB that is taken for a MySQL."""
    if database.backend != "mysql":
        pytest.skip("only MySQL counts in rows of a second connection")
    native(database, "CREATE TABLE ATLAS_PANDA.panda_sequences (name VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)")
    native(database, "INSERT INTO ATLAS_PANDA.panda_sequences VALUES ('jobsdefined4_pandaid_seq', 41)")
    made = MySQLSession.__init__

    def without_sequences(self: MySQLSession, connection: object) -> None:
        made(self, connection)
        self.has_sequences = False

    monkeypatch.setattr(MySQLSession, "__init__", without_sequences)
    yield database
    native(database, "DROP TABLE ATLAS_PANDA.panda_sequences")


def native(database: ConnectionSettings, text: str) -> None:
    session = dialect_for(database).connect(5)
    session.execute(text, [])
    session.commit()
    session.close()


def test_identifiers_follow_the_counter(counted: ConnectionSettings) -> None:
    with transaction(counted) as tx:
        assert tx.next_ids(SEQUENCE, 3) == [42, 43, 44]
        assert tx.next_ids(SEQUENCE, 1) == [45]


def test_nobody_waits_for_a_transaction_that_has_drawn(counted: ConnectionSettings) -> None:
    with transaction(counted) as first, transaction(counted) as second:
        assert first.next_ids(SEQUENCE, 1) == [42]
        assert second.next_ids(SEQUENCE, 1) == [43]


def test_an_unknown_counter_is_an_error(counted: ConnectionSettings) -> None:
    with transaction(counted, commit=False) as tx, pytest.raises(DatabaseError, match="no counter nothing_seq"):
        tx.next_ids("ATLAS_PANDA.nothing_seq", 1)
