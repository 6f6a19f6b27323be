"""Rotation of the logs by the shipped rules, while the server has work."""

from __future__ import annotations

import gzip
import re
import shutil
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.installed_server import InstalledServer

_RATE = 50  # requests a second
_SENDERS = 8
_MARK = re.compile(r"/server/panda/(mark\d+)\b|\b(mark\d+) ")

pytestmark = pytest.mark.skipif(not shutil.which("logrotate", path="/usr/sbin:/usr/bin"), reason="needs logrotate")


class Load:
    """Requests at a steady rate, each for a name of its own, which both logs then have."""

    def __init__(self, server: InstalledServer) -> None:
        self._base = f"http://localhost:{server.port}/server/panda"
        self.sent: list[str] = []
        self.failed: list[str] = []
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(_SENDERS + 1) as pool:
            pacing = pool.submit(self._pace, pool)
            try:
                yield
            finally:
                self._over.set()
                pacing.result()

    def _pace(self, pool: ThreadPoolExecutor) -> None:
        while not self._over.wait(1 / _RATE):
            self.sent.append(f"mark{len(self.sent)}")
            pool.submit(self._ask, self.sent[-1])

    def _ask(self, name: str) -> None:
        try:
            with urllib.request.urlopen(f"{self._base}/{name}", timeout=60) as reply:
                if (text := reply.read().decode()) != f"False : {name} is forbidden":
                    self.failed.append(text)
        except OSError as error:
            self.failed.append(f"{name}: {error}")


def rotate(server: InstalledServer) -> None:
    """Force a rotation by the rules that the guide linked; several on one day need names with a time."""
    rules = server.root / "rules"
    shipped = (server.root / "etc" / "logrotate.d" / "panda_server").read_text()
    rules.write_text(shipped.replace("dateext", "dateext\n    dateformat -%Y%m%d-%s"))
    if not server.account.switch:  # not root: no account to change to
        rules.write_text(re.sub(r"(?m)^ *su .*$", "", rules.read_text()))
    rules.chmod(0o644)
    server.run(["/usr/sbin/logrotate", "--force", "--state", str(server.root / "state"), str(rules)])


def marks(server: InstalledServer, log: str) -> Counter[str]:
    """Count the names in a log and what was rotated away from it."""
    found: Counter[str] = Counter()
    for path in (server.layout.log).glob(f"{log}*"):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found.update(first or second for first, second in _MARK.findall(text.decode()))
    return found


def test_rotation_under_load_loses_no_request_and_no_line(installed: InstalledServer) -> None:
    done = installed.service("start")
    assert done.returncode == 0, done.stdout + done.stderr
    before = installed.pid("panda_server_httpd"), installed.pid("panda_daemon")
    load = Load(installed)
    with load.running():
        for log in ("panda_server_access_log", "panda-Entry.log"):
            wait_for_text(installed.layout.log / log, "mark0")  # what is empty is not rotated
        at_rotation = len(load.sent)
        rotate(installed)
        wait_for_more(load, at_rotation + 4 * _RATE)
    assert load.failed == []
    assert (installed.pid("panda_server_httpd"), installed.pid("panda_daemon")) == before, "nothing is restarted"
    expected = Counter(load.sent)
    for log in ("panda_server_access_log", "panda-Entry.log"):
        assert (installed.layout.log / log).stat().st_size > 0, "the new file is in use"
        assert list(installed.layout.log.glob(f"{log}-*")), "there is an old one"
        assert marks(installed, log) == expected, log


def test_what_the_daemon_prints_goes_on_in_a_new_file(installed: InstalledServer) -> None:
    assert installed.service("start").returncode == 0
    out: Path = installed.layout.log / "panda_daemon_stdout.log"
    wait_for_text(out, "")  # another rotation may just have been
    said = out.read_text()
    rotate(installed)
    wait_for_text(out, "")
    assert any(old.read_text().startswith(said) for old in installed.layout.log.glob("panda_daemon_stdout.log-*"))
    assert installed.service("reload", "panda_daemon").returncode == 0
    wait_for_text(out, "configuration reloaded")


def wait_for_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {path}"
        time.sleep(0.05)


def wait_for_more(load: Load, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(load.sent) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
