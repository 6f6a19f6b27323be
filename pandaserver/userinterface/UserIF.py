"""The requests of users and services: importing this module registers them all."""

from __future__ import annotations

from pandaserver.userinterface.file_requests import (
    put_event_picking_request,
    put_file_recovery_request,
    put_workflow_request,
    upload_file_recovery_request,
)
from pandaserver.userinterface.job_requests import describe_archived_jobs, describe_jobs, jobs_of_task, kill_jobs
from pandaserver.userinterface.secret_requests import get_user_secrets, set_user_secret
from pandaserver.userinterface.submit_requests import submit_jobs

__all__ = [
    "describe_archived_jobs",
    "describe_jobs",
    "get_user_secrets",
    "jobs_of_task",
    "kill_jobs",
    "put_event_picking_request",
    "put_file_recovery_request",
    "put_workflow_request",
    "set_user_secret",
    "submit_jobs",
    "upload_file_recovery_request",
]
