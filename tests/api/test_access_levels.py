"""Who may call what: a row for each request, written from the pages that clients are written against.

A request without a row fails; a row without a request waits for it. Callers send nothing: access is decided before
anything of a body is read, so whoever is refused is refused for what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from werkzeug.test import Client

import pandaserver.jobdispatcher.JobDispatcher
import pandaserver.taskbuffer.Utils
import pandaserver.userinterface.UserIF  # noqa: F401  declares requests, as the two above
from pandaserver.api.registry import REGISTRY, Door, Route
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER, FakeTaskBuffer

CALLERS: Final = {"anonymous": {}, "limited": LIMITED, "user": USER, "pilot": PILOT, "production": PRODUCTION}

#: Level -> who passes it. "-": nobody is refused here, what follows decides.
LEVELS: Final = {
    "-": "anonymous limited user pilot production",
    "S1": "limited user pilot production",
    "S2": "user pilot production",
    "pilot": "pilot production",
    "P": "production",
}

#: Historical name -> level. Where the pages ask for less than is sensible, the level is ours, with the reason.
LEGACY: Final = {
    "-": """isAlive getServer getVomsAttr getAttr fetchLog updateLog getJobStatus getPandaIDsWithTaskID get_ban_users
        getJobStatistics getJobStatisticsForBamboo getJobStatisticsPerSite getJobStatisticsPerSiteResource
        get_job_statistics_per_site_label_resource getStatus checkJobStatus getResourceTypes checkEventsAvailability
        get_events_status getDNsForS3 getWorkerStats get_max_worker_id datasetCompleted queryPandaIDs getTaskStatus
        getTaskParamsMap getUserJobMetadata getJumboJobDatasets getSiteSpecs getCloudSpecs getPandaClientVer
        getNumPilots getScriptOfflineRunning getHighestPrioJobStat queryLastFilesInDataset getPandaIDsSite
        getJobsToBeUpdated seeCloudTask getAssigningTask getActiveDatasets queryJobInfoPerCloud
        getPandaIDwithJobExeID getJobStatisticsWithLabel getJobStatisticsPerUserSite getFilesInUseForAnal
        getDisInUseForAnal getLFNsInUseForAnal""",
    "S1": """touchFile deleteFile setDebugMode checkSandboxFile set_user_secret get_user_secrets
        getCommands ackCommands put_checkpoint delete_checkpoint retryFailedJobsInActive
        getSerialNumberForGroupJob""",
    "S2": """putFile uploadLog submitJobs killJobs reassignJobs getFullJobStatus putEventPickingRequest
        put_file_recovery_request put_workflow_request killUnfinishedJobs updateWorkers reportWorkerStats
        reportWorkerStats_jobtype harvesterIsAlive addHarvesterDialogs updateServiceMetrics
        registerProxyKey getProxyKey addSiteAccess listSiteAccess updateSiteAccess relay_idds_command
        execute_idds_workflow_command resubmitJobs insertTaskParams killTask finishTask retryTask reassignTask
        reloadInput getJediTasksInTimeRange getJediTaskDetails getRetryHistory get_files_in_datasets
        getGShareStatus getJobIDsInTimeRange getPandIDsWithJobID checkMergeGenerationStatus
        getSlimmedFileInfoPandaIDs updateProdDBUpdateTimes runTaskAssignment getQueuedAnalJobs
        updateFileStatusInDisp""",
    "P": """insertSandboxFileInfo send_command_to_job sweepPQ setNumSlotsForWP changeTaskPriority
        changeTaskAttributePanda changeTaskSplitRulePanda changeTaskModTimePanda increaseAttemptNrPanda pauseTask
        resumeTask avalancheTask reactivateTask reassignShare listTasksInShare changeJobPriorities
        enableJumboJobs setCloudTaskByUser""",
    "pilot": "getNUserJobs getEventRanges updateEventRange updateEventRanges",
}

#: Historical names whose handlers decide, because owners of pilots and grants of users stand in the database.
DECIDED_LATER: Final = """getJob updateJob updateJobsInBulk updateWorkerPilotStatus genPilotToken getKeyPair getProxy
    get_access_token get_token_key"""

#: v1 module/method -> level. S: S2. Role=pilot suffices for what pilots ask, at both doors.
V1: Final = {
    "-": """system/is_alive system/is_ready openapi.json statistics/job_stats_by_cloud
        statistics/production_job_stats_by_cloud_and_processing_type statistics/active_job_stats_by_site
        statistics/active_job_detailed_stats_by_site statistics/job_stats_by_site_and_resource_type
        statistics/job_stats_by_site_share_and_resource_type job/generate_offline_execution_script
        metaconfig/get_site_specs""",
    "S2": """job/submit job/get_status job/get_description job/get_description_incl_archive job/kill job/reassign
        creds/set_user_secrets creds/get_user_secrets creds/get_key_pair creds/get_proxy creds/get_access_token
        creds/get_token_key system/get_attributes system/get_voms_attributes system/get_user_attributes
        event/get_event_range_statuses metaconfig/get_banned_users metaconfig/get_resource_types
        harvester/update_workers harvester/update_service_metrics harvester/add_dialogs harvester/heartbeat
        harvester/get_current_worker_id harvester/get_worker_statistics harvester/report_worker_statistics
        pilot/get_job_status pilot/acquire_jobs pilot/update_job pilot/update_jobs_bulk
        file_server/download_jedi_log file_server/upload_event_picking_request
        file_server/upload_file_recovery_request file_server/upload_workflow_request file_server/upload_cache_file
        file_server/delete_cache_file file_server/touch_cache_file file_server/validate_cache_file
        job/get_metadata_for_analysis_jobs idds/relay_idds_command idds/execute_idds_workflow_command
        workflow/submit_workflow_raw_request workflow/submit_workflow
        task/submit task/kill task/finish task/retry task/reassign task/kill_unfinished_jobs task/reload_input
        task/get_jumbo_job_datasets task/get_status task/get_details task/get_tasks_modified_since
        task/get_tasks_detailed_info_since task/get_datasets_and_files task/get_job_ids task/get_task_parameters
        task/get_detailed_info task/get_parent_detailed_info task/get_job_descriptions
        async_process/submit_grep_request async_process/get_result""",
    "pilot": """pilot/update_worker_status pilot/update_worker_node pilot/update_worker_node_gpu
        event/acquire_event_ranges event/update_single_event_range event/update_event_ranges
        event/get_available_event_range_count""",
    "P": """job/set_command job/set_debug_mode harvester/acquire_commands harvester/acknowledge_commands
        harvester/add_sweep_command harvester/add_target_slots file_server/update_jedi_log
        file_server/upload_jedi_log file_server/register_cache_file
        task/resume task/pause task/avalanche task/release task/reactivate task/reassign_global_share
        task/enable_jumbo_jobs task/enable_job_cloning task/disable_job_cloning task/increase_attempts
        task/change_attribute task/change_modification_time task/change_priority task/change_split_rule
        async_process/submit_sleep_echo_request data_carousel/change_staging_destination
        data_carousel/change_staging_source data_carousel/force_to_staging data_carousel/retire_unused""",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One caller at one door of one request."""

    route: Route
    door: Door
    name: str
    caller: str

    def __str__(self) -> str:
        return f"{self.door.value}-{self.name}-{self.caller}"


