# ruff: noqa: E501  one line for each index
"""Indexes that earlier servers had and that no statement of ours uses: for sites whose monitors want them."""

from __future__ import annotations

from typing import Final

#: Table -> its indexes with their columns. Each costs every insert, and every update of one of its columns.
OPTIONAL_INDEXES: Final[dict[str, dict[str, str]]] = {
    "DDM_Endpoint": {
        "ddm_endpoint_site_name_idx": "site_name",
    },
    "Datasets": {
        "datasets_modifdate_idx": "modificationDate",
        "datasets_moverid_indx": "moverID",
        "datasets_stat_type_mdate_idx": "type, status, modificationDate, subType",
    },
    "Harvester_Dialogs": {
        "harv_dialogs_module_harv_idx": "moduleName, harvester_ID",
    },
    "Harvester_Metrics": {
        "harvester_metrics_idx": "harvester_ID, creation_time, harvester_host",
        "harvester_metrics_ihc_idx": "harvester_ID, harvester_host, creation_time",
    },
    "Harvester_Rel_Jobs_Workers": {
        "harv_work_reljobs_lastupd_idx": "lastUpdate",
    },
    "Harvester_Workers": {
        "harv_workers_harv_submtime_idx": "harvesterID, submitTime",
        "harv_workers_lastupd_idx": "lastUpdate",
        "harv_workers_submittime_idx": "submitTime",
        "harvester_workers_compsite_idx": "computingSite",
    },
    "JEDI_Work_Queue": {
        "jedi_work_queue_qfunc_idx": "queue_function, queue_ID",
    },
    "JobsDefined_Share_Stats": {
        "jobsdef_share_stats_site_idx": "computingSite",
        "jobsdef_share_stats_ss_idx": "gshare, jobStatus",
    },
    "Jobs_Share_Stats": {
        "jobssharestats_gsharestatusidx": "gshare, jobStatus",
    },
    "Panda_DDM_Relation": {
        "pan_ddm_rel_endpoint_rel_idx": "ddm_endpoint_name",
        "pan_ddm_rel_pandasitename_idx": "panda_site_name",
    },
    "Panda_Site": {
        "panda_site_def_endpoint_idx": "default_ddm_endpoint",
        "panda_site_site_name_idx": "site_name",
        "panda_site_storage_name_idx": "storage_site_name",
    },
    "RetryErrors": {
        "retryerrors_retryaction_idx": "retryAction",
    },
    "filesTable4": {
        "filestable4_datasetype3col_idx": "dataset, type, destinationDBlock, status, PandaID",
        "filestable4_lfn_idx": "lfn",
        "filestable4_taskfileid_idx": "jediTaskID, datasetID, fileID",
    },
    "filesTable_ARCH": {
        "file_arch_task_dset_fileid_idx": "jediTaskID, datasetID, fileID, PandaID",
        "files_arch_lfn_idx": "lfn",
    },
    "jobsActive4": {
        "jobsactive4_compsitestatus_idx": "computingSite, jobStatus",
        "jobsactive4_csite_label_prior3": "computingSite, prodSourceLabel, currentPriority, jobStatus, maxDiskCount, commandToPilot",
        "jobsactive4_jeditaskid_idx": "jediTaskID, PandaID",
        "jobsactive4_jeditaskidstat_idx": "jediTaskID, jobStatus",
        "jobsactive4_jobdefid_idx": "jobDefinitionID",
        "jobsactive4_jobname_idx": "jobName",
        "jobsactive4_modtime_idx": "modificationTime",
        "jobsactive4_prior_idx": "currentPriority, PandaID",
        "jobsactive4_proddblock_st_idx": "prodDBlock, jobStatus",
        "jobsactive4_produsernamest_idx": "prodUserName, jobStatus",
        "jobsactive4_reqid_idx": "reqID",
        "jobsactive4_stat_label_wgr_idx": "jobStatus, prodSourceLabel, workingGroup",
        "jobsactive4_workqueue_idx": "workQueue_ID, cloud, jobStatus, prodSourceLabel, currentPriority",
        "jobsactive_statechangetime_idx": "stateChangeTime",
    },
    "jobsArchived": {
        "job_prodlabel_status_idx": "prodSourceLabel, jobStatus",
        "jobs_batchid_idx": "batchID",
        "jobs_comsite_3attr_pandaid_idx": "computingSite, jobStatus, prodSourceLabel, processingType, PandaID",
        "jobs_exeerrorcode_idx": "exeErrorCode",
        "jobs_jobdefid_produsername_idx": "jobDefinitionID, prodUserName",
        "jobs_jobname_idx": "jobName",
        "jobs_jobsetid_produsername_idx": "jobsetID, prodUserName",
        "jobs_produsername_4attr_idx": "prodUserName, jobStatus, prodSourceLabel, jobsetID, jobDefinitionID",
        "jobs_specialhandling_idx": "specialHandling",
        "jobs_statechangetime_idx": "stateChangeTime",
        "jobs_taskid_3attr_pandaid_idx": "taskID, prodSourceLabel, jobStatus, processingType, PandaID",
        "jobs_upper_produsername_idx": "upper(prodUserName)",
        "jobsarchived_reqid_idx": "reqID",
    },
    "jobsArchived4": {
        "jobs_destinationdblock_idx": "destinationDBlock",
        "jobs_statechangetime_idx": "stateChangeTime",
        "jobs_upper_produsername_idx": "upper(prodUserName)",
        "jobsarc4_jeditaskid3attr_idx": "jediTaskID, jobStatus, prodSourceLabel, PandaID",
        "jobsarch4_compsite_5attr_idx": "computingSite, cloud, jobStatus, prodSourceLabel, processingType, modificationTime",
        "jobsarch4_piloterrcode_idx": "pilotErrorCode",
        "jobsarch4_produsernamest_idx": "prodUserName, jobStatus",
        "jobsarch4_specialhandling_idx": "specialHandling",
        "jobsarch4_taskid_3attr_idx": "taskID, prodSourceLabel, jobStatus, processingType",
        "jobsarch4_workgroup_status_idx": "workingGroup, jobStatus",
        "jobsarchived4_batchid_idx": "batchID",
        "jobsarchived4_jobdefid_idx": "jobDefinitionID",
        "jobsarchived4_jobname_idx": "jobName",
        "jobsarchived4_jobsetid_idx": "jobsetID",
        "jobsarchived4_reqid_idx": "reqID",
        "jobsarchived4_workqueue_idx": "workQueue_ID, cloud, jobStatus, prodSourceLabel, currentPriority",
    },
    "jobsDefined4": {
        "jobsdef_statechangetime_idx": "stateChangeTime",
        "jobsdefined4_jeditaskid_idx": "jediTaskID, PandaID",
        "jobsdefined4_jobname_idx": "jobName",
        "jobsdefined4_jobsetid_idx": "jobsetID",
        "jobsdefined4_label_csite_stat": "prodSourceLabel, computingSite, jobStatus",
        "jobsdefined4_produsername_idx": "prodUserName",
        "jobsdefined4_reqid_idx": "reqID",
        "jobsdefined4_workqueue_idx": "workQueue_ID, cloud, jobStatus, prodSourceLabel, currentPriority",
    },
    "userCacheUsage": {
        "usercacheusage_usr_crdate_indx": "userName, creationTime",
    },
}
