"""Rows that a new database needs before the first job."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from pandaserver.taskbuffer.schema import tables
from pandaserver.taskbuffer.schema.declare import metadata, sequences_of
from pandaserver.taskbuffer.schema.version import COMPONENT, REQUIRED

Rows = tuple[dict[str, Any], ...]

#: Share of every job that no other rule takes.
DEFAULT_SHARE: Final = "Default"

_JOB_TIMEOUTS: Final = (
    ("TIMEOUT_defined_hours", "4", "hours that a job may stay defined before copyArchive ends it"),
    ("TIMEOUT_holding_hours", "48", "hours that a job may stay holding before Watcher ends it"),
    ("TIMEOUT_waiting_hours", "1", "hours that a job may wait for a queue before copyArchive ends it"),
)

#: (name, minCore, maxCore, minRamPerCore, maxRamPerCore): first that fits, bounds included, without gaps.
_RESOURCE_TYPES: Final = (
    ("SCORE", 1, 1, None, 2000),
    ("SCORE_HIMEM", 1, 1, 2001, None),
    ("MCORE", 2, None, None, 2000),
    ("MCORE_HIMEM", 2, None, 2001, None),
    ("Undefined", None, None, None, None),
)

_WORK_QUEUES: Final = ((1, "test"), (2, "managed"), (3, "user"))


def seed_rows(main_vo: str) -> dict[str, Rows]:
    """Return the rows of each table, under its canonical name, for a server whose own VO is ``main_vo``."""
    major, minor, patch = REQUIRED
    return {
        "ATLAS_PANDA.PandaDB_Version": ({"component": COMPONENT, "major": major, "minor": minor, "patch": patch},),
        "ATLAS_PANDA.Config": tuple(
            {
                "app": "pandaserver",
                "component": "job_timeout",
                "key": key,
                "value": value,
                "type": "int",
                "VO": main_vo,
                "descr": meaning,
            }
            for key, value, meaning in _JOB_TIMEOUTS
        ),
        "ATLAS_PANDA.Global_Shares": ({"name": DEFAULT_SHARE, "value": 100, "throttled": "N"},),
        "ATLAS_PANDA.Resource_Types": tuple(
            dict(zip(("resource_name", "minCore", "maxCore", "minRamPerCore", "maxRamPerCore"), row, strict=True))
            for row in _RESOURCE_TYPES
        ),
        "ATLAS_PANDA.JEDI_Work_Queue": tuple(
            {"queue_ID": number, "queue_name": name, "queue_type": name, "VO": main_vo, "queue_function": "Resource"}
            for number, name in _WORK_QUEUES
        ),
    }


def plant(connection: Connection, main_vo: str = "atlas") -> None:
    """Insert the seed rows into empty tables."""
    by_name = {f"{table.schema}.{table.info['spelling']}": table for table in metadata.tables.values()}
    for name, rows in seed_rows(main_vo).items():
        connection.execute(by_name[name].insert(), list(rows))


def plant_counters(connection: Connection) -> None:
    """Insert a counter for each sequence, for a server that has none."""
    connection.execute(
        tables.own.panda_sequences.insert(),
        [{"name": sequence.name, "value": 0} for sequence in sequences_of(metadata)],
    )
