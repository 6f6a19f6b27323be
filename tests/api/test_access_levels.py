"""Who may call what: a row of ``access_levels`` for each request.

A request without a row fails; a row without a request waits for it. Callers send nothing: access is decided before
anything of a body is read, so whoever is refused is refused for what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from werkzeug.test import Client

import pandaserver.jobdispatcher.JobDispatcher
import pandaserver.taskbuffer.Utils
import pandaserver.userinterface.UserIF  # noqa: F401  declares requests, as the two above
from pandaserver.api.registry import REGISTRY, Door, Route
from tests.api.access_levels import LEGACY, LEVELS, V1, rows
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER, FakeTaskBuffer

CALLERS: Final = {"anonymous": {}, "limited": LIMITED, "user": USER, "pilot": PILOT, "production": PRODUCTION}


@dataclass(frozen=True, slots=True)
class Cell:
    """One caller at one door of one request."""

    route: Route
    door: Door
    name: str
    caller: str

    def __str__(self) -> str:
        return f"{self.door.value}-{self.name}-{self.caller}"


def cells() -> Iterator[tuple[Cell, bool]]:
    for route in REGISTRY:
        for door, name, table in ((Door.LEGACY, route.legacy, LEGACY), (Door.V1, route.v1, V1)):
            level = rows(table).get(name or "")
            if name is not None and level is not None:
                yield from ((Cell(route, door, name, caller), caller in LEVELS[level].split()) for caller in CALLERS)


CELLS: Final = list(cells())


def test_every_request_has_a_row() -> None:
    legacy = {route.legacy for route in REGISTRY if route.legacy}
    v1 = {route.v1 for route in REGISTRY if route.v1}
    assert legacy - rows(LEGACY).keys() == set()
    assert v1 - rows(V1).keys() == set()


@pytest.mark.parametrize(("cell", "admitted"), CELLS, ids=[str(cell) for cell, _ in CELLS])
def test_a_caller_passes_where_the_page_says_so(
    client: Client, task_buffer: FakeTaskBuffer, cell: Cell, admitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[bool] = []

    def bind(*_: object, **__: object) -> object:
        reached.append(True)
        raise KeyError("far enough")  # a bug as far as the application knows

    monkeypatch.setattr(type(cell.route.signature), "bind", bind)
    path = f"/server/panda/{cell.name}" if cell.door is Door.LEGACY else f"/api/v1/{cell.name}"
    method = "POST" if cell.route.method == "ANY" else cell.route.method
    reply = client.open(path, method=method, environ_overrides=CALLERS[cell.caller])
    assert (reached == [True]) is admitted, reply.text
    if not admitted:
        assert [name for name, _, _ in task_buffer.calls if name != "getBannedUsers"] == []
        assert reply.status_code == 200
        if cell.door is Door.V1:
            assert json.loads(reply.text)["success"] is False
