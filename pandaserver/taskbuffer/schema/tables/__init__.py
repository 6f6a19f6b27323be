"""The tables, by subject. Importing this package declares all of them."""

from pandaserver.taskbuffer.schema.tables import (
    admin,
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

__all__ = ["admin", "datasets", "files", "jobs", "metrics", "own", "sites", "tasks", "users", "workers"]
