"""The database of an instance: a file, a server of its own, or one that exists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing.account import Account
from pandaserver.testing.instance_config import connection_of_url
from pandaserver.testing.layout import Layout
from pandaserver.testing.servers import DatabaseServer, MariaDBServer, PostgresServer

_SERVERS: Final[dict[str, type[DatabaseServer]]] = {"postgresql": PostgresServer, "mariadb": MariaDBServer}


@contextmanager
def opened(database: str, layout: Layout, account: Account) -> Iterator[ConnectionSettings]:
    """Give the settings of a database that is ready for connections; a server that was started ends at exit."""
    if "://" in database:
        yield connection_of_url(database)
    elif database == "sqlite":
        yield ConnectionSettings(backend="sqlite", name=str(layout.database / "panda.sqlite"))
    else:
        server = _SERVERS[database](layout.database / database, account.user if account.switch else None)
        try:
            yield server.start()
        finally:
            server.stop()
