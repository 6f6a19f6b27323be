"""Pickles of old clients: read through an allow-list, written in the layout that they know.

A pickle is a program. Before it runs, every instruction is compared with the few that clients need, and the names it
may use stand for objects of ours that do nothing but check and keep what they are given.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_ATTRIBUTES, JobSpec

MAX_SIZE: Final = 64 * 2**20

#: Deepest nesting that data tuples can reach. A tuple may be hashed, and hashing recurses in C without a limit.
MAX_TUPLES: Final = 10_000

#: How to decode the byte strings of Python 2: its texts are UTF-8, and what is none comes back unchanged.
_PYTHON2_TEXT: Final = ("utf-8", "surrogateescape")

#: A byte that is not UTF-8, in text that was read as UTF-8.
_ESCAPED: Final = re.compile("[\udc80-\udcff]")

#: Where ours differs from what every stock client writes and reads.
NULL: Final = "NULL"

_GLOBALS: Final = (
    rb"(?:copy_reg|copyreg)\n_reconstructor|(?:__builtin__|builtins)\nobject"
    rb"|(?:pandaserver\.)?taskbuffer\.JobSpec\nJobSpec|(?:pandaserver\.)?taskbuffer\.FileSpec\nFileSpec"
    rb"|datetime\ndatetime|_codecs\nencode"
)

#: One instruction, or a run of instructions that need no further look. Anything else ends the reading. A run has an
#: end, because the matcher keeps a note of each instruction in it.
_INSTRUCTIONS: Final = re.compile(
    rb"p(?P<put>\d{1,9})\n"
    rb"|(?P<data_tuple>t(?!(?:p\d{1,9}\n)?R))"
    rb"|(?P<stop>\.)"
    rb"|(?:[(ldsabNRue\[\]})]"  # MARK LIST DICT SETITEM APPEND BUILD NONE REDUCE and the EMPTY and plural forms
    rb"|t(?=(?:p\d{1,9}\n)?R)"  # TUPLE of arguments
    rb"|g\d{1,9}\n|I-?\d{1,20}\n|L-?\d{1,40}L?\n|F[-+.\deinfa]{1,32}\n"
    rb"|V[^\n]*\n|S'[^\n]*'\n|S\"[^\n]*\"\n"
    rb"|c(?:" + _GLOBALS + rb")\n){1,500}"
)


class ForbiddenPickle(BadRequest):
    """The pickle contains what no client needs."""


# ---- objects that stand for the six names ----------------------------------------------------------------------------


class _Inert:
    """Something without attributes, so that a pickle can neither change it nor learn from it."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise ForbiddenPickle("the pickle changes an object of the server")


