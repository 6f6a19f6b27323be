"""Replies that are pickles, read as the stock client reads them: by a plain unpickler, with classes of its own.

The expected value is what Python writes for it, with two patterns within: ``...`` matches anything, and a set of one
text matches what begins so. Jobs are compared by the places of their attributes in the state, as the protocol numbers
them.
"""

from __future__ import annotations

import ast
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Modules and classes in pickles of jobs.
_CLASSES: Final = {("pandaserver.taskbuffer.JobSpec", "JobSpec"), ("pandaserver.taskbuffer.FileSpec", "FileSpec")}

#: Attributes of a job and of a file on the wire; behind them stand the files of the job, and the job of the file.
JOB_ATTRIBUTES: Final = 126
FILE_ATTRIBUTES: Final = 22


class Spec:
    """A job or a file as its state."""

    state: list[Any]

    def __setstate__(self, state: list[Any]) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return Spec if (module, name) in _CLASSES else super().find_class(module, name)


def is_pickle(value: Any) -> bool:
    """Say whether a value of a case stands for a pickle."""
    return isinstance(value, dict) and value.keys() == {"pickle"}


def dumped(text: str) -> str:
    """Return the pickle of a value, in the protocol that clients send."""
    return pickle.dumps(ast.literal_eval(text), protocol=0).decode("ascii")


def mismatch(data: bytes, wanted: str) -> str:
    """Return what is wrong with a pickle, "" if it is as expected."""
    problem, found = read(data)
    return problem or ("" if _matches(found, ast.literal_eval(wanted)) else f"pickle of {found!r}")


def jobs_mismatch(data: bytes, wanted: Sequence[Mapping[str, Any] | None]) -> str:
    """Return what is wrong with pickled jobs: each is described by some places, and perhaps by its ``files``."""
    problem, found = read(data)
    if problem:
        return problem
    if not isinstance(found, list) or len(found) != len(wanted):
        return f"pickle of {found!r}"
    wrong = (_job_mismatch(one, described) for one, described in zip(found, wanted, strict=True))
    return "; ".join(filter(None, wrong))


def _job_mismatch(job: Any, wanted: Mapping[str, Any] | None) -> str:
    if wanted is None or job is None:
        return "" if job is wanted else f"{job!r} instead of {wanted!r}"
    if len(job.state) != JOB_ATTRIBUTES + 1:
        return f"{len(job.state)} elements in the state of a job"
    files = job.state[-1]
    for file in files:
        if len(file.state) != FILE_ATTRIBUTES + 1 or file.state[-1] is not job:
            return f"the state of a file is {file.state!r}"
    problem = _places_mismatch(job, {place: one for place, one in wanted.items() if place != "files"})
    if problem or "files" not in wanted:
        return problem
    if len(files) != len(wanted["files"]):
        return f"{len(files)} files"
    return "; ".join(filter(None, map(_places_mismatch, files, wanted["files"])))


def _places_mismatch(spec: Spec, wanted: Mapping[str, Any]) -> str:
    differing = {place: spec.state[int(place)] for place, one in wanted.items() if spec.state[int(place)] != one}
    return f"instead of {wanted}: {differing}" if differing else ""


def as_json(value: Any) -> Any:
    """Return tuples as lists, because a document has no other sequence."""
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def read(data: bytes) -> tuple[str, Any]:
    """Return what is wrong with a pickle as such, and its value."""
    if data[:1] == b"\x80":
        return f"no pickle of protocol 0: {data[:200]!r}", None
    try:
        return "", _Unpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as problem:
        return f"no pickle ({problem}): {data[:200]!r}", None


def _matches(found: Any, wanted: Any) -> bool:
    if wanted is ...:
        return True
    if isinstance(wanted, set):
        return isinstance(found, str) and found.startswith(next(iter(wanted)))
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_matches(found[key], one) for key, one in wanted.items())
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(_matches, found, wanted))
    return bool(found == wanted)
