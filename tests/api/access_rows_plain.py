"""Requests about nobody's things in particular, and requests that do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.api.access_row import Row
from tests.api.access_world import TASK

#: Requests that tell the same to everybody whom the level admits: about the server, the caller, queues and counts.
_SAME_FOR_ALL: Final = tuple(
    map(
        Row,
        """system/is_alive system/is_ready getServer openapi.json system/get_voms_attributes system/get_attributes
        system/get_user_attributes metaconfig/get_resource_types metaconfig/get_site_specs getPandaClientVer
        statistics/active_job_stats_by_site statistics/active_job_detailed_stats_by_site getJobStatisticsPerSite
        statistics/job_stats_by_site_and_resource_type statistics/job_stats_by_site_share_and_resource_type
        statistics/job_stats_by_cloud statistics/production_job_stats_by_cloud_and_processing_type""".split(),
    )
)

#: Requests that are no longer supported, and those that need a task layer: nothing happens, whoever asks.
_NO_MORE: Final = """resubmitJobs queryPandaIDs getPandaIDsSite getPandaIDwithJobExeID getJobIDsInTimeRange
    getPandIDsWithJobID checkMergeGenerationStatus getSlimmedFileInfoPandaIDs retryFailedJobsInActive
    getSerialNumberForGroupJob changeJobPriorities getJobsToBeUpdated updateProdDBUpdateTimes runTaskAssignment
    getRetryHistory listTasksInShare getJobStatisticsWithLabel getJobStatisticsPerUserSite getHighestPrioJobStat
    getQueuedAnalJobs getNUserJobs getNumPilots getCloudSpecs queryJobInfoPerCloud seeCloudTask getAssigningTask
    setCloudTaskByUser getActiveDatasets getGShareStatus queryLastFilesInDataset getFilesInUseForAnal
    getDisInUseForAnal getLFNsInUseForAnal datasetCompleted updateFileStatusInDisp addSiteAccess listSiteAccess
    updateSiteAccess"""

_TASK: Final[dict[str, Any]] = {"task_id": TASK}
_NO_TASKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "task/change_priority": {**_TASK, "priority": 1},
    "task/change_attribute": {**_TASK, "attribute_name": "ramCount", "value": 1},
    "task/change_split_rule": {**_TASK, "attribute_name": "NG", "value": "1"},
    "task/change_modification_time": {**_TASK, "hour_offset": 1},
    "task/reassign_global_share": {"task_id_list": [TASK], "share": "s", "reassign_running_jobs": False},
    "task/enable_jumbo_jobs": {**_TASK, "jumbo_jobs_total": 1},
    "task/submit": {"task_parameters": {"taskName": "t"}},
    "task/increase_attempts": {**_TASK, "increase": 1},
    "task/enable_job_cloning": {"jedi_task_id": TASK},
    "task/disable_job_cloning": {"jedi_task_id": TASK},
    "task/get_tasks_modified_since": {"since": "2026-01-01 00:00:00"},
    "task/get_tasks_detailed_info_since": {"since": "2026-01-01 00:00:00"},
    "task/get_jumbo_job_datasets": {"from_offset": 1},
    "idds/relay_idds_command": {"command_name": "abort"},
    "idds/execute_idds_workflow_command": {"command_name": "abort", "kwargs": {"request_id": 1}},
    "workflow/submit_workflow_raw_request": {"params": {}},
    "workflow/submit_workflow": {"workflow_definition": {}},
    "workflow/get_workflow_details": {"workflow_id": 1},
    "data_carousel/change_staging_destination": {"request_id": 1},
    "data_carousel/change_staging_source": {"request_id": 1},
    "data_carousel/force_to_staging": {"request_id": 1},
    "data_carousel/retire_unused": {"request_id": 1},
} | dict.fromkeys(
    """task/kill task/finish task/retry task/reassign task/reload_input task/pause task/resume task/avalanche
    task/release task/reactivate task/get_status task/get_task_parameters task/get_details task/get_detailed_info
    task/get_parent_detailed_info task/get_datasets_and_files""".split(),
    _TASK,
)

PLAIN_ROWS: Final = (
    *_SAME_FOR_ALL,
    Row("metaconfig/get_banned_users", shows="banned"),
    *(Row(name, who="") for name in _NO_MORE.split()),
    *(Row(name, fields, who="") for name, fields in _NO_TASKS.items()),
)
