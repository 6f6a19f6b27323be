"""Queues, shares and resource types: reading them for the caches, and replacing them for operators."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.SiteSpec import QueueLoad, RelationRow, SiteRows
from pandaserver.taskbuffer.transaction import Transaction

QUEUES: Final = "SELECT panda_queue, data FROM ATLAS_PANDA.schedconfig_json ORDER BY panda_queue"

OWNERS: Final = """
    SELECT p.panda_site_name, p.site_name, s.role
    FROM ATLAS_PANDA.panda_site p LEFT JOIN ATLAS_PANDA.site s ON s.site_name = p.site_name
"""

RELATIONS: Final = """
    SELECT r.panda_site_name, r.ddm_endpoint_name, r.scope, r.roles, e.ddm_spacetoken_name,
           r.order_read, r.order_write, r.default_read, r.default_write,
           e.is_tape, e.blacklisted_read, e.blacklisted_write
    FROM ATLAS_PANDA.panda_ddm_relation r
    JOIN ATLAS_PANDA.ddm_endpoint e ON e.ddm_endpoint_name = r.ddm_endpoint_name
    ORDER BY r.panda_site_name, r.ddm_endpoint_name
"""

ENDPOINTS: Final = """
    SELECT ddm_endpoint_name, site_name, ddm_spacetoken_name, type, is_tape
    FROM ATLAS_PANDA.ddm_endpoint ORDER BY ddm_endpoint_name
"""

OWNER_EXISTS: Final = "SELECT site_name FROM ATLAS_PANDA.site WHERE site_name = :site_name"

SHARES: Final = """
    SELECT name, value, parent, prodSourceLabel, workingGroup, campaign, processingType, vo, queue_ID, throttled,
           transpath, rtype
    FROM ATLAS_PANDA.Global_Shares ORDER BY name
"""

RESOURCE_TYPES: Final = """
    SELECT resource_name, mincore, maxcore, minrampercore, maxrampercore
    FROM ATLAS_PANDA.Resource_Types ORDER BY resource_name
"""

DELETE_SHARES: Final = "DELETE FROM ATLAS_PANDA.Global_Shares"

DELETE_RESOURCE_TYPES: Final = "DELETE FROM ATLAS_PANDA.Resource_Types"

QUEUED: Final = """
    SELECT computingSite, COUNT(*) FROM ATLAS_PANDA.jobsDefined4
    WHERE computingSite IS NOT NULL GROUP BY computingSite
"""

ACTIVE: Final = """
    SELECT computingSite, jobStatus, COUNT(*) FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus IN (:statuses[]) GROUP BY computingSite, jobStatus
"""

_WAITING_FOR_SLOT: Final = ("activated", "throttled")
_WITH_SLOT: Final = ("sent", "starting", "stagein", "running", "stageout")


@operation(timeout=60, repeatable=True)
def load_sites(tx: Transaction) -> SiteRows:
    """Return the whole site configuration."""
    owners = tx.rows(OWNERS)
    return SiteRows(
        queues=tuple((name, data) for name, data in tx.rows(QUEUES)),
        owners={queue: site for queue, site, _ in owners},
        nuclei=frozenset(site for _, site, role in owners if role == "nucleus"),
        relations=tuple(_relation(row) for row in tx.rows(RELATIONS)),
    )


def _relation(row: tuple[Any, ...]) -> RelationRow:
    queue, endpoint, scope, roles, token, order_read, order_write, *flags = row
    default_read, default_write, is_tape, blacklisted_read, blacklisted_write = (flag == "Y" for flag in flags)
    return RelationRow(
        queue,
        endpoint,
        scope,
        roles or "",
        token,
        order_read or 0,
        order_write or 0,
        default_read,
        default_write,
        is_tape,
        blacklisted_read,
        blacklisted_write,
    )


@operation(timeout=60, repeatable=True)
def load_queue_data(tx: Transaction) -> dict[str, dict[str, Any]]:
    """Return the JSON object of each queue as the configuration gives it, readable ones only."""
    described = {name: _object(data) for name, data in tx.rows(QUEUES)}
    return {name: data for name, data in described.items() if data is not None}


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@operation(timeout=60, repeatable=True)
def load_endpoints(tx: Transaction) -> dict[str, dict[str, Any]]:
    """Return what is stored of each storage endpoint, in the words of the documents that pilots read."""
    return {
        name: {"name": name, "site": site, "token": token, "type": kind, "is_tape": is_tape == "Y", "state": "ACTIVE"}
        for name, site, token, kind, is_tape in tx.rows(ENDPOINTS)
    }


@operation(timeout=60)
def store_queues(tx: Transaction, queues: Mapping[str, Mapping[str, Any]], actor: str = "system") -> None:
    """Add queues or replace their description, with the experiment sites that own them; other queues stay."""
    now = tx.now()
    audit.record(tx, actor, "storeQueues", "queue", ",".join(sorted(queues)))
    for name, data in sorted(queues.items()):
        tx.upsert(
            "ATLAS_PANDA.schedconfig_json",
            {"panda_queue": name},
            {"data": json.dumps(data, sort_keys=True), "last_update": now},
        )
        owner = data.get("atlas_site")
        if not owner:
            continue
        if tx.one(OWNER_EXISTS, site_name=owner) is None:
            tx.insert("ATLAS_PANDA.site", [{"site_name": owner, "state": "ACTIVE"}])
        tx.upsert("ATLAS_PANDA.panda_site", {"panda_site_name": name}, {"site_name": owner})


@operation(timeout=60, repeatable=True)
def load_shares(tx: Transaction) -> list[dict[str, Any]]:
    """Return the rows of the share tree."""
    return tx.dicts(SHARES)


@operation(timeout=60)
def replace_shares(tx: Transaction, rows: Sequence[Mapping[str, Any]], actor: str = "system") -> None:
    """Make those rows the whole share tree."""
    audit.record(tx, actor, "replaceShares", "share", "all", before=tx.dicts(SHARES))
    tx.change(DELETE_SHARES)
    tx.insert("ATLAS_PANDA.Global_Shares", rows)


@operation(timeout=60, repeatable=True)
def load_resource_types(tx: Transaction) -> list[dict[str, Any]]:
    """Return the rows of the resource types."""
    return tx.dicts(RESOURCE_TYPES)


@operation(timeout=60)
def replace_resource_types(tx: Transaction, rows: Sequence[Mapping[str, Any]], actor: str = "system") -> None:
    """Make those rows all resource types there are."""
    audit.record(tx, actor, "replaceResourceTypes", "resource type", "all", before=tx.dicts(RESOURCE_TYPES))
    tx.change(DELETE_RESOURCE_TYPES)
    tx.insert("ATLAS_PANDA.Resource_Types", rows)


@operation(timeout=60, repeatable=True)
def count_queued(tx: Transaction) -> dict[str, QueueLoad]:
    """Return how many jobs each queue has that has any."""
    queued = {site: int(count) for site, count in tx.rows(QUEUED)}
    running: dict[str, int] = {}
    for site, status, count in tx.rows(ACTIVE, statuses=[*_WAITING_FOR_SLOT, *_WITH_SLOT]):
        counts = queued if status in _WAITING_FOR_SLOT else running
        counts[site] = counts.get(site, 0) + int(count)
    return {site: QueueLoad(queued.get(site, 0), running.get(site, 0)) for site in queued.keys() | running.keys()}
