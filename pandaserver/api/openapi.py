"""The requests as an OpenAPI 3.1 document, made from their declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pandaserver.api.casting import Kind, Upload
from pandaserver.api.parameters import REQUIRED, AtLeast, AtMost, Door, MaxLength, Parameter
from pandaserver.api.registry import LEGACY_PREFIX, V1_PREFIXES, Auth, Route
from pandaserver.taskbuffer.tickets import KEY_LIMIT

_TYPES: Final[dict[type, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}

#: What the reply of each family of encoders is.
_REPLIES: Final = {
    "pilot": ("text/plain", "A map that begins with StatusCode, as form text, or as JSON where Accept asks for it."),
    "plain": ("text/plain", "Text; True and False for a truth value."),
    "pickle": ("text/plain", "A pickle of protocol 0."),
    "json": ("application/json", "JSON text."),
}

_RETRY_AFTER: Final = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_REFUSAL: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Envelope"}}}

_COMPONENTS: Final[Mapping[str, Any]] = {
    "securitySchemes": {
        "certificate": {"type": "mutualTLS", "description": "X.509 certificate or VOMS proxy"},
        "token": {"type": "http", "scheme": "bearer", "description": "OIDC token; header Origin names VO and role"},
    },
    "schemas": {
        "Envelope": {
            "type": "object",
            "required": ["success", "message", "data"],
            "properties": {
                "success": {"type": "boolean", "description": "whether it was done"},
                "message": {"type": "string", "description": "why not, or a remark"},
                "data": {"description": "the result; a time is an object with the one key __datetime__"},
            },
        }
    },
    "parameters": {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": f"^[!-~]{{1,{KEY_LIMIT}}}$"},
            "description": "Chosen by the client for this request only, which is then executed once.",
        }
    },
    "responses": {
        "KeyInUse": {
            "description": "The first request with this Idempotency-Key is still at work; nothing was executed.",
            "headers": _RETRY_AFTER,
            "content": _REFUSAL,
        },
        "KeyReused": {
            "description": "The Idempotency-Key was used for another request; nothing was executed.",
            "content": _REFUSAL,
        },
        "TooMany": {
            "description": "The caller, or the address, asks too often; nothing was executed.",
            "headers": _RETRY_AFTER,
        },
        "Refused": {"description": "The token is not valid, or the user is banned.", "content": {"text/plain": {}}},
        "Unavailable": {
            "description": "The database did not do its part. With Retry-After nothing was executed.",
            "headers": _RETRY_AFTER,
        },
    },
}


def openapi_document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document that describes these requests at both doors."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for door, path in ((Door.V1, route.v1), (Door.LEGACY, route.legacy)):
            if path is not None:
                prefix = V1_PREFIXES[0] if door is Door.V1 else LEGACY_PREFIX
                paths[prefix + path] = {verb: _operation(route, door, path, verb) for verb in _verbs(route, door)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PanDA server",
            "version": "v1",
            "description": "Requests under /server/panda take both verbs, forms and JSON, and ignore unknown names.",
        },
        "paths": dict(sorted(paths.items())),
        "components": _COMPONENTS,
    }


def _verbs(route: Route, door: Door) -> Iterator[str]:
    if door is Door.LEGACY:
        yield "post"  # a GET means the same, and is not worth a second description
    elif route.method == "ANY":
        yield from ("get", "post")
    else:
        yield route.method.lower()


def _operation(route: Route, door: Door, path: str, verb: str) -> dict[str, Any]:
    summary, _, more = (line.strip() for line in route.doc.strip().partition("\n"))
    operation: dict[str, Any] = {
        "operationId": f"{door.value}.{path.replace('/', '.')}.{verb}",
        "tags": [path.partition("/")[0] if door is Door.V1 else "historical"],
        "summary": summary,
        "x-access": route.auth_at(door).value,
        "responses": _responses(route, door),
    }
    if more:
        operation["description"] = " ".join(more.split())
    if route.auth_at(door) is not Auth.ANYONE:
        operation["security"] = [{"certificate": []}, {"token": []}]
    offered = list(route.signature.at(door).items())
    if verb == "get":
        operation["parameters"] = [_query_parameter(name, p) for name, p in offered]
    elif offered:
        operation["requestBody"] = _body(offered, door)
    if verb == "post" and route.method != "GET":
        operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    return operation


def _query_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": parameter.required, "schema": _schema(parameter)}


def _body(offered: list[tuple[str, Parameter]], door: Door) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(p) for name, p in offered},
        "additionalProperties": door is Door.LEGACY,
    }
    required = [name for name, p in offered if p.required]
    if required:
        schema["required"] = required
    media = ["application/json", "application/x-www-form-urlencoded"]
    if any(Upload in p.kind.bases for _, p in offered):
        media = ["multipart/form-data"]
    return {"required": bool(required), "content": {name: {"schema": schema} for name in media}}


def _responses(route: Route, door: Door) -> dict[str, Any]:
    if door is Door.V1:
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Envelope"}}}
        done = {"description": "Done, or refused with success false.", "content": body}
    else:
        media, description = _REPLIES[route.answer.family]
        done = {"description": description, "content": {media: {}}}
    responses = {"200": done} | {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in (("403", "Refused"), ("429", "TooMany"))
    }
    if door is Door.V1 and route.method != "GET":
        responses["409"] = {"$ref": "#/components/responses/KeyInUse"}
        responses["422"] = {"$ref": "#/components/responses/KeyReused"}
    if route.needs_database:
        responses["503"] = {"$ref": "#/components/responses/Unavailable"}
    return responses


def _schema(parameter: Parameter) -> dict[str, Any]:
    # What a reader makes into objects of ours travels as text.
    read = parameter.wire.read_v1 or (parameter.wire.read if parameter.wire.only == "legacy" else None)
    schema: dict[str, Any] = {"type": "string"} if read else _type_schema(parameter.kind)
    if parameter.meaning:
        schema["description"] = parameter.meaning
    if parameter.default is not REQUIRED and parameter.default is not None:
        schema["default"] = parameter.default
    for limit in parameter.limits:
        match limit:
            case AtLeast(bound):
                schema["minimum"] = bound
            case AtMost(bound):
                schema["maximum"] = bound
            case MaxLength(bound):
                schema["maxItems" if parameter.kind.bases == (list,) else "maxLength"] = bound
    return schema


def _type_schema(kind: Kind) -> dict[str, Any]:
    if Upload in kind.bases:
        return {"type": "string", "contentMediaType": "application/octet-stream"}
    if object in kind.bases:
        return {}
    names = [_TYPES.get(base, "object") for base in kind.bases] + (["null"] if kind.optional else [])
    schema: dict[str, Any] = {"type": names[0] if len(names) == 1 else names}
    if list in kind.bases:
        schema["items"] = _type_schema(kind.element) if kind.element else {}
    return schema
