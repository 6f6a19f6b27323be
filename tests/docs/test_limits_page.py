"""The table of time limits in docs/daemon.md says what the program does."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from pandaserver.taskbuffer.time_limits import DEFAULTS, HOUR

PAGE = Path(__file__).parents[2] / "docs/daemon.md"
ROW = re.compile(r"^\| (`[a-z_`, ]+`) \| ([\d./, ]+) \|", re.MULTILINE)


def test_every_limit_is_in_the_table_with_its_hours() -> None:
    found: dict[str, float] = {}
    section = PAGE.read_text().partition("### copyArchive")[2].partition("\n### ")[0]
    for names, hours in ROW.findall(section):
        words, values = re.findall(r"`(\w+)`", names), hours.split(", ")
        for name, value in zip(words, values * len(words) if len(values) == 1 else values, strict=False):
            found[name] = float(Fraction(value))
    assert found == {name: minutes / HOUR for name, minutes in DEFAULTS.items()}
