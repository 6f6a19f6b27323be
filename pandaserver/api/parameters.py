"""The parameters of a request: compiled once from a handler's signature, then filled from what arrived."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, Literal

from pandaserver.api.casting import Kind, WrongType, from_legacy, from_text, kind_of, repaired, strict
from pandaserver.srvcore.errors import BadRequest


class Door(Enum):
    """Which of the two interfaces a request came through."""

    LEGACY = "legacy"
    V1 = "v1"


# ---- what an annotation may carry besides the type and a sentence ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wire:
    """The parameter's name at the historical door, how to read its raw value there, and a door it is limited to.

    ``read_v1`` reads the raw value of v1, for the few parameters that are documents within a document there, too.
    A reader raises :class:`WrongType` or :class:`BadRequest` without the name of the parameter.
    """

    name: str | None = None
    read: Callable[[Any], Any] | None = None
    only: Literal["legacy", "v1"] | None = None
    read_v1: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The smallest number allowed."""

    limit: float


@dataclass(frozen=True, slots=True)
class AtMost:
    """The largest number allowed."""

    limit: float


@dataclass(frozen=True, slots=True)
class MaxLength:
    """The most characters of a text, or elements of a list."""

    limit: int


@dataclass(frozen=True, slots=True)
class Lenient:
    """Junk counts as absent: it is dropped and logged. Unreadable characters of a text are replaced."""


@dataclass(frozen=True, slots=True)
class AlsoText:
    """At v1 the value may come as text too, because a stock client sends it so."""


def words(text: str) -> list[str]:
    """Split a raw value at white space, for ``Wire(read=words)``."""
    if not isinstance(text, str):
        raise WrongType(type(text).__name__)
    return text.split()


def comma_separated(text: str) -> list[str]:
    """Split a raw value at commas, for ``Wire(read=comma_separated)``; blanks around a word do not count."""
    if not isinstance(text, str):
        raise WrongType(type(text).__name__)
    return [word.strip() for word in text.split(",") if word.strip()]


# ---- compiling -------------------------------------------------------------------------------------------------------

REQUIRED: Final = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a request."""

    name: str
    kind: Kind
    wire: Wire
    default: Any = REQUIRED
    limits: tuple[AtLeast | AtMost | MaxLength, ...] = ()
    lenient: bool = False
    also_text: bool = False
    meaning: str = ""

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is REQUIRED

    def name_at(self, door: Door) -> str:
        """Return the name by which one door knows the parameter."""
        return self.name if door is Door.V1 else self.wire.name or self.name

    def offered_at(self, door: Door) -> bool:
        """Return whether one door knows the parameter."""
        return self.wire.only in (None, door.value)


@dataclass(frozen=True, slots=True)
class Bound:
    """Arguments for the handler, and what a log should mention."""

    arguments: dict[str, Any]
    ignored: list[str] = field(default_factory=list)  # names nobody declared
    dropped: list[str] = field(default_factory=list)  # lenient parameters with junk


class Signature:
    """The compiled parameters of one handler."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = typing.get_type_hints(handler, include_extras=True)
        declared = list(inspect.signature(handler).parameters.values())[1:]  # the first is the Call
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in declared)
        self.parameters = tuple(_compiled(p, hints[p.name]) for p in declared if p.kind is not p.VAR_KEYWORD)
        self._names = {door: self._by_name(door, handler) for door in Door}

    def _by_name(self, door: Door, handler: Callable[..., Any]) -> dict[str, Parameter]:
        known: dict[str, Parameter] = {}
        for p in self.parameters:
            if p.offered_at(door):
                if p.name_at(door) in known:
                    raise ValueError(f"{handler.__qualname__}: two parameters are called {p.name_at(door)}")
                known[p.name_at(door)] = p
        return known

    def at(self, door: Door) -> Mapping[str, Parameter]:
        """Return the parameters of one door by the names they have there."""
        return self._names[door]

    def bind(self, door: Door, raw: Mapping[str, Any], *, typed: bool, forgiving: bool = False) -> Bound:
        """Return the arguments that a request means; ``typed`` says that it was JSON.

        A request that cannot be understood raises :class:`BadRequest` naming the parameter. ``forgiving`` takes every
        value as text, too, and junk as absent, unless the parameter is required.
        """
        known = self._names[door]
        bound = Bound({})
        unknown = raw.keys() - known.keys()
        if unknown and self.takes_any:
            bound.arguments.update((name, raw[name]) for name in unknown)
        elif unknown and door is Door.V1:
            raise BadRequest(f"Argument error: got an unexpected keyword argument '{min(unknown)[:100]}'")
        elif unknown:
            bound.ignored.extend(sorted(unknown))
        for name, parameter in known.items():
            if name not in raw:
                if parameter.required:
                    raise BadRequest(f"Argument error: missing a required argument: '{name}'")
                continue
            try:
                value = _value(parameter, door, raw[name], typed, forgiving)
                _check_limits(parameter, value)
            except (WrongType, BadRequest) as problem:
                if not parameter.lenient and (parameter.required or not forgiving):
                    raise _refusal(parameter, name, problem) from problem
                bound.dropped.append(name)
                continue
            bound.arguments[parameter.name] = value
        return bound