def rows(table: dict[str, str]) -> dict[str, str]:
    return {name: level for level, names in table.items() for name in names.split()}


def cells() -> Iterator[tuple[Cell, bool]]:
    for route in REGISTRY:
        for door, name, table in ((Door.LEGACY, route.legacy, LEGACY), (Door.V1, route.v1, V1)):
            level = rows(table).get(name or "")
            if name is not None and level is not None:
                yield from ((Cell(route, door, name, caller), caller in LEVELS[level].split()) for caller in CALLERS)


CELLS: Final = list(cells())


def test_every_request_has_a_row() -> None:
    legacy = {route.legacy for route in REGISTRY if route.legacy}
    v1 = {route.v1 for route in REGISTRY if route.v1}
    assert legacy - rows(LEGACY).keys() - set(DECIDED_LATER.split()) == set()
    assert v1 - rows(V1).keys() == set()


@pytest.mark.parametrize(("cell", "admitted"), CELLS, ids=[str(cell) for cell, _ in CELLS])
def test_a_caller_passes_where_the_page_says_so(
    client: Client, task_buffer: FakeTaskBuffer, cell: Cell, admitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[bool] = []

    def bind(*_: object, **__: object) -> object:
        reached.append(True)
        raise KeyError("far enough")  # a bug as far as the application knows

    monkeypatch.setattr(type(cell.route.signature), "bind", bind)
    path = f"/server/panda/{cell.name}" if cell.door is Door.LEGACY else f"/api/v1/{cell.name}"
    method = "POST" if cell.route.method == "ANY" else cell.route.method
    reply = client.open(path, method=method, environ_overrides=CALLERS[cell.caller])
    assert (reached == [True]) is admitted, reply.text
    if not admitted:
        assert [name for name, _, _ in task_buffer.calls if name != "getBannedUsers"] == []
        assert reply.status_code == 200
        if cell.door is Door.V1:
            assert json.loads(reply.text)["success"] is False
