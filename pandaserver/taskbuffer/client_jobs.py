"""Jobs as clients exchange them: states in pickles and JSON, and mappings by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.json_size import refuse_many_values
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_ATTRIBUTES, JobSpec
from pandaserver.taskbuffer.WrappedPickle import NULL, Record, loads

_MAX_INT: Final = 2**63 - 1
_TIME_FORMATS: Final = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S")


class _Unfit(Exception):
    """A value that an attribute cannot take."""


# ---- one value -------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _Unfit
    if "\0" in value:
        raise _Unfit
    value.encode()  # half of a surrogate pair raises a ValueError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, str):
        value = value.strip()
        number = int(value) if value.lstrip("+-").isdecimal() else int(_real(value))
    elif isinstance(value, int | float):
        number = int(value)
    else:
        raise _Unfit
    if not -_MAX_INT <= number <= _MAX_INT:
        raise _Unfit
    return number


def _real(value: Any) -> float:
    if not isinstance(value, str | int | float):
        raise _Unfit
    number = float(value)
    if not math.isfinite(number):
        raise _Unfit
    return number


def _time(value: Any) -> datetime:
    if isinstance(value, Mapping):
        value = value.get("_datetime_object")
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        for layout in _TIME_FORMATS:
            try:
                return datetime.strptime(value, layout)
            except ValueError:
                continue
    raise _Unfit


_READERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "str | None": ("str", _text),
    "int | None": ("int", _integer),
    "float | None": ("float", _real),
    "datetime | None": ("datetime", _time),
}


def _plan(spec: type, names: Sequence[str]) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    declared = {f.name: str(f.type) for f in fields(spec)}
    return tuple((name, *_READERS[declared[name]]) for name in names)


_JOB_PLAN: Final = _plan(JobSpec, JOB_ATTRIBUTES)
_FILE_PLAN: Final = _plan(FileSpec, FILE_ATTRIBUTES)


# ---- states ----------------------------------------------------------------------------------------------------------


def job_from_state(state: Sequence[Any], index: int = 0) -> JobSpec:
    """Return the job that a client's list of values means; ``index`` names the job in errors."""
    job = JobSpec()
    _fill(job, _JOB_PLAN, state, f"job {index}")
    files = _state_of(state[-1], "list", f"job {index}: the last element")
    for n, entry in enumerate(files):
        file = FileSpec()
        _fill(file, _FILE_PLAN, _state_of(entry, "FileSpec", f"job {index}, file {n}"), f"job {index}, file {n}")
        job.add_file(file)
    return job


def _state_of(value: Any, kind: str, place: str) -> Sequence[Any]:
    if isinstance(value, Record) and value.kind == kind:
        return value.state
    if isinstance(value, list):
        return value
    raise BadRequest(f"{place} must be a {kind}, not {type(value).__name__}")


def _fill(
    spec: JobSpec | FileSpec, plan: Sequence[tuple[str, str, Callable[[Any], Any]]], state: Sequence[Any], place: str
) -> None:
    if not state:
        raise BadRequest(f"{place} has no values")
    # The last element is not an attribute, and a client may lack the newest attributes.
    for (name, kind, read), value in zip(plan, state[:-1], strict=False):
        if value is None or value == NULL or value == "":
            continue
        if isinstance(value, Mapping) and "_datetime_object" not in value:
            break  # a server's own note of changed attributes stands between the values and the files
        try:
            setattr(spec, name, read(value))
        except (_Unfit, ValueError, OverflowError) as problem:
            shown = repr(value)[:60] if isinstance(value, str | int | float) else type(value).__name__
            raise BadRequest(f"{place}: attribute {name} must be {kind}, got {shown}") from problem


# ---- documents -------------------------------------------------------------------------------------------------------


def read_jobs(value: Any) -> list[JobSpec]:
    """Return the jobs in a client's pickle, or in JSON text or an array of job states.

    What is neither, or has an attribute of a wrong type, raises :class:`BadRequest` naming the job and the attribute.
    """
    if isinstance(value, str):
        value = read_json(value) if value.lstrip()[:1] == "[" else loads(value)
    if not isinstance(value, list):
        raise BadRequest(f"must be a list of jobs, not {type(value).__name__}")
    return [job_from_state(_state_of(v, "JobSpec", f"job {n}"), n) for n, v in enumerate(value)]


#: Values of a submission: 5000 jobs of 125 attributes, each with 70 files of 20.
MAX_VALUES: Final = 8_000_000


def read_json(text: str) -> Any:
    """Return the value of JSON text, or raise :class:`BadRequest`."""
    refuse_many_values(text, MAX_VALUES)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"is not JSON: {str(problem)[:200]}") from problem


def unpickled(expected: type) -> Callable[[Any], Any]:
    """Return a reader of parameters that are pickles of plain values, or the same values as JSON."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            value = read_json(value) if value.lstrip()[:1] in ("[", "{") else loads(value)
        if not isinstance(value, expected):
            raise BadRequest(f"must contain a {expected.__name__}, not {type(value).__name__}")
        return value

    return read


def read_ids(value: Any) -> list[int]:
    """Return the identifiers in a pickle, in JSON, or in a comma list; one identifier stands for a list of one."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] == "[":
            value = read_json(text)
        elif all(word.strip().isdecimal() for word in text.split(",")):
            value = text.split(",")
        else:
            value = loads(value)
    values = value if isinstance(value, list | tuple) else [value]
    try:
        return [_integer(v) for v in values]
    except (_Unfit, ValueError, OverflowError) as problem:
        raise BadRequest("must be a list of identifiers, and one of them is not a number") from problem


def job_as_mapping(job: JobSpec) -> dict[str, Any]:
    """Return a job by attribute names, as replies in JSON carry it; files are under ``Files``."""
    mapping: dict[str, Any] = {name: getattr(job, name) for name in JOB_ATTRIBUTES}
    mapping["Files"] = [{name: getattr(f, name) for name in FILE_ATTRIBUTES} for f in job.Files]
    return mapping


def job_as_state(job: JobSpec) -> list[Any]:
    """Return a job as the list of values that clients exchange in JSON."""
    state = [_outward(getattr(job, name)) for name in JOB_ATTRIBUTES]
    files = [[*(_outward(getattr(f, name)) for name in FILE_ATTRIBUTES), None] for f in job.Files]
    return [*state, files]


def _outward(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"_datetime_object": value.strftime(_TIME_FORMATS[0])}
    return NULL if value is None else value
