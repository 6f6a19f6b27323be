"""Every door of every request, with its level and its rows."""

from __future__ import annotations

from dataclasses import dataclass

from pandaserver.api.registry import Door, Route
from pandaserver.server.request_pages import declared_requests
from tests.api.access_levels import LEGACY, V1, rows
from tests.api.access_row import Row
from tests.api.access_rows import ROWS

ROUTES = declared_requests()


@dataclass(frozen=True, slots=True)
class Place:
    """One door of one request."""

    route: Route
    door: Door

    @property
    def name(self) -> str:
        """Return the name at that door."""
        return (self.route.v1 if self.door is Door.V1 else self.route.legacy) or ""

    @property
    def level(self) -> str:
        """Return the level by the pages, "" for a name that stands in no table."""
        return rows(V1 if self.door is Door.V1 else LEGACY).get(self.name, "")

    def __str__(self) -> str:
        return f"{self.door.value}-{self.name}"


PLACES = [
    Place(route, door)
    for route in ROUTES
    for door, name in ((Door.LEGACY, route.legacy), (Door.V1, route.v1))
    if name is not None
]


def rows_of(route: Route) -> list[Row]:
    """Return the rows of a request."""
    return [row for row in ROWS if row.name in (route.v1, route.legacy)]
