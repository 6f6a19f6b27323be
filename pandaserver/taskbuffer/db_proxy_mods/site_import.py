"""Making tables of sites, queues, storage and networks equal to what their sources say, one kind a transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.network_dumps import CLOSENESS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.site_dumps import canonical
from pandaserver.taskbuffer.site_rows import Reading
from pandaserver.taskbuffer.transaction import Transaction

#: More rows than this, and more than half of all, vanish at once only if somebody says so.
MOST_LOST: Final = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """The rows of a table, or some of them, that one source decides about."""

    table: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    stamp: str = ""  # column of the time of the last change, where the source has none
    renew: timedelta | None = None  # age at which the stamp of an unchanged row is renewed
    expires: timedelta | None = None  # age, by the column ts, at which a row that is not in the source goes
    fixed: tuple[tuple[str, str], ...] = ()  # further columns of new rows
    where: str = ""  # which rows of the table
    known_only: bool = False  # neither adds nor deletes

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that is read and written, the key first."""
        return (*self.key, *self.values, *((self.stamp,) if self.stamp else ()))


#: Numbers of an endpoint that come from another source than the rest of it.
SPACE: Final = (
    "space_total",
    "space_free",
    "space_used",
    "space_expired",
    "space_min_free",
    "space_unavailable",
    "space_timestamp",
)

KINDS: Final[Mapping[str, Kind]] = {
    "sites": Kind("ATLAS_PANDA.Site", ("site_name",), ("role", "tier_level", "state")),
    "endpoints": Kind(
        "ATLAS_PANDA.DDM_Endpoint",
        ("ddm_endpoint_name",),
        (
            *("site_name", "ddm_spacetoken_name", "type", "is_tape"),
            *("blacklisted", "blacklisted_read", "blacklisted_write"),
        ),
    ),
    "space": Kind("ATLAS_PANDA.DDM_Endpoint", ("ddm_endpoint_name",), SPACE, known_only=True),
    "queue_sites": Kind("ATLAS_PANDA.Panda_Site", ("panda_site_name",), ("site_name",)),
    "relations": Kind(
        "ATLAS_PANDA.Panda_DDM_Relation",
        ("panda_site_name", "ddm_endpoint_name", "scope"),
        ("is_local", "roles", "order_read", "order_write", "default_read", "default_write"),
    ),
    "queues": Kind("ATLAS_PANDA.schedconfig_json", ("panda_queue",), ("data",), stamp="last_update"),
    "tags": Kind("ATLAS_PANDA.SW_Tags", ("panda_queue",), ("data",), stamp="last_update"),
    "metrics": Kind(
        "ATLAS_PANDA.Network_Matrix_KV",
        ("src", "dst", "key"),
        ("value", "ts"),
        expires=timedelta(days=1),
        where=f"key <> '{CLOSENESS}'",
    ),
    "closeness": Kind(
        "ATLAS_PANDA.Network_Matrix_KV",
        ("src", "dst"),
        ("value",),
        stamp="ts",
        renew=timedelta(hours=12),
        fixed=(("key", CLOSENESS),),
        where=f"key = '{CLOSENESS}'",
    ),
}


def _condition(kind: Kind, *, by_key: bool) -> str:
    conditions = [*(f"{column} = :{column}" for column in kind.key if by_key), *([kind.where] if kind.where else [])]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


SELECT_ROWS: Final = {
    name: f"SELECT {', '.join(kind.columns)} FROM {kind.table}{_condition(kind, by_key=False)}"
    for name, kind in KINDS.items()
}

UPDATE_ROWS: Final = {
    name: f"UPDATE {kind.table} SET {', '.join(f'{c} = :{c}' for c in kind.columns[len(kind.key) :])}"
    + _condition(kind, by_key=True)
    for name, kind in KINDS.items()
}

DELETE_ROWS: Final = {
    name: f"DELETE FROM {kind.table}{_condition(kind, by_key=True)}"
    for name, kind in KINDS.items()
    if not kind.known_only
}


@dataclass(frozen=True, slots=True)
class Stored:
    """How many rows a run has added, changed and deleted."""

    added: int = 0
    changed: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        return f"added={self.added} changed={self.changed} deleted={self.deleted}"


@operation(timeout=300)
def store_site_rows(tx: Transaction, name: str, reading: Reading, force: bool = False) -> Stored:
    """Make the rows of a kind those of its source; a row that is right is not touched.

    Conflict, and nothing is done: most rows would vanish, as if the source were a part of itself, without ``force``.
    """
    kind = KINDS[name]
    known = _known(tx, name)
    added = {} if kind.known_only else {key: values for key, values in reading.rows.items() if key not in known}
    changed = {
        key: values for key, values in reading.rows.items() if key in known and _differs(tx, kind, known, key, values)
    }
    gone = [
        key for key in known if key not in reading.rows and key[0] not in reading.kept and _goes(tx, kind, known[key])
    ]
    if not force and kind.expires is None and len(gone) > max(MOST_LOST, len(known) / 2):
        raise Conflict(f"{len(gone)} of {len(known)} rows would vanish; if that is right, run it once with --force")
    if gone:
        tx.change_many(DELETE_ROWS[name], [dict(zip(kind.key, key, strict=True)) for key in gone])
    if changed:
        tx.change_many(
            UPDATE_ROWS[name], [_binds(tx, kind, key, {**known[key], **new}) for key, new in changed.items()]
        )
    if added:
        tx.insert(kind.table, [_binds(tx, kind, key, new) | dict(kind.fixed) for key, new in added.items()])
    return Stored(len(added), len(changed), len(gone))


def _known(tx: Transaction, name: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the rows that are stored, by key."""
    kind = KINDS[name]
    width = len(kind.key)
    rest = kind.columns[width:]
    return {row[:width]: dict(zip(rest, row[width:], strict=True)) for row in tx.rows(SELECT_ROWS[name])}


def _differs(
    tx: Transaction,
    kind: Kind,
    known: Mapping[tuple[str, ...], Mapping[str, Any]],
    key: tuple[str, ...],
    values: Mapping[str, Any],
) -> bool:
    old = known[key]
    if any(old[column] != value and not _same_json(column, old[column], value) for column, value in values.items()):
        return True
    return kind.renew is not None and (old[kind.stamp] is None or tx.now() - old[kind.stamp] > kind.renew)


def _same_json(column: str, old: str | None, new: str) -> bool:
    """Tell whether two texts mean the same: others write it with other spaces."""
    if column != "data" or not old:
        return False
    try:
        return canonical(json.loads(old)) == new
    except ValueError:
        return False


def _goes(tx: Transaction, kind: Kind, old: Mapping[str, Any]) -> bool:
    if kind.known_only:
        return False
    return kind.expires is None or old["ts"] is None or tx.now() - old["ts"] > kind.expires


def _binds(tx: Transaction, kind: Kind, key: tuple[str, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each column of a kind."""
    binds = dict.fromkeys(kind.values) | {column: values.get(column) for column in kind.values}
    stamp = {kind.stamp: tx.now()} if kind.stamp else {}
    return dict(zip(kind.key, key, strict=True)) | binds | stamp
