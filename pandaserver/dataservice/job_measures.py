"""What a job has made and consumed: output size, events, HS06 seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from xml.etree import ElementTree

from pandaserver.dataservice.output_report import ReportedFile
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.reports import JobMeasures

_MOST_BYTES: Final = 99_999_999_999
_MOST_HS06SEC: Final = 999_999_999
_CORES_IN_METRICS: Final = re.compile(r"(?:^|\s)coreCount=(\d+)")


def measure(job: JobSpec, report: Mapping[str, ReportedFile], power: float, now: datetime) -> JobMeasures:
    """Measure a job by its settled files, its reports and the power of one core of its queue."""
    outputs = [spec for spec in job.Files if spec.type == "output" and spec.status in ("ready", "transferring")]
    cores = _cores(job)
    hs06sec = None
    if job.startTime is not None:
        seconds = ((job.endTime or now) - job.startTime).total_seconds()
        hs06sec = min(max(0, int(seconds * power * cores)), _MOST_HS06SEC)
    return JobMeasures(
        nOutputDataFiles=len(outputs),
        outputFileBytes=min(sum(spec.fsize or 0 for spec in outputs), _MOST_BYTES),
        nEvents=_events(job, report),
        hs06=int(power * cores),
        hs06sec=hs06sec,
    )


def events_by_guid(metadata: str | None) -> dict[str, int]:
    """Return the events of each output that the payload's own report counts; without GUID under its number."""
    text = (metadata or "").lstrip()
    return _events_in_xml(text) if text.startswith("<") else _events_in_json(text)


def _events(job: JobSpec, report: Mapping[str, ReportedFile]) -> int:
    """Return what the payload says, else what the output report says, else what the pilot said."""
    counted = list(events_by_guid(job.metadata).values())
    if counted:
        return sum(counted)
    return max((entry.nevents for entry in report.values() if entry.nevents is not None), default=job.nEvents or 0)


def _cores(job: JobSpec) -> int:
    in_metrics = _CORES_IN_METRICS.search(job.jobMetrics or "")
    return job.actualCoreCount or (int(in_metrics[1]) if in_metrics else 0) or job.coreCount or 1


def _events_in_json(text: str) -> dict[str, int]:
    """Read ``files.output[].subFiles[]``; a report of another shape counts nothing."""
    found: dict[str, int] = {}
    try:
        subs: list[Mapping[str, Any]] = [s for o in json.loads(text)["files"]["output"] for s in o["subFiles"]]
        for number, sub in enumerate(subs):
            if sub.get("nentries") is not None:
                found[str(sub.get("file_guid") or number)] = int(sub["nentries"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _events_in_xml(text: str) -> dict[str, int]:
    """Read the ``events`` of each ``File``; a catalogue that cannot be parsed counts nothing."""
    if "<!ENTITY" in text:
        return {}
    found: dict[str, int] = {}
    try:
        for number, element in enumerate(ElementTree.fromstring(text).iter("File")):
            for item in element.iter("metadata"):
                if item.get("att_name") == "events":
                    found[element.get("ID") or str(number)] = int(item.get("att_value") or 0)
    except (ValueError, ElementTree.ParseError):
        return {}
    return found
