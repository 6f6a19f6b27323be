"""The operator's page names every check and every metric, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from pandaserver.health.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
METRICS = ROOT / "pandaserver/server/metrics.py"
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")


def section(heading: str) -> str:
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_every_check_is_explained() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", section("Is everything in place?"), re.MULTILINE)
    assert [name.strip("`") for row in rows for name in row.split(", ")] == list(CHECKS)


def test_every_metric_is_explained() -> None:
    declared = re.findall(r'(Counter\w*|Gauge\w*|Histogram)\(\s*"(panda_\w+)"', METRICS.read_text("utf-8"))
    names = {f"{name}_total" if kind.startswith("Counter") else name for kind, name in declared}
    rows = re.findall(r"^\| (`panda_[^|]+`) \|", section("Metrics"), re.MULTILINE)
    explained = {name.strip("`") for row in rows for name in row.split(", ")}
    explained |= set(re.findall(r"`(panda_jobs_\w+)`", section("Metrics")))
    assert explained == names
