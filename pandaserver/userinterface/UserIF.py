"""The requests of users and services: importing this module registers them all."""

from __future__ import annotations

from pandaserver.userinterface.job_requests import describe_archived_jobs, describe_jobs, jobs_of_task, kill_jobs
from pandaserver.userinterface.submit_requests import submit_jobs

__all__ = ["describe_archived_jobs", "describe_jobs", "jobs_of_task", "kill_jobs", "submit_jobs"]
