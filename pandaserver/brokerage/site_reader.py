"""Rows of the site configuration -> SiteSpecs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pandaserver.taskbuffer.SiteSpec import NO_ENDPOINTS, Endpoints, RelationRow, SiteRows, SiteSpec

#: Roles that an endpoint needs to serve a direction.
READ_ROLE: Final = "read_lan"
WRITE_ROLE: Final = "write_lan"

_NUMBERS: Final = (
    "memory minrss maxrss meanrss mintime maxtime maxinputsize maxdiskio space pledgedcpu transferringlimit".split()
)
_TEXTS: Final = (
    "region resource_type workflow capability harvester jobseed fairsharepolicy priorityoffset wnconnectivity".split()
)
_SWITCHES: Final = "direct_access_lan direct_access_wan".split()

#: Scratch space of a queue that names none, and what it needs beside its input: MB.
SCRATCH_WITHOUT_LIMIT: Final = 16336
SCRATCH_BESIDE_INPUT: Final = 2000


def read_sites(rows: SiteRows) -> tuple[dict[str, SiteSpec], list[str]]:
    """Return the queues by name, and a finding for each row that describes none."""
    relations: dict[str, list[RelationRow]] = {}
    for relation in rows.relations:
        relations.setdefault(relation.queue, []).append(relation)
    sites: dict[str, SiteSpec] = {}
    findings: list[str] = []
    for name, text in rows.queues:
        try:
            data = json.loads(text or "null")
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
            sites[name] = site_from(name, data, rows.owners.get(name, ""), rows.nuclei, relations.get(name, ()))
        except (ValueError, TypeError) as error:
            findings.append(f"queue {name}: {error}")
    return sites, findings


def site_from(
    name: str,
    data: Mapping[str, Any],
    owner: str = "",
    nuclei: frozenset[str] = frozenset(),
    relations: Iterable[RelationRow] = (),
) -> SiteSpec:
    """Return the queue that one JSON object of SCHEDCONFIG_JSON describes; ValueError names an unreadable field."""
    site = owner or str(data.get("atlas_site") or "")
    clouds = [c.strip() for c in str(data.get("cloud") or "").split(",") if c.strip()]
    links = list(relations)
    fields: dict[str, Any] = {
        **{key: _whole(data, key) for key in _NUMBERS},
        **{key: str(data[key]) if data.get(key) else None for key in _TEXTS},
        **{key: data.get(key) in (True, "True") for key in _SWITCHES},
    }
    return SiteSpec(
        sitename=name,
        nickname=str(data.get("nickname") or name),
        site=site,
        type=str(data.get("type") or "production"),
        status=str(data.get("status") or "offline"),
        cloud=clouds[0] if clouds else "WORLD",
        nucleus=site if site in nuclei else None,
        corecount=_whole(data, "corecount") or 1,
        corepower=_real(data, "corepower"),
        coreenergy=_real(data, "coreenergy"),
        maxwdir=_scratch(data),
        pilot_owners=_words(data.get("dn"), "|"),
        catchall=_words(data.get("catchall"), ","),
        resource_type_limits=_limits(data),
        input_endpoints=_endpoints(links, reading=True),
        output_endpoints=_endpoints(links, reading=False),
        **fields,
    )


def _whole(data: Mapping[str, Any], key: str) -> int:
    return int(_real(data, key))


def _real(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if value in (None, ""):
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} is {value!r}, which is not a number")
    return number


def _scratch(data: Mapping[str, Any]) -> int:
    try:
        scratch = _whole(data, "maxwdir")
    except ValueError:
        scratch = 0
    if scratch > 0:
        return scratch
    most_input = _whole(data, "maxinputsize")
    return most_input + SCRATCH_BESIDE_INPUT if most_input > 0 else SCRATCH_WITHOUT_LIMIT


def _words(text: Any, separator: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in str(text or "").split(separator) if word.strip())


def _limits(data: Mapping[str, Any]) -> dict[str, int]:
    uconfig = data.get("uconfig") or {}
    limits = uconfig.get("resource_type_limits") if isinstance(uconfig, Mapping) else None
    if not isinstance(limits or {}, Mapping):
        raise ValueError(f"resource_type_limits is {limits!r}, which is no object")
    try:
        return {str(kind): int(limit) for kind, limit in (limits or {}).items()}
    except OverflowError:
        raise ValueError(f"resource_type_limits is {limits!r}, which has no end") from None


def _endpoints(relations: Iterable[RelationRow], *, reading: bool) -> dict[str, Endpoints]:
    """Return the usable endpoints by scope, sorted by what the configuration prefers."""
    role = READ_ROLE if reading else WRITE_ROLE
    by_scope: dict[str, list[RelationRow]] = {}
    for relation in relations:
        blacklisted = relation.blacklisted_read if reading else relation.blacklisted_write
        if role in _words(relation.roles, ",") and not blacklisted:
            by_scope.setdefault(relation.scope, []).append(relation)
    return {scope: _sorted_endpoints(found, reading=reading) for scope, found in by_scope.items()}


def _sorted_endpoints(relations: list[RelationRow], *, reading: bool) -> Endpoints:
    def preference(relation: RelationRow) -> tuple[bool, int, str]:
        is_default = relation.default_read if reading else relation.default_write
        order = relation.order_read if reading else relation.order_write
        return not is_default, order, relation.endpoint

    ordered = sorted(relations, key=preference)
    if not ordered:
        return NO_ENDPOINTS
    by_token: dict[str, str] = {}
    for relation in sorted(ordered, key=lambda r: r.order_read if reading else r.order_write):
        if relation.token:
            by_token.setdefault(relation.token, relation.endpoint)
    return Endpoints(
        names=tuple(relation.endpoint for relation in ordered),
        by_token=by_token,
        tapes=frozenset(relation.endpoint for relation in ordered if relation.is_tape),
    )
