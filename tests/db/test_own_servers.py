"""Database servers of our own survive the death of whoever was making them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.testing.servers import PostgresServer

BACKENDS = os.environ.get("PANDA_TEST_BACKENDS", "postgres").split(",")


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that the account of the server can reach."""
    path = Path(tempfile.mkdtemp(prefix="panda-servers-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif("postgres" not in BACKENDS, reason="not among the chosen backends")
def test_a_data_directory_that_was_not_finished_is_made_again(directory: Path) -> None:
    (directory / "data").mkdir()
    (directory / "data" / "PG_VERSION").write_text("15\n")
    (directory / "unfinished").touch()
    server = PostgresServer(directory, durable=False)
    try:
        dialect_for(server.start()).connect(10.0).close()
    finally:
        server.stop()
    assert not (directory / "unfinished").exists()
