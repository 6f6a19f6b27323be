"""One row of ``access_rows`` as the bytes of a request, at either door."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.test import EnvironBuilder

from pandaserver.api.registry import Door, Route
from tests.api.access_row import Row


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes over the wire."""

    method: str
    path: str  # with the query
    body: bytes
    content_type: str


def sent(route: Route, door: Door, row: Row) -> Sent:
    """Return the request of a row."""
    if door is Door.LEGACY:
        fields = {route_name(route, name): _text(value) for name, value in row.fields.items()} | dict(row.legacy)
        return _built(f"/server/panda/{route.legacy}", "POST", data=_with_files(fields, row))
    path = f"/api/v1/{route.v1}"
    if route.method == "GET":
        query = {name: _text(value) if isinstance(value, bool) else value for name, value in row.fields.items()}
        return _built(path, "GET", query_string=query)
    if row.files:
        return _built(path, "POST", data=_with_files(dict(row.fields), row))
    return _built(path, "POST", data=json.dumps(row.fields), content_type="application/json")


def route_name(route: Route, name: str) -> str:
    """Return what a parameter is called at the historical door."""
    known = {parameter.name: parameter for parameter in route.signature.parameters}
    return known[name].name_at(Door.LEGACY) if name in known else name


def _with_files(fields: Mapping[str, Any], row: Row) -> dict[str, Any]:
    return {**fields, **{name: (io.BytesIO(content), file) for name, (file, content) in row.files.items()}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, bool) else json.dumps(value)


def _built(path: str, method: str, **content: Any) -> Sent:
    builder = EnvironBuilder(path, method=method, **content)
    environ = builder.get_environ()
    query = environ["QUERY_STRING"]
    body = environ["wsgi.input"].read() if method == "POST" else b""
    builder.close()
    return Sent(method, f"{path}?{query}" if query else path, body, environ.get("CONTENT_TYPE", ""))
