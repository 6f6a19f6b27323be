"""Which level each request has at each door, written from the pages that clients are written against.

A level is what is decided before anything of a body is read. Rules about whose job or secret it is, and about grants,
stand in ``access_rows``.
"""

from __future__ import annotations

from typing import Final

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
        getDisInUseForAnal getLFNsInUseForAnal getJob updateJob updateJobsInBulk updateWorkerPilotStatus genPilotToken
        getKeyPair getProxy get_access_token get_token_key""",
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
        file_server/upload_hpo_checkpoint file_server/delete_hpo_checkpoint
        file_server/delete_cache_file file_server/touch_cache_file file_server/validate_cache_file
        job/get_metadata_for_analysis_jobs idds/relay_idds_command idds/execute_idds_workflow_command
        workflow/submit_workflow_raw_request workflow/submit_workflow workflow/get_workflow_details
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


def rows(table: dict[str, str]) -> dict[str, str]:
    """Return level by name."""
    return {name: level for level, names in table.items() for name in names.split()}
