"""The requests of pilots and harvesters: importing this module registers them all."""

from __future__ import annotations

from pandaserver.jobdispatcher.acquire_requests import acquire_jobs
from pandaserver.jobdispatcher.creds_requests import (
    gen_pilot_token,
    get_access_token,
    get_dns_for_s3,
    get_key_pair,
    get_proxy,
    get_token_key,
)
from pandaserver.jobdispatcher.debug_requests import send_command_to_job, set_debug_mode
from pandaserver.jobdispatcher.event_requests import (
    acquire_event_ranges,
    get_available_event_range_count,
    get_event_range_statuses,
    update_event_ranges,
    update_single_event_range,
)
from pandaserver.jobdispatcher.harvester_command_requests import (
    acknowledge_commands,
    acquire_commands,
    add_sweep_command,
    add_target_slots,
)
from pandaserver.jobdispatcher.harvester_requests import (
    add_dialogs,
    get_current_worker_id,
    heartbeat,
    update_service_metrics,
)
from pandaserver.jobdispatcher.heartbeat_requests import update_job, update_jobs_bulk
from pandaserver.jobdispatcher.log_requests import fetch_log, update_log, upload_log
from pandaserver.jobdispatcher.status_requests import (
    check_job_status,
    get_job_status,
    get_resource_types,
    update_worker_status,
)
from pandaserver.jobdispatcher.worker_node_requests import update_worker_node, update_worker_node_gpu
from pandaserver.jobdispatcher.worker_requests import (
    get_worker_statistics,
    report_worker_statistics,
    report_worker_statistics_without_job_type,
    update_workers,
)

__all__ = [
    "acknowledge_commands",
    "acquire_commands",
    "acquire_event_ranges",
    "acquire_jobs",
    "add_dialogs",
    "add_sweep_command",
    "add_target_slots",
    "check_job_status",
    "fetch_log",
    "gen_pilot_token",
    "get_access_token",
    "get_available_event_range_count",
    "get_current_worker_id",
    "get_dns_for_s3",
    "get_event_range_statuses",
    "get_job_status",
    "get_key_pair",
    "get_proxy",
    "get_resource_types",
    "get_token_key",
    "get_worker_statistics",
    "heartbeat",
    "report_worker_statistics",
    "report_worker_statistics_without_job_type",
    "send_command_to_job",
    "set_debug_mode",
    "update_event_ranges",
    "update_job",
    "update_jobs_bulk",
    "update_log",
    "update_service_metrics",
    "update_single_event_range",
    "update_worker_node",
    "update_worker_node_gpu",
    "update_worker_status",
    "update_workers",
    "upload_log",
]
