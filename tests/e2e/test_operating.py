"""What operators are told about a real instance that is well, and about one that is spoilt in one place."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from prometheus_client.parser import text_string_to_metric_families

from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.testing.instance import DAEMONS, Instance, Options
from tests.e2e.conftest import free_port


@pytest.fixture(scope="module")
def machine() -> Iterator[Instance]:
    """An instance that the tests of this module may spoil, and repair."""
    with tempfile.TemporaryDirectory(prefix="panda-e2e-") as name:
        Path(name).chmod(0o755)
        with Instance(Options(Path(name) / "var", port=free_port(), tls_port=free_port())) as running:
            wait_until(lambda: admin(running, "daemon", "alive").returncode == 0)
            yield running


def admin(instance: Instance, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``panda-admin`` as whoever runs the tests, which is what an operator does."""
    command = [f"{sys.prefix}/bin/panda-admin", *arguments]
    environment = instance.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def doctor(instance: Instance, *only: str) -> tuple[int, dict[str, str]]:
    """Return the exit code, and the messages of what is not well by check."""
    chosen = [word for name in only for word in ("--only", name)]
    done = admin(instance, "doctor", "--json", *chosen)
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {one["name"]: one["message"] for one in checks if one["severity"] in ("warning", "failure")}


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)


def test_a_fresh_instance_is_well(machine: Instance) -> None:
    done = admin(machine, "doctor")
    assert done.returncode == 0, done.stdout
    assert not [line for line in done.stdout.splitlines() if not line.startswith("ok ")]


def test_the_service_account_can_look_by_itself(machine: Instance) -> None:
    assert "FAILURE" not in machine.admin("doctor")


def test_the_daemon_is_shown(machine: Instance) -> None:
    wait_until(lambda: "done" in admin(machine, "daemon", "status").stdout)
    document = json.loads(admin(machine, "daemon", "status", "--json").stdout)
    assert document["alive"]
    assert {line["name"] for line in document["daemons"]} == DAEMONS.keys()


def test_prometheus_reads_all_processes(machine: Instance) -> None:
    for _ in range(8):
        urllib.request.urlopen(f"{machine.http}/api/v1/system/is_ready", timeout=10).close()
    page = urllib.request.urlopen(f"{machine.http}/metrics", timeout=10).read().decode()
    samples = {
        (sample.name, sample.labels.get("name", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["panda_requests_total", "system/is_ready"] >= 8
    assert samples["panda_database_connections", ""] == machine.options.web_processes
    assert samples["panda_daemon_up", ""] == 1


def test_a_directory_that_cannot_be_written_is_named(machine: Instance) -> None:
    mode = machine.layout.cache.stat().st_mode
    machine.layout.cache.chmod(0o555)
    try:
        code, wrong = doctor(machine, "directories", "disk")
    finally:
        machine.layout.cache.chmod(mode)
    assert (code, list(wrong)) == (2, ["directories"])
    assert str(machine.layout.cache) in wrong["directories"]


@contextmanager
def expired(certificate: Path, authority: Path) -> Iterator[None]:
    """Replace a certificate by the same one of last year."""
    before = certificate.read_bytes()
    known = x509.load_pem_x509_certificate(before)
    key = serialization.load_pem_private_key((authority / "ca-key.pem").read_bytes(), password=None)
    end = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    builder = x509.CertificateBuilder(
        known.issuer, known.subject, known.public_key(), known.serial_number, end - dt.timedelta(days=30), end
    )
    certificate.write_bytes(_signed(builder, key))
    try:
        yield
    finally:
        certificate.write_bytes(before)


def _signed(builder: x509.CertificateBuilder, key: Any) -> bytes:
    made: x509.Certificate = builder.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def test_an_expired_certificate_is_named(machine: Instance) -> None:
    assert DevelopmentCA.exists(machine.layout.ca)
    with expired(machine.layout.hostcert, machine.layout.ca):
        code, wrong = doctor(machine, "certificates")
    assert code == 2
    assert wrong["certificates"].startswith(f"{machine.layout.hostcert} expired on")


def test_a_schema_that_is_too_old_is_told_by_everybody(machine: Instance) -> None:
    with sqlite3.connect(database_of(machine), timeout=30) as database:
        database.execute("UPDATE pandadb_version SET major = 0 WHERE component = 'PanDA'")
    try:
        code, wrong = doctor(machine, "database", "schema")
        checked = admin(machine, "check-schema")
    finally:
        with sqlite3.connect(database_of(machine), timeout=30) as database:
            database.execute("UPDATE pandadb_version SET major = 1 WHERE component = 'PanDA'")
    assert (code, wrong) == (2, {"schema": "version 0.0.0, 1.0.0 is required"})
    assert checked.returncode == 1
    assert "found=0.0.0 required=1.0.0" in checked.stdout


def test_a_database_that_is_gone_is_told_by_everybody(directory: Path) -> None:
    options = Options(directory / "var", free_port(), free_port(), daemon=False, web_processes=1)
    with Instance(options) as instance:
        away = directory / "away"
        away.mkdir()
        for part in database_of(instance).parent.iterdir():
            shutil.move(part, away)
        code, wrong = doctor(instance, "database", "schema", "http")
        assert code == 2
        assert "does not answer: " in wrong["database"]
        assert "is alive and not ready: 503" in wrong["http"]
        assert "found=none" in admin(instance, "check-schema").stdout
        assert not database_of(instance).exists()  # looking makes none
        with urllib.request.urlopen(f"{instance.http}/server/panda/isAlive", timeout=10) as reply:
            assert reply.read() == b"alive=yes"


def test_a_daemon_that_was_stopped_is_named(directory: Path) -> None:
    with Instance(Options(directory / "var", free_port(), free_port(), web_processes=1)) as instance:
        wait_until(lambda: admin(instance, "daemon", "alive").returncode == 0)
        pid = json.loads(admin(instance, "daemon", "status", "--json").stdout)["master"]["pid"]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: admin(instance, "daemon", "alive").returncode == 1)
        code, wrong = doctor(instance, "daemon", "scripts")
    assert (code, list(wrong)) == (2, ["daemon"])
    assert wrong["daemon"].startswith("the daemon was stopped")


def database_of(instance: Instance) -> Path:
    return instance.layout.database / "panda.sqlite"
