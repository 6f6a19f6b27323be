"""The tables, by subject. Importing this package declares all of them."""

from pandaserver.taskbuffer.schema.tables import (
    admin,
    archive,
    datasets,
    files,
    jobs,
    metrics,
    own,
    sites,
    tasks,
    users,
    workers,
)

__all__ = ["admin", "archive", "datasets", "files", "jobs", "metrics", "own", "sites", "tasks", "users", "workers"]
