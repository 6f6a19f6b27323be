"""The requests of users and services: importing this module registers them all."""

from __future__ import annotations

from pandaserver.userinterface.async_process_requests import get_result, submit_grep_request, submit_sleep_echo_request
from pandaserver.userinterface.checkpoint_requests import delete_checkpoint, put_checkpoint
from pandaserver.userinterface.file_requests import (
    put_event_picking_request,
    put_file_recovery_request,
    put_workflow_request,
    upload_file_recovery_request,
)
from pandaserver.userinterface.identity_requests import get_banned_users
from pandaserver.userinterface.job_report_requests import (
    generate_offline_execution_script,
    get_job_descriptions,
    get_metadata_for_analysis_jobs,
)
from pandaserver.userinterface.job_requests import (
    describe_archived_jobs,
    describe_jobs,
    jobs_of_task,
    kill_jobs,
    kill_jobs_of_task,
    reassign_jobs,
)
from pandaserver.userinterface.obsolete_requests import OBSOLETE
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
from pandaserver.userinterface.task_change_requests import change_task_attribute
from pandaserver.userinterface.task_command_requests import submit_task
from pandaserver.userinterface.task_query_requests import get_task_status
from pandaserver.userinterface.version_requests import get_client_version
from pandaserver.userinterface.workflow_requests import relay_idds_command

__all__ = [
    "OBSOLETE",
    "active_jobs_by_site",
    "active_jobs_by_site_in_detail",
    "change_task_attribute",
    "delete_checkpoint",
    "describe_archived_jobs",
    "describe_jobs",
    "generate_offline_execution_script",
    "get_banned_users",
    "get_client_version",
    "get_job_descriptions",
    "get_metadata_for_analysis_jobs",
    "get_proxy_key",
    "get_result",
    "get_site_specs",
    "get_task_status",
    "get_user_secrets",
    "job_statistics_per_site",
    "jobs_by_cloud",
    "jobs_by_site_and_resource_type",
    "jobs_by_site_label_and_resource_type",
    "jobs_of_task",
    "kill_jobs",
    "kill_jobs_of_task",
    "production_jobs_by_cloud_and_processing_type",
    "put_checkpoint",
    "put_event_picking_request",
    "put_file_recovery_request",
    "put_workflow_request",
    "reassign_jobs",
    "register_proxy_key",
    "relay_idds_command",
    "set_user_secret",
    "submit_grep_request",
    "submit_jobs",
    "submit_sleep_echo_request",
    "submit_task",
    "upload_file_recovery_request",
]
