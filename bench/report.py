"""Measurements as lines that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.measuring import Measured
from bench.proc import CHILD, DATABASE, FRONT, WEB

_KINDS: Final = (FRONT, WEB, CHILD, DATABASE)

HEAD: Final = (
    f"{'':24}{'c':>3} {'done':>7} {'per s':>8} {'p50 ms':>8} {'p95':>8} {'p99':>8}  {'CPU ms':>7} = "
    f"{'Apache':>6} {'web':>6} {'child':>6} {'db':>6} {'client':>7}  {'bare/s':>8} {'p50 ms':>7} {'CPU':>6}"
)


def line(measured: Measured) -> str:
    """Return one row: rate, percentiles, CPU of one unit and where it went, and the same operation without web."""
    m = measured
    parts = " ".join(f"{m.cpu_ms.get(kind, 0.0):6.2f}" for kind in _KINDS)
    text = (
        f"{m.name:24}{m.concurrency:>3} {m.count:>7} {m.rate:>8.1f} {m.p50:>8.2f} {m.p95:>8.2f} {m.p99:>8.2f}  "
        f"{sum(m.cpu_ms.values()):>7.2f} = {parts} {m.client_ms:>7.3f}"
    )
    if m.bare:
        text += f"  {m.bare.rate:>8.1f} {m.bare.p50:>7.2f} {m.bare.cpu_ms:>6.2f}"
    if m.errors:
        text += "  " + "; ".join(f"{count} x {error}" for error, count in m.errors.items())
    return text


def ratios(results: Sequence[Measured]) -> list[str]:
    """Return every rate as a part of its limits: units and jobs a hello, its CPU time, and units without web."""
    lines = [f"{'':36}{'c':>3} {'hello/s':>8} {'per hello':>10} {'jobs/hello':>11} {'by CPU':>8} {'per bare':>9}"]
    for m in results:
        if not m.hello:
            continue
        cpu = m.jobs * m.hello_cpu_ms / (sum(m.cpu_ms.values()) or 1)
        bare = f"{m.rate / m.bare.rate:9.2f}" if m.bare and m.bare.rate else ""
        name = f"{m.backend} {m.name}"
        parts = f"{m.rate / m.hello:10.4f} {m.jobs * m.rate / m.hello:11.4f} {cpu:8.4f} {bare}"
        lines.append(f"{name:36}{m.concurrency:>3} {m.hello:8.0f} {parts}".rstrip())
    return lines
