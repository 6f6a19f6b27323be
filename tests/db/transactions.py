"""Transactions without a proxy, for tests that look at one or compare two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.transaction import Transaction, statement_seconds
from pandaserver.taskbuffer.WrappedCursor import WrappedCursor


@contextmanager
def transaction(
    database: ConnectionSettings, *, read_only: bool = False, seconds: float = 10.0, commit: bool = True
) -> Iterator[Transaction]:
    """A transaction on a connection of its own."""
    dialect = dialect_for(database)
    session = dialect.connect(seconds)
    deadline = monotonic() + seconds
    try:
        session.begin(read_only=read_only, seconds=statement_seconds(deadline))
        yield Transaction(WrappedCursor(session, dialect), OperationSettings(), deadline)
        if commit:
            session.commit()
    finally:
        session.rollback()
        session.close()
