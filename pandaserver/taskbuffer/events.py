"""What pilots ask about event ranges and are answered: plain values that cross the bridge."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RangeOrder:
    """One request for ranges. The job says which set it works on."""

    PandaID: int
    n_ranges: int = 10
    scattered: bool = False  # of any file, not one file after the other
    segment_id: int | None = None  # only of this dataset


@dataclass(frozen=True, slots=True)
class EventRange:
    """A range as a pilot gets it."""

    range_id: str
    first: int
    last: int
    lfn: str | None
    guid: str | None
    scope: str | None


@dataclass(frozen=True, slots=True)
class ZipFile:
    """The archive that has the outputs of ranges."""

    lfn: str
    store: int | None = None
    fsize: int | None = None
    checksum: str | None = None
    path_convention: int | None = None


@dataclass(frozen=True, slots=True)
class RangeReport:
    """What a pilot says about one range."""

    range_id: str
    status: str
    error_code: int | None = None
    error_diag: str | None = None
    store: int | None = None
    path_convention: int | None = None
    cores: int | None = None
    cpu_seconds: float | None = None
    zip_file: ZipFile | None = None


@dataclass(frozen=True, slots=True)
class RangesTaken:
    """Answers in the order of the reports: accepted, refused, or neither yet; and what each job is told."""

    returns: list[bool | None] = field(default_factory=list)
    commands: dict[int, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RangeState:
    """How one range of a job is."""

    status: str
    error: int | None
    dialog: str | None
