"""House rules that no formatter knows: size of files, and nothing of the place where the code was written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LONGEST = 400

#: Read by looking up, not from top to bottom, or generated.
TABLES = (
    re.compile(r"docs/(openapi\.json|requests\.md|schema\.md|states\.md)"),
    re.compile(r"pandaserver/taskbuffer/schema/versions/.*"),
    re.compile(r"tests/golden/.*"),
)

#: Hosts that a link or an example may name: this machine, names that are nobody's, and the field's own.
HOSTS = re.compile(r"localhost|127\.0\.0\.1|\[|h|HOST|([\w.-]+\.)?example(\.org)?|.*\.cern\.ch", re.IGNORECASE)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8", errors="replace")


def test_a_file_has_one_idea() -> None:
    long = {
        name: lines
        for name in tracked()
        if not any(table.fullmatch(name) for table in TABLES) and (lines := text_of(name).count("\n")) > LONGEST
    }
    assert long == {}, "two responsibilities?"


def test_nothing_names_the_directory_of_the_checkout() -> None:
    place = re.compile(rf"{re.escape(str(ROOT))}(?![\w-])")
    assert [name for name in tracked() if place.search(text_of(name))] == []


def test_links_lead_to_known_hosts_only() -> None:
    found = {
        (name, host)
        for name in tracked()
        for host in re.findall(r"https?://([^\s/\"'`<>)|,;{}$%\\]+)", text_of(name))
        if not HOSTS.fullmatch(host.rpartition("@")[2].partition(":")[0])
    }
    assert found == set()