class _Class(_Inert):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Record:
    """The state of a job or file as it stood on the wire."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: list[Any] = []

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, list):
            raise ForbiddenPickle(f"the state of a {self.kind} must be a list, not {type(state).__name__}")
        self.state = state


class _Reconstructor(_Inert):
    __slots__ = ()

    def __call__(self, cls: object, base: object, state: object) -> Record:
        if cls not in (_JOB, _FILE) or base is not _OBJECT or state is not None:
            raise ForbiddenPickle("the pickle constructs something other than a job or a file")
        assert isinstance(cls, _Class)
        return Record(cls.name)


class _Encode(_Inert):
    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise ForbiddenPickle("the pickle encodes something other than text as latin1")
        return text.encode("latin-1")


class _Datetime(_Inert):
    __slots__ = ()

    def __call__(self, packed: object) -> datetime:
        if isinstance(packed, str):  # of a Python 2 client, decoded as its texts are
            packed = packed.encode(*_PYTHON2_TEXT)
        if not isinstance(packed, bytes) or len(packed) != 10:
            raise ForbiddenPickle("the pickle makes a time of something other than ten bytes")
        return datetime(packed)  # type: ignore[call-arg, arg-type]  # the constructor's form for pickles


_OBJECT: Final = _Class("object")
_JOB: Final = _Class("JobSpec")
_FILE: Final = _Class("FileSpec")

_RECONSTRUCTOR: Final = _Reconstructor()

#: Python 3 writes the Python 2 names of modules into protocol 0; both are accepted.
_NAMES: Final[dict[tuple[str, str], object]] = {
    ("copy_reg", "_reconstructor"): _RECONSTRUCTOR,
    ("copyreg", "_reconstructor"): _RECONSTRUCTOR,
    ("__builtin__", "object"): _OBJECT,
    ("builtins", "object"): _OBJECT,
    ("pandaserver.taskbuffer.JobSpec", "JobSpec"): _JOB,
    ("taskbuffer.JobSpec", "JobSpec"): _JOB,
    ("pandaserver.taskbuffer.FileSpec", "FileSpec"): _FILE,
    ("taskbuffer.FileSpec", "FileSpec"): _FILE,
    ("datetime", "datetime"): _Datetime(),
    ("_codecs", "encode"): _Encode(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _NAMES[module_name, global_name]
        except KeyError:
            raise ForbiddenPickle(f"the pickle names {module_name}.{global_name}") from None


# ---- reading ---------------------------------------------------------------------------------------------------------


def loads(text: str | bytes, *, max_size: int = MAX_SIZE) -> Any:
    """Return what a protocol 0 pickle of a client contains; jobs and files come as :class:`Record`.

    Whatever is not such a pickle raises :class:`BadRequest`, before anything of it has run.
    """
    try:
        data = _as_bytes(text) if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise ForbiddenPickle("the pickle contains characters that protocol 0 does not have") from None
    if len(data) > max_size:
        raise BadRequest(f"the pickle is larger than {max_size} bytes")
    _check_instructions(data)
    try:
        return _Unpickler(io.BytesIO(data), encoding=_PYTHON2_TEXT[0], errors=_PYTHON2_TEXT[1]).load()
    except BadRequest:
        raise
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError) as problem:
        raise BadRequest(f"the pickle cannot be read: {problem}") from problem


def _as_bytes(text: str) -> bytes:
    """Return the bytes of a pickle that came as text: those above 127 stand for letters, and for times.

    Forms are read as UTF-8, which such bytes hardly ever are, and then they are there as halves of surrogate pairs.
    """
    return text.encode(errors="surrogateescape") if _ESCAPED.search(text) else text.encode("latin-1")


def _check_instructions(data: bytes) -> None:
    if data[:1] == b"\x80":
        raise ForbiddenPickle("the pickle is of protocol 2 or later; only protocol 0 is read")
    puts = tuples = end = 0
    for found in _INSTRUCTIONS.finditer(data):
        if found.start() != end:
            break
        end = found.end()
        match found.lastgroup:
            case "put":
                puts += 1
                # Clients count up from 0 or 1. A large number would make the unpickler reserve memory for it.
                if int(found["put"]) > puts + 1000:
                    raise ForbiddenPickle(f"the pickle has an object number out of order at byte {found.start()}")
            case "data_tuple":
                tuples += 1
                if tuples > MAX_TUPLES:
                    raise ForbiddenPickle(f"the pickle contains more than {MAX_TUPLES} tuples")
            case "stop":
                return
    raise ForbiddenPickle(f"the pickle has a forbidden or incomplete instruction at byte {end}")


# ---- writing ---------------------------------------------------------------------------------------------------------


def dump_for_clients(value: Any) -> bytes:
    """Return a protocol 0 pickle of plain values, jobs and files, with the names and layout that clients know."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=0)
        self._owners: dict[int, JobSpec] = {}

    def reducer_override(self, obj: Any, /) -> Any:
        match obj:
            case JobSpec():
                self._owners.update((id(f), obj) for f in obj.Files)
                state = [_outward(getattr(obj, name)) for name in JOB_ATTRIBUTES]
                return _rebuilt_by_clients(JobSpec, [*state, list(obj.Files)])
            case FileSpec():
                state = [_outward(getattr(obj, name)) for name in FILE_ATTRIBUTES]
                return _rebuilt_by_clients(FileSpec, [*state, self._owners.get(id(obj))])
            case Decimal():
                return (int, (int(obj),)) if obj == obj.to_integral_value() else (float, (float(obj),))
            case str():  # an enumeration or another text of ours
                return str, (str.__str__(obj),)
            case datetime() | bytes() | type():
                return NotImplemented
        if obj is copyreg._reconstructor:  # type: ignore[attr-defined]
            return NotImplemented
        if getattr(obj, "__module__", None) == "_codecs":  # encode, by which protocol 0 writes bytes
            return NotImplemented
        raise TypeError(f"old clients cannot be sent {type(obj).__name__}")


def _rebuilt_by_clients(cls: type, state: list[Any]) -> tuple[Callable[..., Any], tuple[Any, ...], list[Any]]:
    return copyreg._reconstructor, (cls, object, None), state  # type: ignore[attr-defined]


def _outward(value: Any) -> Any:
    if value is None:
        return NULL
    return str.__str__(value) if isinstance(value, str) else value  # a state of ours is an enumeration
