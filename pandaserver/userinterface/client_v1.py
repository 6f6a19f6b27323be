"""Every method of ``/api/v1`` by module and name: ``client.v1.job.kill(job_ids=[1])``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pandaserver.srvcore.errors import ExternalError
from pandaserver.userinterface.client_connection import Answer, Connection

#: Module -> verb -> methods.
METHODS: Final[Mapping[str, Mapping[str, str]]] = {
    "task": {
        "GET": "get_jumbo_job_datasets get_status get_details get_tasks_modified_since get_tasks_detailed_info_since "
        "get_datasets_and_files get_job_ids get_task_parameters get_detailed_info get_parent_detailed_info "
        "get_job_descriptions",
        "POST": "submit kill finish retry resume pause avalanche release reassign kill_unfinished_jobs reactivate "
        "reload_input reassign_global_share enable_jumbo_jobs enable_job_cloning disable_job_cloning "
        "increase_attempts change_attribute change_modification_time change_priority change_split_rule",
    },
    "job": {
        "GET": "get_status generate_offline_execution_script get_metadata_for_analysis_jobs",
        "POST": "submit get_description get_description_incl_archive kill reassign set_command set_debug_mode",
    },
    "creds": {
        "GET": "get_user_secrets get_key_pair get_proxy get_access_token get_token_key",
        "POST": "set_user_secrets",
    },
    "statistics": {
        "GET": "job_stats_by_cloud production_job_stats_by_cloud_and_processing_type active_job_stats_by_site "
        "active_job_detailed_stats_by_site job_stats_by_site_and_resource_type "
        "job_stats_by_site_share_and_resource_type",
    },
    "system": {"GET": "is_alive is_ready get_attributes get_voms_attributes get_user_attributes"},
    "event": {
        "GET": "get_available_event_range_count get_event_range_statuses",
        "POST": "acquire_event_ranges update_single_event_range update_event_ranges",
    },
    "metaconfig": {"GET": "get_banned_users get_site_specs get_resource_types"},
    "data_carousel": {
        "POST": "change_staging_destination change_staging_source force_to_staging retire_unused",
    },
    "idds": {"POST": "relay_idds_command execute_idds_workflow_command"},
    "workflow": {"GET": "get_workflow_details", "POST": "submit_workflow_raw_request submit_workflow"},
    "async_process": {"GET": "get_result", "POST": "submit_grep_request submit_sleep_echo_request"},
    "harvester": {
        "GET": "get_current_worker_id get_worker_statistics",
        "POST": "update_workers update_service_metrics add_dialogs heartbeat report_worker_statistics "
        "acquire_commands acknowledge_commands add_sweep_command add_target_slots",
    },
    "pilot": {
        "GET": "get_job_status",
        "POST": "acquire_jobs update_job update_jobs_bulk update_worker_status update_worker_node "
        "update_worker_node_gpu",
    },
    "file_server": {
        "GET": "download_jedi_log",
        "POST": "upload_jedi_log update_jedi_log upload_cache_file delete_cache_file touch_cache_file "
        "validate_cache_file register_cache_file upload_hpo_checkpoint delete_hpo_checkpoint "
        "upload_file_recovery_request upload_workflow_request upload_event_picking_request",
    },
}

#: Methods with POST that change nothing, so that they need no key.
QUESTIONS: Final = frozenset({"job/get_description", "job/get_description_incl_archive"})

#: Methods whose answer is a text and not an envelope.
TEXTS: Final = frozenset({"job/generate_offline_execution_script", "file_server/download_jedi_log"})


class Refused(ExternalError):
    """The server says why it did not do it; ``data`` is what it says besides."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message, data=data)
        self.data = data


class Module:
    """The methods of one module as functions of named parameters.

    Each returns the data of the reply and raises :class:`Refused` when the server refuses, ``ExternalError`` when it
    cannot be asked. A parameter that is a ``Path`` is sent as a file. ``idempotency_key`` is sent as such: with the key
    of an earlier call of the same parameters, nothing is done twice.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._verbs = {method: verb for verb, methods in METHODS[name].items() for method in methods.split()}

    def __dir__(self) -> list[str]:
        return sorted(self._verbs)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        verb = self._verbs.get(method)
        if verb is None:
            raise AttributeError(f"module {self._name} has no method {method}; it has {', '.join(dir(self))}")

        def call(*, idempotency_key: str | None = None, **parameters: Any) -> Any:
            path = f"{self._name}/{method}"
            given = {name: value for name, value in parameters.items() if value is not None}
            return _data(path, self._ask(verb, path, given, idempotency_key))

        call.__name__ = method
        return call

    def _ask(self, verb: str, path: str, parameters: Mapping[str, Any], key: str | None) -> Answer:
        url = f"/api/v1/{path}"
        if verb == "GET":
            return self._connection.get(url, parameters)
        files = [value for value in parameters.values() if isinstance(value, Path)]
        if files:
            fields = {name: str(value) for name, value in parameters.items() if not isinstance(value, Path)}
            with files[0].open("rb") as file:
                return self._connection.upload(url, fields, files[0].name, file, key=key)
        body = json.dumps(parameters).encode()
        changes = path not in QUESTIONS
        return self._connection.post(url, body, "application/json", changes=changes, key=key, json=True)


def _data(path: str, answer: Answer) -> Any:
    if answer.status == 200 and path in TEXTS and not answer.body.startswith((b'{"success": false', b"ERROR")):
        return answer.text
    try:
        envelope = json.loads(answer.body)
        success, message, data = envelope["success"], envelope["message"], envelope["data"]
    except (ValueError, TypeError, KeyError) as problem:
        raise Refused(f"{path}: HTTP {answer.status}: {answer.text[:1000]}") from problem
    if not success:
        raise Refused(f"{path}: {message}", data)
    return data


class Modules:
    """All modules of v1 as attributes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __dir__(self) -> list[str]:
        return sorted(METHODS)

    def __getattr__(self, name: str) -> Module:
        if name not in METHODS:
            raise AttributeError(f"there is no module {name}; there are {', '.join(dir(self))}")
        return Module(self._connection, name)