def _compiled(declared: inspect.Parameter, hint: Any) -> Parameter:
    marks: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, *rest = typing.get_args(hint)
        marks = tuple(m() if m in (Lenient, AlsoText) else m for m in rest)
    wire = next((m for m in marks if isinstance(m, Wire)), Wire())
    if wire.only and declared.default is REQUIRED:
        raise ValueError(f"parameter {declared.name} exists at one door only, so it needs a default")
    return Parameter(
        name=declared.name,
        kind=kind_of(hint),
        wire=wire,
        default=declared.default,
        limits=tuple(m for m in marks if isinstance(m, AtLeast | AtMost | MaxLength)),
        lenient=any(isinstance(m, Lenient) for m in marks),
        also_text=any(isinstance(m, AlsoText) for m in marks),
        meaning=next((m for m in marks if isinstance(m, str)), ""),
    )


# ---- reading one value -----------------------------------------------------------------------------------------------


def _value(parameter: Parameter, door: Door, raw: Any, typed: bool, forgiving: bool) -> Any:
    kind = parameter.kind
    if (parameter.lenient or forgiving) and isinstance(raw, str) and str in kind.bases:
        raw = repaired(raw)
    if door is Door.LEGACY:
        if raw is None:  # a client that sends null means that it has nothing to say
            if parameter.required and not kind.optional:
                raise WrongType("None")
            return parameter.default if not parameter.required else None
        if parameter.wire.read:
            return strict(kind, parameter.wire.read(raw))
        return from_legacy(kind, raw)
    if parameter.wire.read_v1:
        return strict(kind, parameter.wire.read_v1(raw))
    if not typed:
        return from_text(kind, raw)
    if parameter.also_text or forgiving:
        return from_legacy(kind, raw)
    return strict(kind, raw)


def _check_limits(parameter: Parameter, value: Any) -> None:
    if value is None:
        return
    for limit in parameter.limits:
        match limit:
            case AtLeast(bound) if isinstance(value, int | float) and value < bound:
                raise BadRequest(f"must be at least {bound:g}, got {value}")
            case AtMost(bound) if isinstance(value, int | float) and value > bound:
                raise BadRequest(f"must be at most {bound:g}, got {value}")
            case MaxLength(bound) if isinstance(value, Sized) and len(value) > bound:
                unit = "characters" if isinstance(value, str) else "elements"
                raise BadRequest(f"must have at most {bound} {unit}, got {len(value)}")


def _refusal(parameter: Parameter, name: str, problem: WrongType | BadRequest) -> BadRequest:
    if isinstance(problem, WrongType):
        return BadRequest(f"Type error: '{name}' must be of type {parameter.kind}, got {problem}.")
    return BadRequest(f"Argument error: '{name}' {problem.message}", **problem.details)
