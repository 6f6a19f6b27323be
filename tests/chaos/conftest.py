"""A database of its own for each test that starts processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("schema") / "panda.sqlite3"
    schema.create_all(ConnectionSettings(backend="sqlite", name=str(path)))
    return path


@pytest.fixture
def connection(empty_database: Path, tmp_path: Path) -> ConnectionSettings:
    """Return where an empty database of this test's own is."""
    copy = tmp_path / "panda.sqlite3"
    shutil.copyfile(empty_database, copy)
    return ConnectionSettings(backend="sqlite", name=str(copy))
