"""The requests of users and services: importing this module registers them all."""

from __future__ import annotations

from pandaserver.userinterface.file_requests import (
    put_event_picking_request,
    put_file_recovery_request,
    put_workflow_request,
    upload_file_recovery_request,
)
from pandaserver.userinterface.identity_requests import get_banned_users
from pandaserver.userinterface.job_requests import (
    describe_archived_jobs,
    describe_jobs,
    jobs_of_task,
    kill_jobs,
    kill_jobs_of_task,
    reassign_jobs,
)
from pandaserver.userinterface.proxy_key_requests import get_proxy_key, register_proxy_key
from pandaserver.userinterface.secret_requests import get_user_secrets, set_user_secret
from pandaserver.userinterface.site_requests import get_site_specs
from pandaserver.userinterface.statistics_requests import (
    active_jobs_by_site,
    active_jobs_by_site_in_detail,
    job_statistics_per_site,
    jobs_by_cloud,
    jobs_by_site_and_resource_type,
    jobs_by_site_label_and_resource_type,
    production_jobs_by_cloud_and_processing_type,
)
from pandaserver.userinterface.submit_requests import submit_jobs

__all__ = [
    "active_jobs_by_site",
    "active_jobs_by_site_in_detail",
    "describe_archived_jobs",
    "describe_jobs",
    "get_banned_users",
    "get_proxy_key",
    "get_site_specs",
    "get_user_secrets",
    "job_statistics_per_site",
    "jobs_by_cloud",
    "jobs_by_site_and_resource_type",
    "jobs_by_site_label_and_resource_type",
    "jobs_of_task",
    "kill_jobs",
    "kill_jobs_of_task",
    "production_jobs_by_cloud_and_processing_type",
    "put_event_picking_request",
    "put_file_recovery_request",
    "put_workflow_request",
    "reassign_jobs",
    "register_proxy_key",
    "set_user_secret",
    "submit_jobs",
    "upload_file_recovery_request",
]
