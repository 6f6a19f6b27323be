"""A real instance for tests: Apache, mod_wsgi, a database and the daemon, on free ports, in a directory of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pandaserver.testing import sample_job
from pandaserver.testing.instance import Instance, Options
from pandaserver.testing.stock_client import StockClient
from tests.e2e import installed_server

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session", autouse=True)
def account() -> None:
    """Have what `make test` has: the service account, and packages."""
    if os.geteuid() == 0:
        command = ["python3", str(ROOT / "tools" / "bootstrap.py"), "run", "true"]
        subprocess.run(command, check=True, timeout=600)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the service account can reach; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="panda-e2e-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextmanager
def new_instance() -> Iterator[Instance]:
    """Start an instance with the payload scripts of the sample jobs."""
    with tempfile.TemporaryDirectory(prefix="panda-e2e-") as name:
        path = Path(name)
        path.chmod(0o755)
        with Instance(Options(path / "var", port=free_port(), tls_port=free_port())) as running:
            sample_job.publish_scripts(running.layout.trf / "user")
            yield running


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """One instance for the tests that only use it. They leave jobs behind that no pilot takes."""
    with new_instance() as running:
        yield running


@pytest.fixture
def client(instance: Instance) -> Iterator[StockClient]:
    """The stock client as Jane Doe, with a certificate."""
    with StockClient(instance, certificate=instance.certificate("Jane Doe")) as user:
        yield user


@pytest.fixture(scope="session")
def installed() -> Iterator[installed_server.InstalledServer]:
    """A server that pip installed and that was set up as the guides say; it may run or not."""
    with tempfile.TemporaryDirectory(prefix="panda-e2e-") as name:
        Path(name).chmod(0o755)
        made = installed_server.InstalledServer(Path(name), free_port(), free_port())
        made.set_up()
        yield made
        made.service("stop")
