"""The requests of pilots: importing this module registers them all."""

from __future__ import annotations

from pandaserver.jobdispatcher.acquire_requests import acquire_jobs
from pandaserver.jobdispatcher.heartbeat_requests import update_job, update_jobs_bulk
from pandaserver.jobdispatcher.status_requests import (
    check_job_status,
    get_job_status,
    get_resource_types,
    update_worker_status,
)

__all__ = [
    "acquire_jobs",
    "check_job_status",
    "get_job_status",
    "get_resource_types",
    "update_job",
    "update_jobs_bulk",
    "update_worker_status",
]
