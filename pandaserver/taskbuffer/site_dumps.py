"""Sites, storage endpoints and queues as CRIC and Rucio describe them: from their documents to rows of our tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.site_rows import Reading, Rows, entries, fitting, is_active, read_entries, text

#: Widths of columns.
NAME: Final = 52
QUEUE: Final = 50
ENDPOINT_TYPE: Final = 20

GB: Final = 10**9

#: Scope of an endpoint that a queue's ``astorages`` names without one.
DEFAULT_SCOPE: Final = "default"

_NUCLEUS_POLICY: Final = "nucleus"

#: Role of an endpoint -> column of its order, column of its being the default.
_ROLES: Final = {"read_lan": ("order_read", "default_read"), "write_lan": ("order_write", "default_write")}

#: Column -> source of the numbers in Rucio, and which of them.
_SPACE: Final = {
    "space_total": ("storage", "total"),
    "space_free": ("storage", "free"),
    "space_used": ("storage", "used"),
    "space_expired": ("expired", "used"),
    "space_min_free": ("min_free_space", "used"),
    "space_unavailable": ("unavailable", "used"),
}


def read_sites(document: Any) -> Reading:
    """Return SITE rows of a site dump."""
    return read_entries(document, _site)


def _site(name: str, entry: Mapping[str, Any]) -> Rows:
    if not is_active(entry):
        return {}
    policies = entry.get("datapolicies") or []
    if not isinstance(policies, list):
        raise ValueError("datapolicies is no list")
    nucleus = any(str(policy).lower() == _NUCLEUS_POLICY for policy in policies)
    tier = whole("tier_level", entry.get("tier_level"))
    role = "nucleus" if nucleus else "satellite"
    return {(fitting("name", name, NAME),): {"role": role, "tier_level": tier, "state": "ACTIVE"}}


def read_endpoints(document: Any, blacklists: Mapping[str, frozenset[str]]) -> Reading:
    """Return DDM_ENDPOINT rows of an endpoint dump; ``blacklists``: column of the flag -> endpoints that have it."""

    def endpoint(name: str, entry: Mapping[str, Any]) -> Rows:
        if not is_active(entry):
            return {}
        values = {
            "site_name": text(entry, "site", NAME),
            "ddm_spacetoken_name": fitting("token", entry["token"], NAME) if entry.get("token") else None,
            "type": fitting("type", entry["type"], ENDPOINT_TYPE) if entry.get("type") else None,
            "is_tape": flag("is_tape", entry.get("is_tape")),
            **{column: "Y" if name in listed else "N" for column, listed in blacklists.items()},
        }
        return {(fitting("name", name, NAME),): values}

    return read_entries(document, endpoint)


def read_blacklist(document: Any) -> frozenset[str]:
    """Return the endpoints that a blacklist names; one whose entry is null or false is not on it."""
    named = dict.fromkeys(document, True) if isinstance(document, list) and _all_texts(document) else document
    found = dict(entries(named))
    # Whoever says that a service is down must not set everything free.
    odd = next((name for name, entry in found.items() if not isinstance(entry, (Mapping, bool, NoneType))), None)
    if odd is not None:
        raise ExternalError(f"{odd} is neither an object nor true, false or null")
    return frozenset(name for name, entry in found.items() if entry is not None and entry is not False)


def _all_texts(document: list[Any]) -> bool:
    return all(isinstance(entry, str) for entry in document)


def read_space(document: Any) -> Reading:
    """Return the columns of DDM_ENDPOINT that tell of space, in GB."""
    return read_entries(document, _space)


def _space(name: str, entry: Mapping[str, Any]) -> Rows:
    storage = entry.get("storage")
    if not isinstance(storage, Mapping):
        raise ValueError("has no storage")
    values: dict[str, Any] = {}
    for column, (source, number) in _SPACE.items():
        given = entry.get(source) or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"{source} is no object")
        size = whole(f"{source}.{number}", given.get(number))
        values[column] = None if size is None else size // GB
    values["space_timestamp"] = moment(storage["updated_at"]) if storage.get("updated_at") else None
    return {(name,): values}


def read_queue_sites(document: Any) -> Reading:
    """Return PANDA_SITE rows of a queue dump: which site each queue belongs to."""

    def queue_site(name: str, entry: Mapping[str, Any]) -> Rows:
        if not is_active(entry):
            return {}
        return {(fitting("name", name, QUEUE),): {"site_name": text(entry, "atlas_site", NAME)}}

    return read_entries(document, queue_site)


def read_relations(queues: Any, endpoints: Reading) -> Reading:
    """Return PANDA_DDM_RELATION rows: the endpoints of ``astorages`` of each queue that exist, in its order.

    A queue that names an endpoint whose own entry cannot be read stays as it is.
    """
    sites = {key[0]: values["site_name"] for key, values in endpoints.rows.items()}

    def relations(queue: str, entry: Mapping[str, Any]) -> Rows:
        if not is_active(entry):
            return {}
        site = text(entry, "atlas_site", NAME)
        rows: Rows = {}
        for role, scope, position, endpoint in _storages(entry.get("astorages")):
            if endpoint in endpoints.kept:
                raise ValueError(f"the endpoint {endpoint} cannot be read")
            if endpoint not in sites:
                continue
            row = rows.setdefault((fitting("name", queue, QUEUE), endpoint, scope), _relation(sites[endpoint] == site))
            order, default = _ROLES[role]
            if row[order] is None:
                row[order], row[default] = position, "Y" if position == 1 else "N"
                row["roles"] = f"{row['roles']},{role}".lstrip(",")
        return rows

    return read_entries(queues, relations)


def _storages(storages: Any) -> Iterator[tuple[str, str, int, str]]:
    """Yield role, scope, position from 1 on, and endpoint of what a queue says of its storage."""
    if not isinstance(storages or {}, Mapping):
        raise ValueError("astorages is no object")
    for key, names in sorted((storages or {}).items()):
        for role in _ROLES:
            if key != role and not key.startswith(f"{role}_"):
                continue
            scope = key[len(role) + 1 :] or DEFAULT_SCOPE
            if not isinstance(names, list):
                raise ValueError(f"{key} in astorages is no list")
            for position, name in enumerate(names, 1):
                yield role, fitting("scope", scope, NAME), position, fitting("endpoint", name, NAME)


def _relation(is_local: bool) -> dict[str, Any]:
    return {
        "is_local": "Y" if is_local else "N",
        "roles": "",
        "order_read": None,
        "order_write": None,
        "default_read": "N",
        "default_write": "N",
    }


def read_queues(document: Any, check: Callable[[str, Mapping[str, Any]], object]) -> Reading:
    """Return SCHEDCONFIG_JSON rows: each active queue as it is described, unchanged.

    ``check`` raises ValueError or TypeError for a queue that nobody could read from the table; it stays as it is.
    """

    def queue(name: str, entry: Mapping[str, Any]) -> Rows:
        if not is_active(entry):
            return {}
        try:
            check(name, entry)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return {(fitting("name", name, QUEUE),): {"data": canonical(entry)}}

    return read_entries(document, queue)


def read_tags(document: Any) -> Reading:
    """Return SW_TAGS rows: what software each queue has."""
    return read_entries(document, lambda name, entry: {(fitting("name", name, QUEUE),): {"data": canonical(entry)}})


def canonical(value: Any) -> str:
    """Return the one text that we write for a JSON value."""
    return json.dumps(value, sort_keys=True)


def whole(what: str, value: Any) -> int | None:
    """Return a whole number that a column of eight bytes can hold; None stays."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{what} is {value!r:.60}, which is no number")
    try:
        number = round(float(value)) if isinstance(value, (float, str)) else value
    except (ValueError, OverflowError):
        raise ValueError(f"{what} is {value!r:.60}, which is no number") from None
    if abs(number) >= 2**63:
        raise ValueError(f"{what} is too large")
    return number


def flag(what: str, value: Any) -> str:
    """Return Y or N."""
    if value in (None, False, "", "False", "N"):
        return "N"
    if value in (True, "True", "Y"):
        return "Y"
    raise ValueError(f"{what} is {value!r:.60}, neither true nor false")


def moment(value: Any) -> datetime:
    """Return a time of ISO 8601 as naive UTC."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.60} is no time")
    found = datetime.fromisoformat(value)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
