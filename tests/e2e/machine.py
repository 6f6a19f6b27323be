"""A systemd of our own, in namespaces and a control group of its own, with nothing but the units of a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

#: What units of a real machine wait for.
_TARGETS: Final = ("boot", "sysinit", "basic", "shutdown", "network-online", "remote-fs", "nss-lookup", "multi-user")
_BOOTING: Final = 30.0  # seconds

# Runs as the first process of its namespaces, where /run and the control groups are ours alone.
_BOOT: Final = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 9
exec /lib/systemd/systemd --system --unit=boot.target --show-status=no --log-target=console
"""


class Machine:
    """What the units of a directory do under systemd."""

    def __init__(self, first_process: int, units: Path) -> None:
        self._first = first_process
        self._environment = {"PATH": os.defpath, "SYSTEMD_UNIT_PATH": str(units)}

    def systemctl(self, *arguments: str) -> tuple[int, str]:
        """Run systemctl on that machine, and return exit code and output."""
        namespaces = ["nsenter", f"--target={self._first}", "--mount", "--pid", "--uts", "--ipc"]
        done = subprocess.run(
            [*namespaces, "systemctl", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def states(self, *units: str) -> list[str]:
        """Return whether each unit is active."""
        return self.systemctl("is-active", *units)[1].split()

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", f"--property={name}", "--value", unit)[1].strip()


@contextlib.contextmanager
def booted(units: Path, log: Path) -> Iterator[Machine]:
    """Start systemd on the units of a directory; skip the test where that is impossible."""
    for name in _TARGETS:
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
    with _control_group() as group, log.open("wb") as output:
        unshare = "unshare --cgroup --mount --mount-proc --pid --uts --ipc --fork --kill-child sh -c"
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec {unshare} "$BOOT"'],
            env={"PATH": os.defpath, "BOOT": _BOOT, "container": "test", "SYSTEMD_UNIT_PATH": str(units)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _ready(process, units, log)
        finally:
            process.kill()  # and with it, as it asked for, everything in its namespaces
            process.wait()


def _ready(process: subprocess.Popen[bytes], units: Path, log: Path) -> Machine:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + _BOOTING
    while process.poll() is None and time.monotonic() < deadline:
        if first := children.read_text().split():
            machine = Machine(int(first[0]), units)
            if machine.systemctl("is-system-running")[1].strip() in ("running", "degraded"):
                return machine
        time.sleep(0.1)
    pytest.skip(f"systemd cannot run here: {log.read_text(errors='replace')[-300:]}")


@contextlib.contextmanager
def _control_group() -> Iterator[Path]:
    """A control group of version 2, or a skipped test."""
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists() or not shutil.which("nsenter"):
        pytest.skip("needs root and systemd")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    for _, place, kind, *_ in mounts:
        group = Path(place, f"panda-test-{os.getpid()}")
        if kind == "cgroup2" and os.access(place, os.W_OK):
            with contextlib.suppress(OSError):
                group.mkdir()
                break
    else:
        pytest.skip("needs control groups of version 2")
    try:
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group with those below it, as soon as the kernel has taken the processes out."""
    deadline = time.monotonic() + 10
    while group.exists():
        try:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
