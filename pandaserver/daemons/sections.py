"""Scripts of several independent sections: one that fails is logged and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pandacommon.pandalogger.logger_utils import dump_error_message
from pandacommon.pandalogger.LogWrapper import LogWrapper

Section = Callable[[], int]


def run_sections(log: LogWrapper, sections: Mapping[str, Section]) -> dict[str, int]:
    """Run the sections in order and return what each that ended well has counted; one line tells everything."""
    counts: dict[str, int] = {}
    failed: list[str] = []
    for name, section in sections.items():
        try:
            counts[name] = section()
        except Exception as error:  # noqa: BLE001 - the boundary of a section
            dump_error_message(log, f"section {name} failed error={error!r}")
            failed.append(name)
    told = " ".join(f"{name.replace(' ', '_')}={count}" for name, count in counts.items())
    log.info(f"done {told}" + (f" failed={','.join(failed)}" if failed else ""))
    return counts
