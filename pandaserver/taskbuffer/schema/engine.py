"""From connection settings to SQLAlchemy: one engine for each database, without a pool."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, NullPool, create_engine, event

from pandaserver.taskbuffer.connection_settings import ConnectionSettings

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg2",
    "mysql": "mysql+mysqldb",
    "oracle": "oracle+oracledb",
}


def url_of(connection: ConnectionSettings) -> URL:
    """Return the URL under which SQLAlchemy reaches that database."""
    driver = _DRIVERS[connection.backend]
    if connection.backend == "sqlite":
        return URL.create(driver, database=connection.name)
    return URL.create(
        driver,
        username=connection.user or None,
        password=connection.password.reveal() or None,
        host=connection.host or None,
        port=connection.port or None,
        database=None if connection.backend == "oracle" else connection.name,
    )


def schema_names(backend: str, schemas: dict[str, str]) -> dict[str, str | None]:
    """Return the name that each canonical prefix has in the database; None where there are no schemas.

    PostgreSQL and Oracle fold names that are not quoted, so lower case stands for any case there. MySQL compares the
    names of databases by their bytes and gets them as configured.
    """
    if backend == "sqlite":
        return dict.fromkeys(schemas)
    return {prefix: name if backend == "mysql" else name.lower() for prefix, name in schemas.items()}


def engine_of(connection: ConnectionSettings) -> Engine:
    """Return an engine whose connections translate the canonical schema prefixes and run in UTC."""
    names = schema_names(connection.backend, connection.schemas)
    # An Oracle database is named by an alias or a DSN, which is no part of a URL.
    dsn = connection.name if connection.backend == "oracle" else ""
    return _engine(url_of(connection), dsn, tuple(sorted(names.items())))


@lru_cache(maxsize=32)
def _engine(url: URL, dsn: str, names: tuple[tuple[str, str | None], ...]) -> Engine:
    engine = create_engine(url, poolclass=NullPool, connect_args={"dsn": dsn} if dsn else {})
    if engine.dialect.name == "mysql":
        event.listen(engine, "connect", _in_utc)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _without_implicit_begin)
        event.listen(engine, "begin", _begin)
    return engine.execution_options(schema_translate_map=dict(names))


def _in_utc(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")


def _without_implicit_begin(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # Python begins no transaction before DDL, so _begin does it
    connection.execute("PRAGMA busy_timeout = 10000")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def has_sequences(dialect: Dialect) -> bool:
    """Tell whether the server has sequences: PostgreSQL, MariaDB and Oracle do, SQLite and MySQL do not."""
    return dialect.supports_sequences or bool(getattr(dialect, "is_mariadb", False))
