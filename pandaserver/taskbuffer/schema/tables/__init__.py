"""The tables, by subject. Importing this package declares all of them."""

from pandaserver.taskbuffer.schema.tables import (
    admin,
    archive,
    datasets,
    events,
    files,
    jobs,
    metrics,
    nodes,
    operations,
    own,
    sites,
    tasks,
    users,
    workers,
)

__all__ = [
    "admin",
    "archive",
    "datasets",
    "events",
    "files",
    "jobs",
    "metrics",
    "nodes",
    "operations",
    "own",
    "sites",
    "tasks",
    "users",
    "workers",
]
