"""The examples of the page about an instance do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pandaserver.testing.instance import Instance, Options
from tests.e2e.conftest import ROOT, free_port

PAGE = ROOT / "docs/instance.md"

#: What a command is expected to print follows it as a comment.
EXPECTED = re.compile(r"  # (.+)$", re.MULTILINE)


def examples() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [block for block in blocks if "HTTP=" not in block]  # that one says where the reader's instance is


@pytest.fixture
def own_instance(directory: Path) -> Instance:
    """An instance whose queues and shares nobody else relies on."""
    return Instance(Options(directory / "var", port=free_port(), tls_port=free_port(), daemon=False))


def test_the_examples_print_what_the_page_says(own_instance: Instance, tmp_path: Path) -> None:
    script = "set -eu\n" + "".join(examples())
    with own_instance as instance:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=instance.environment()
            | {"HTTP": instance.http, "HTTPS": instance.https, "PATH": f"{sys.prefix}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [text for block in examples() for text in EXPECTED.findall(block)]
    assert len(expected) > 15
    assert [text for text in expected if text not in done.stdout] == [], done.stdout + done.stderr
