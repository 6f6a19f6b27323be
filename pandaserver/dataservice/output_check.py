"""Holding a report against the files that a job promised: what becomes of each file, and whether the job is good."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Final

from pandaserver.dataservice.output_report import ReportedFile
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.job_flags import CONSUMERS
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS

_OUTPUTS: Final = ("output", "log")
_NUMBERED: Final = re.compile(r"(.+)_\d+")
_PATTERN_PREFIX: Final = "regex|"


@dataclass(slots=True)
class CheckedOutput:
    """The files after the check. ``problem`` says what makes the job fail, if anything."""

    changed: list[FileSpec] = field(default_factory=list)
    added: list[FileSpec] = field(default_factory=list)
    problem: str | None = None

    def fail(self, problem: str) -> None:
        """Keep the first problem."""
        self.problem = self.problem or problem

    def spoil(self, problem: str) -> None:
        """Give up all outputs."""
        self.fail(problem)
        for spec in (*self.changed, *self.added):
            if spec.type in _OUTPUTS:
                spec.status = "failed"


def check_output(job: JobSpec, good: bool, report: Mapping[str, ReportedFile]) -> CheckedOutput:
    """Apply a report to copies of the job's files. ``good``: the pilot reported success.

    A failed job keeps its log only. A missing output fails the job unless its token ``an`` allows that. A name that
    the job did not promise fails it too, unless it extends a promised one (``<name>_<digits>``, ``regex|<pattern>``).
    """
    checked = CheckedOutput()
    known = {spec.lfn for spec in job.Files}
    extras = {lfn: _stem_of(job, lfn) for lfn in report.keys() - known} if good else {}
    stems = {spec.lfn for spec in extras.values() if spec is not None}
    for spec in job.Files:
        entry = report.get(spec.lfn or "")
        if spec.type in _OUTPUTS:
            if good and entry is None and spec.type == "output" and job.eventService in CONSUMERS:
                continue  # what its event ranges made is for a merge job to turn into this file
            _check_promised(checked, copy(spec), entry, good, optional=spec.lfn in stems)
        elif entry is not None:
            unread = copy(spec)
            unread.status = "skipped" if job.prodSourceLabel in ANALYSIS_LABELS else "failed"
            checked.changed.append(unread)
    for lfn, stem in sorted(extras.items()):
        if stem is None:
            checked.fail(f"the report names {lfn}, which the job did not promise")
            continue
        extra = copy(stem)
        extra.row_ID, extra.lfn = None, lfn
        _accept(checked, extra, report[lfn], good)
        checked.added.append(extra)
    if good and checked.problem:
        checked.spoil(checked.problem)
    return checked


def _check_promised(
    checked: CheckedOutput, spec: FileSpec, entry: ReportedFile | None, good: bool, optional: bool
) -> None:
    checked.changed.append(spec)
    if not good and spec.type == "output":
        spec.status = "failed"
    elif entry is not None:
        _accept(checked, spec, entry, good)
    elif not good:
        spec.status = "failed"
    elif optional or spec.status == "nooutput" or "an" in (spec.dispatchDBlockToken or "").split(","):
        spec.status = "nooutput"
    else:
        spec.status = "failed"
        checked.fail(f"the report lacks {spec.lfn}")


def _accept(checked: CheckedOutput, spec: FileSpec, entry: ReportedFile, good: bool) -> None:
    if entry.fsize is None or entry.checksum is None:
        spec.status = "failed"
        if good:
            checked.fail(f"the report has no {'size' if entry.fsize is None else 'checksum'} of {entry.lfn}")
        return
    spec.status = "ready"
    spec.fsize, spec.md5sum, spec.checksum = entry.fsize, entry.md5sum, entry.checksum
    spec.GUID = entry.guid or spec.GUID
    spec.lfn = entry.full_lfn or spec.lfn


def _stem_of(job: JobSpec, lfn: str) -> FileSpec | None:
    """Return the promised output whose name an unpromised one extends."""
    numbered = _NUMBERED.fullmatch(lfn)
    for spec in job.Files:
        name = spec.lfn or ""
        if spec.type != "output":
            continue
        if numbered and numbered[1] == name:
            return spec
        if name.startswith(_PATTERN_PREFIX) and re.fullmatch(name.removeprefix(_PATTERN_PREFIX), lfn):
            return spec
    return None
