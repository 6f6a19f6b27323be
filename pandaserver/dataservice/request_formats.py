"""Requests that travel as files: what the web server writes into the cache directory, and a daemon script reads."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"

#: Texts of an event-picking request, in the order of the file.
EVENT_PICKING_KEYS: Final = (
    "userName",
    "creationTime",
    "eventPickDataType",
    "eventPickStreamName",
    "eventPickDS",
    "eventPickAmiTag",
    "eventPickNumSites",
    "userTaskName",
    "userDatasetName",
    "lockedBy",
    "params",
    "inputFileList",
    "ei_api",
)

_RUN_EVENT: Final = "runEvent"
_GUIDS: Final = "runEvtGuidMap"

#: Longest text of one value, and events that one request may name.
_LONGEST: Final = 2**20
MOST_EVENTS: Final = 1_000_000

RunEvent = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EventPickingRequest:
    """Which events a user wants. ``texts`` are the values under the keys of the file."""

    texts: Mapping[str, str]
    run_events: tuple[RunEvent, ...]
    guids: Mapping[RunEvent, Sequence[str]] = field(default_factory=dict)

    @property
    def user(self) -> str:
        """DN of who asked."""
        return self.texts["userName"]

    @property
    def about(self) -> str:
        """What it is about, in a few words."""
        dataset = self.texts.get("userDatasetName")
        return f"{len(self.run_events)} events" + (f" for {dataset}" if dataset else "")


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """Lost files to be made again. ``options`` are the keys of the file beside these."""

    user: str  # DN
    creation_time: str
    options: Mapping[str, Any]

    @property
    def about(self) -> str:
        """What it is about, in a few words."""
        what = self.options.get("ds") or f"task {self.options.get('jediTaskID')}"
        return f"lost files of {what}"


@dataclass(frozen=True, slots=True)
class WorkflowRequest:
    """A workflow to be run, or only checked."""

    user: str  # DN
    creation_time: str
    data: Mapping[str, Any]

    @property
    def about(self) -> str:
        """What it is about, in a few words."""
        outputs = self.data.get("outDS")
        return f"workflow with outputs in {outputs}" if outputs else "workflow"


def now_text(now: datetime) -> str:
    """Return a creation time as the files have it."""
    return now.strftime(TIME_FORMAT)


def event_lines(text: str, with_guids: bool) -> tuple[tuple[RunEvent, ...], dict[RunEvent, list[str]]]:
    """Return the events, and the files they are in, of a list as users write them; odd lines are skipped."""
    events: list[RunEvent] = []
    guids: dict[RunEvent, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == (3 if with_guids else 2):
            event = (words[0], words[1])
            events.append(event)
            if with_guids:
                guids.setdefault(event, []).append(words[2])
    if len(events) > MOST_EVENTS:
        raise BadRequest(f"there are {len(events)} events, and at most {MOST_EVENTS} are allowed")
    return tuple(events), guids


def write_event_picking(request: EventPickingRequest) -> str:
    """Return the text of the file."""
    lines = []
    for key in EVENT_PICKING_KEYS:
        value = request.texts.get(key, "")
        if len(value) > _LONGEST or value.splitlines() not in ([], [value]):
            raise BadRequest(f"{key} must be one line of at most {_LONGEST} characters")
        lines.append(f"{key}={value}")
    lines += [f"{_RUN_EVENT}={run},{event}" for run, event in request.run_events]
    lines.append(f"{_GUIDS}={dict(request.guids)!r}")
    return "\n".join(lines) + "\n"


def read_event_picking(text: str) -> EventPickingRequest:
    """Read the file; raise BadRequest if it is none."""
    texts: dict[str, str] = {}
    events: list[RunEvent] = []
    guids: dict[RunEvent, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if key == _RUN_EVENT:
            run, _, event = value.partition(",")
            events.append((run, event))
        elif key == _GUIDS:
            guids = _guids(value)
        elif equals:
            texts.setdefault(key, value)
    if not texts.get("userName"):
        raise BadRequest("the file does not say who asks (userName)")
    return EventPickingRequest(texts, tuple(events), guids)


def _guids(text: str) -> dict[RunEvent, list[str]]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadRequest(f"{_GUIDS} is unreadable: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest(f"{_GUIDS} is no map")
    return found


def write_recovery(request: RecoveryRequest) -> str:
    """Return the text of the file."""
    return json.dumps({"userName": request.user, "creationTime": request.creation_time, **request.options})


def read_recovery(text: str) -> RecoveryRequest:
    """Read the file; raise BadRequest if it is none."""
    content = _json_map(text)
    return RecoveryRequest(str(content.pop("userName")), str(content.pop("creationTime", "")), content)


def write_workflow(request: WorkflowRequest) -> str:
    """Return the text of the file."""
    return json.dumps({"userName": request.user, "creationTime": request.creation_time, "data": request.data})


def read_workflow(text: str) -> WorkflowRequest:
    """Read the file; raise BadRequest if it is none."""
    content = _json_map(text)
    data = content.get("data")
    if not isinstance(data, dict):
        raise BadRequest("the file has no map under data")
    return WorkflowRequest(str(content["userName"]), str(content.get("creationTime", "")), data)


def _json_map(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the file is no JSON: {error}") from error
    if not isinstance(content, dict) or not content.get("userName"):
        raise BadRequest("the file does not say who asks (userName)")
    return content
