"""The schema: tables declared once, and the revisions that change them.

Only the schema command and the tests use it. Everything that loads SQLAlchemy is imported when it is called, so that
``schema.version`` costs a database child nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import MetaData

    from pandaserver.taskbuffer.connection_settings import ConnectionSettings

    metadata: MetaData


def create_all(connection: ConnectionSettings) -> None:
    """Create everything on an empty database from the declarations, seed rows included."""
    from pandaserver.taskbuffer.schema import create

    create.create_all(connection)


def empty_all(connection: ConnectionSettings) -> None:
    """Remove every row that is not a seed, for the next test."""
    from pandaserver.taskbuffer.schema import create

    create.empty_all(connection)


def __getattr__(name: str) -> Any:
    if name != "metadata":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pandaserver.taskbuffer.schema import tables  # noqa: F401  importing it declares the tables
    from pandaserver.taskbuffer.schema.declare import metadata

    return metadata
