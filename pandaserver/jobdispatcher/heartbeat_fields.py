"""The parameters of a heartbeat as a table: name at each door, column, and how a value becomes one of that column.

Whatever a pilot says beside job and state is worth less than the heartbeat itself, and it cannot do better at the next
one: junk counts as absent, and characters that no database can store are replaced.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pandaserver.api.casting import repaired
from pandaserver.api.registry import AlsoText, Call, Lenient, Wire
from pandaserver.taskbuffer.FileSpec import FILE_TEXT_LIMITS
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS
from pandaserver.taskbuffer.requests import StatusReport

F = TypeVar("F", bound=Callable[..., Any])

INT_LIMIT: Final = 2**31 - 1
BIG_LIMIT: Final = 2**63 - 1

#: Largest I/O counter that is kept.
IO_LIMIT: Final = 9_999_999_999

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"

REQUIRED: Final = inspect.Parameter.empty

_LEAK: Final = re.compile(r"(?:^|\s)leak=(-?[\d.]+(?:[eE][+-]?\d+)?)(?=\s|$)")
_CHI2: Final = re.compile(r"(?:^|\s)chi2=(-?[\d.]+(?:[eE][+-]?\d+)?)(?=\s|$)")
_CHI2_LIMIT: Final = 99_999_999_999


def _whole(limit: int = BIG_LIMIT) -> Callable[[Any], Any]:
    return lambda value: int(value) if abs(value) <= limit else None


def _counter(value: float) -> int:
    return min(int(value), IO_LIMIT)


def _kilo_counter(value: float) -> int:
    return _counter(value // 1024)


def _text_of_int(value: int) -> str:
    return str(int(value))


def _time(value: str) -> datetime | None:
    if ":" not in value:  # pilots send seconds of the epoch, which never counted
        return None
    try:
        return datetime.strptime(value, TIME_FORMAT)
    except ValueError:
        return None


def _unsigned(value: int | str) -> int | None:
    """Return a pilot's error code; the sign of a text asks for a retry and is not part of the code."""
    try:
        code = int(value.strip().removeprefix("-")) if isinstance(value, str) else int(value)
    except ValueError:
        return None
    return code if abs(code) <= INT_LIMIT else None


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter. ``column`` None: something else becomes of it; ``blank`` is kept: an empty text clears."""

    v1: str
    legacy: str
    column: str | None
    kind: Any
    meaning: str
    cast: Callable[[Any], Any] | None = None
    keeps_blank: bool = False
    default: Any = None
    only: Literal["legacy", "v1"] | None = None
    read: Callable[[Any], Any] | None = None

    def parameter(self) -> inspect.Parameter:
        """Return this field as a keyword of a handler."""
        marks = () if self.default is REQUIRED else (Lenient, AlsoText)
        wire = Wire(self.legacy, read=self.read, only=self.only, read_v1=self.read)
        annotated: Any = Annotated
        hint = annotated[(self.kind, wire, self.meaning, *marks)]
        return inspect.Parameter(self.v1, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=hint)


def _text(v1: str, legacy: str, column: str | None, meaning: str, **more: Any) -> Field:
    return Field(v1, legacy, column, str | None, meaning, **more)


def _number(v1: str, legacy: str, column: str, meaning: str, cast: Callable[[Any], Any]) -> Field:
    return Field(v1, legacy, column, int | float | None, meaning, cast)


def _fraction(v1: str, legacy: str, column: str, meaning: str, limit: float, digits: int) -> Field:
    """``digits`` stand after the point in the column; rounding to them may carry a number over the limit."""

    def cast(value: float) -> float | None:
        rounded = round(value, digits)
        return rounded if abs(rounded) < limit else None

    return Field(v1, legacy, column, float | None, meaning, cast)


def _snake(name: str) -> str:
    return f"{name[:3]}_{name[3:].lower()}" if name[3:].isupper() else f"{name[:4]}_{name[4:].lower()}"


_MEMORY: Final = {
    f"{kind}{what}": f"kB, {words} {name}"
    for kind, words in (("max", "the most"), ("avg", "on average"))
    for what, name in (
        ("RSS", "resident memory"),
        ("VMEM", "virtual memory"),
        ("SWAP", "swap space"),
        ("PSS", "resident memory, shared pages divided among their users"),
    )
}
_TRAFFIC: Final = {
    "RCHAR": "bytes read by system calls",
    "WCHAR": "bytes written by system calls",
    "RBYTES": "bytes read from storage",
    "WBYTES": "bytes written to storage",
}
_RATE_NAMES: Final = frozenset(_snake(f"rate{what}") for what in _TRAFFIC)


def _time_of(v1: str, name: str, meaning: str) -> Field:
    return _text(v1, name, name, meaning, cast=_time, read=_text_or_nothing)


def _code_or_nothing(value: Any) -> Any:
    """Return an error code as it came, because text and number differ in what their sign means; junk is none."""
    if isinstance(value, str):
        return value if value.strip().removeprefix("-").isdecimal() else None
    return value if isinstance(value, int) else None


def _document(value: Any) -> Any:
    """Return the text of a document, also of one that came as what it describes, as payloads write it."""
    if isinstance(value, dict | list):
        return repaired(json.dumps(value))
    return value if isinstance(value, str) and value not in ("None", "NULL") else None


def _text_or_nothing(value: Any) -> Any:
    return value if isinstance(value, str) and value.isprintable() else None


_RATE_UNIT: Final = "kept as it is from the historical door, in kB from v1"
_STATE: Final = "running, starting, holding or transferring; finished or failed in the final report"
_REPORT: Final = (
    "JSON text: name of each output file -> guid, fsize, adler32 or md5sum, surl, endpoint; of a final report"
)
_META_DATA: Final = "job report of the payload; the first one is kept"
_RETRY: Final = "error of the pilot; a minus sign asks for another attempt"

FIELDS: Final[tuple[Field, ...]] = (
    Field("job_id", "jobId", None, int | None, "PandaID", default=REQUIRED),
    Field("job_status", "state", None, str, _STATE, default=REQUIRED),
    Field("attempt_nr", "attemptNr", None, int | None, "attempt of which this is a report"),
    Field("timeout", "timeout", None, int | None, "seconds that the caller waits", default=60),
    Field("job_output_report", "xml", None, str | None, _REPORT, default="", read=_document),
    Field("meta_data", "metaData", None, str | None, _META_DATA, default="", read=_document),
    Field("stdout", "stdout", None, str | None, "end of the payload's output, in debug mode", default=""),
    Field("pilot_log", "pilotLog", None, str | None, "lines for the server's log", default=""),
    _text("corrupted_files", "corruptedFiles", None, "inputs of a merge job that cannot be read, separated by commas"),
    _text("site_name", "siteName", None, "PanDA queue"),
    Field("token", "token", None, str | None, "of genPilotToken; none is needed", only="legacy"),
    _text("node", "node", "modificationHost", "worker node"),
    _text("scheduler_id", "schedulerID", "schedulerID", "who submitted the pilot"),
    _text("pilot_id", "pilotID", "pilotID", "log's URL|kind of batch system|kind of pilot|version"),
    _text("batch_id", "batchID", "batchID", "identifier in the batch system"),
    _text("pilot_timing", "pilotTiming", "pilotTiming", "seconds of getjob|stage-in|payload|stage-out|setup|..."),
    _text("cpu_consumption_unit", "cpuConsumptionUnit", "cpuConsumptionUnit", "unit of CPU time and model of the CPU"),
    _text("cpu_architecture_level", "cpu_architecture_level", "cpu_architecture_level", "such as x86_64-v3"),
    _text("job_sub_status", "jobSubStatus", "jobSubStatus", "what it does within its state"),
    _text(
        "job_metrics",
        "jobMetrics",
        "jobMetrics",
        "words of the form key=value; leak and chi2 are also columns",
    ),
    _text(
        "pilot_error_diag",
        "pilotErrorDiag",
        "pilotErrorDiag",
        "what went wrong; empty takes it back",
        keeps_blank=True,
    ),
    _text(
        "exe_error_diag",
        "exeErrorDiag",
        "exeErrorDiag",
        "what the payload says went wrong; empty takes it back",
        keeps_blank=True,
    ),
    _text("grid", "grid", "grid", "grid flavour"),
    _text("source_site", "source_site", "sourceSite", "where a glidein came from"),
    _text("destination_site", "destination_site", "destinationSite", "where a glidein went to"),
    _time_of("start_time", "startTime", "beginning of the payload in UTC: YYYY-MM-DD HH:MM:SS"),
    _time_of("end_time", "endTime", "end of the payload in UTC, in the same form"),
    Field(
        "pilot_error_code",
        "pilotErrorCode",
        "pilotErrorCode",
        int | str | None,
        _RETRY,
        _unsigned,
        read=_code_or_nothing,
    ),
    _number("trans_exit_code", "transExitCode", "transExitCode", "exit code of the payload", _text_of_int),
    _number("exe_error_code", "exeErrorCode", "exeErrorCode", "error of the payload", _whole(INT_LIMIT)),
    _number("cpu_consumption_time", "cpuConsumptionTime", "cpuConsumptionTime", "CPU time in seconds", _whole()),
    _fraction("cpu_conversion_factor", "cpuConversionFactor", "cpuConversion", "power of a core", 1e5, 4),
    _number("n_events", "nEvents", "nEvents", "events processed", _whole()),
    _number("n_input_files", "nInputFiles", "nInputFiles", "input files read", _whole(INT_LIMIT)),
    _number("core_count", "coreCount", "actualCoreCount", "cores that the payload uses", _whole(INT_LIMIT)),
    _fraction("mean_core_count", "meanCoreCount", "meanCoreCount", "cores used on average", 1e6, 2),
    *(_number(_snake(name), name, name, meaning, _whole()) for name, meaning in _MEMORY.items()),
    *(
        _number(_snake(f"tot{what}"), f"tot{what}", f"tot{what}", f"{meaning}; kept in kB", _kilo_counter)
        for what, meaning in _TRAFFIC.items()
    ),
    *(
        _number(_snake(f"rate{what}"), f"rate{what}", f"rate{what}", f"{meaning} in a second; {_RATE_UNIT}", _counter)
        for what, meaning in _TRAFFIC.items()
    ),
    # Sent by pilots, of no use here: the computing element comes from the worker table.
    *(
        Field(name.lower(), name, None, Any, "taken and not used", only="legacy")
        for name in ("timestamp", "workdir", "remainingSpace", "messageLevel", "computingElement")
    ),
)

_COLUMN_FIELDS: Final = tuple(field for field in FIELDS if field.column is not None)


def takes_heartbeat(handler: F) -> F:
    """Declare the fields as keyword parameters of a handler that takes them as ``**fields``."""
    parameters = [field.parameter() for field in FIELDS]
    call = inspect.Parameter("call", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Call)
    handler.__signature__ = inspect.Signature([call, *parameters])  # type: ignore[attr-defined]
    handler.__annotations__ = {"call": Call, **{p.name: p.annotation for p in parameters}}
    return handler


def report_of(fields: Mapping[str, Any], *, rates_in_bytes: bool = False, queue: str | None = None) -> StatusReport:
    """Return the heartbeat that the bound arguments of a request mean. v1 clients give rates in bytes.

    ``queue`` limits it to a job of that queue.
    """
    if rates_in_bytes:
        fields = {name: value // 1024 if value and name in _RATE_NAMES else value for name, value in fields.items()}
    columns = dict(_columns(fields))
    if "jobMetrics" in columns:
        columns |= _derived(fields["job_metrics"])
    code = fields.get("pilot_error_code")
    return StatusReport(
        PandaID=fields["job_id"],
        status=fields["job_status"],
        attempt_nr=fields.get("attempt_nr"),
        columns=columns,
        output_report=fields.get("job_output_report") or "",
        meta_data=fields.get("meta_data") or "",
        stdout=fields.get("stdout") or "",
        asks_retry=code is not None and str(code).strip().startswith("-"),
        corrupted_files=tuple(_names(fields.get("corrupted_files") or "")),
        queue=queue,
    )


def _names(text: str) -> Iterator[str]:
    """Yield names of files out of a list; one that is longer than any name is none."""
    return (name for name in text.split(",") if 0 < len(name) <= FILE_TEXT_LIMITS["lfn"])


def _columns(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for field in _COLUMN_FIELDS:
        value = fields.get(field.v1)
        if value is None or (value == "" and not field.keeps_blank):
            continue
        if field.cast is not None:
            value = field.cast(value)
        if isinstance(value, str):
            value = value[: JOB_TEXT_LIMITS[field.column or ""]] or None
        if value is not None or field.keeps_blank:
            found.append((field.column or "", value))
    return found


def _derived(metrics: str) -> dict[str, Any]:
    """Return the columns that stand inside the metrics of a job."""
    found: dict[str, Any] = {}
    leak, chi2 = _figure(_LEAK, metrics), _figure(_CHI2, metrics)
    if leak is not None:
        found["memory_leak"] = int(leak)
    if chi2 is not None:
        found["memory_leak_x2"] = max(-_CHI2_LIMIT, min(chi2, _CHI2_LIMIT))
    return found


def _figure(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    try:
        value = float(match[1]) if match else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < BIG_LIMIT else None
