"""The table of contents of the database floor: what callers may ask, under the historical names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, Self, TypeVar, overload

from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.db_proxy_mods import (
    async_request,
    audit,
    dataset,
    dataset_scan,
    event_jumbo,
    event_range,
    event_retention,
    harvester,
    harvester_command,
    harvester_operator,
    idempotency,
    inspection,
    job_archive,
    job_command,
    job_dispatch,
    job_expiry,
    job_kill,
    job_library,
    job_output,
    job_query,
    job_reassign,
    job_rebroker,
    job_report,
    job_setup,
    job_state,
    job_statistics,
    job_statistics_counts,
    job_submit,
    job_throttle,
    job_update,
    job_watch,
    lease,
    message,
    metric,
    parameter,
    pilot_token,
    proxy_key,
    retention,
    retry_rule,
    sandbox,
    sandbox_check,
    secret,
    share_forecast,
    site_activity,
    site_config,
    site_import,
    submission_end,
    transfer,
    user,
    worker,
    worker_command,
    worker_node,
    worker_statistics,
    worker_update,
)
from pandaserver.taskbuffer.operation import Operation

P = ParamSpec("P")
R = TypeVar("R")


class proxied(Generic[P, R]):
    """A method of :class:`TaskBuffer` that calls one operation; the operation's parameters and result type hold."""

    def __init__(self, operation: Operation[P, R]) -> None:
        self.operation = operation
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, instance: None, owner: type[TaskBuffer]) -> Self: ...

    @overload
    def __get__(self, instance: TaskBuffer, owner: type[TaskBuffer]) -> Callable[P, R]: ...

    def __get__(self, instance: TaskBuffer | None, owner: type[TaskBuffer]) -> Self | Callable[P, R]:
        if instance is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return instance.caller.call(self.operation, args, kwargs, instance.timeout)

        return call


class TaskBuffer:
    """Calls operations through a bridge. Each method is one call, one transaction and one round trip."""

    def __init__(self, caller: Caller, timeout: float | None = None) -> None:
        self.caller = caller
        self.timeout = timeout

    def within(self, seconds: float) -> Self:
        """Return a view of this task buffer whose calls may take ``seconds`` each, whatever the operation says."""
        return type(self)(self.caller, seconds)

    def close(self) -> None:
        """Close what executes the calls. Only who created the task buffer does this."""
        self.caller.close()

    # -- exclusive runs of daemon scripts, and whether the database can be used at all
    check_database = proxied(lease.check_database)
    start_exclusive_run = proxied(lease.start_exclusive_run)
    renew_lease = proxied(lease.renew_lease)
    end_exclusive_run = proxied(lease.end_exclusive_run)

    # -- what operators look at
    look_at_database = proxied(inspection.look_at_database)
    look_at_durability = proxied(inspection.look_at_durability)
    count_jobs_by_state = proxied(inspection.count_jobs_by_state)
    exclusive_runs = proxied(inspection.exclusive_runs)

    # -- submission, and what happens to a job before it can run
    storeJobs = proxied(job_submit.store_jobs)
    takeJobsToSetUp = proxied(job_setup.take_jobs_to_set_up)
    takeLostJobs = proxied(job_setup.take_lost_jobs)
    applySetup = proxied(job_setup.apply_setup)
    keepWaiting = proxied(job_setup.keep_waiting)
    activateJobs = proxied(job_setup.activate_jobs)
    dispatchArrived = proxied(job_setup.dispatch_arrived)

    # -- looking at jobs, and ending them
    peekJobs = proxied(job_query.peek_jobs)
    getFullJobStatus = proxied(job_query.get_full_job_status)
    getPandaIDsWithTaskID = proxied(job_query.job_ids_of_task)
    getUserJobMetadata = proxied(job_report.metadata_of_task)
    describeJobsOfTask = proxied(job_report.describe_jobs_of_task)
    killJobs = proxied(job_kill.kill_jobs)
    reassignJobs = proxied(job_reassign.reassign_jobs)
    countWaitingByShare = proxied(job_rebroker.count_waiting_by_share)
    findOldestWaiting = proxied(job_rebroker.find_oldest_waiting)
    findWaitingGroups = proxied(job_rebroker.find_waiting_groups)
    findStuckMembers = proxied(job_rebroker.find_stuck_members)

    # -- answers to requests that may come again
    keptAnswer = proxied(idempotency.kept_answer)
    keepAnswer = proxied(idempotency.keep_answer)

    # -- users
    getBannedUsers = proxied(user.banned_users)
    setUserStatus = proxied(user.set_user_status)
    banUser = proxied(user.ban_user)
    getUserRow = proxied(user.user_row)
    getAuditRows = proxied(audit.audit_rows)
    identitiesWithPermission = proxied(user.identities_with_permission)
    namesWithPermission = proxied(user.names_with_permission)
    hasPermission = proxied(user.has_permission)
    setPermissions = proxied(user.set_permissions)
    setMailAddress = proxied(user.set_mail_address)

    # -- files of users
    insertSandboxFileInfo = proxied(sandbox.register_sandbox)
    checkSandboxFile = proxied(sandbox.find_sandbox)
    checkCacheQuota = proxied(sandbox.check_quota)
    sandboxesToCheck = proxied(sandbox_check.sandboxes_to_check)
    recordSandboxCheck = proxied(sandbox_check.record_sandbox_check)
    recentSandboxes = proxied(sandbox_check.recent_sandboxes)

    # -- queues, shares, resource types
    loadSites = proxied(site_config.load_sites)
    loadQueueData = proxied(site_config.load_queue_data)
    loadEndpoints = proxied(site_config.load_endpoints)
    storeQueues = proxied(site_config.store_queues)
    storeSiteRows = proxied(site_import.store_site_rows)
    countQueued = proxied(site_config.count_queued)
    loadShares = proxied(site_config.load_shares)
    replaceShares = proxied(site_config.replace_shares)
    loadResourceTypes = proxied(site_config.load_resource_types)
    replaceResourceTypes = proxied(site_config.replace_resource_types)

    # -- pilots: getting jobs, reporting about them, and what runs them
    getJobs = proxied(job_dispatch.acquire_jobs)
    forecastDispatch = proxied(share_forecast.forecast_dispatch)
    throttleUserJobs = proxied(job_throttle.throttle_user_jobs)
    releaseUserJobs = proxied(job_throttle.release_user_jobs)
    throttleQueue = proxied(job_throttle.throttle_queue)
    releaseQueue = proxied(job_throttle.release_queue)
    updateJobStatus = proxied(job_update.report_status)
    updateJobsInBulk = proxied(job_update.report_statuses)
    getJobStates = proxied(job_state.get_job_states)
    checkJobStates = proxied(job_state.check_job_states)
    updateWorkerPilotStatus = proxied(worker.update_worker_pilot_status)
    streamPilots = proxied(worker_command.stream_pilots)
    synchronizeWorkers = proxied(worker_command.synchronize_workers)

    # -- harvesters: what they report, and what they are told
    updateWorkers = proxied(worker_update.update_workers)
    harvesterIsAlive = proxied(harvester.harvester_is_alive)
    addHarvesterDialogs = proxied(harvester.add_harvester_dialogs)
    updateServiceMetrics = proxied(harvester.update_service_metrics)
    get_max_worker_id = proxied(harvester.get_max_worker_id)
    reportWorkerStats_jobtype = proxied(worker_statistics.report_worker_statistics)
    getWorkerStats = proxied(worker_statistics.get_worker_statistics)
    getCommands = proxied(harvester_command.take_harvester_commands)
    ackCommands = proxied(harvester_command.acknowledge_harvester_commands)
    commandToHarvester = proxied(harvester_command.add_harvester_command)
    sweepPQ = proxied(harvester_operator.sweep_queue)
    setNumSlotsForWP = proxied(harvester_operator.set_target_slots)

    get_user_secrets = proxied(secret.get_secrets)
    set_user_secrets = proxied(secret.set_secrets)
    changeUserSecret = proxied(secret.change_secret)
    setDebugMode = proxied(job_command.set_debug_mode)
    send_command_to_job = proxied(job_command.send_command_to_job)
    makePilotToken = proxied(pilot_token.make_pilot_token)
    isPilotToken = proxied(pilot_token.is_pilot_token)
    registerProxyKey = proxied(proxy_key.register_proxy_key)
    getProxyKeys = proxied(proxy_key.get_proxy_keys)
    updateWorkerNode = proxied(worker_node.see_worker_node)
    updateWorkerNodeGPU = proxied(worker_node.see_worker_node_gpu)

    # -- event ranges
    getEventRanges = proxied(event_range.acquire_event_ranges)
    updateEventRanges = proxied(event_range.update_event_ranges)
    checkEventsAvailability = proxied(event_range.count_event_ranges)
    finishCoJumboJobs = proxied(event_jumbo.finish_co_jumbo_jobs)
    cleanupJumboJobs = proxied(event_jumbo.cleanup_jumbo_jobs)
    forgetEvents = proxied(event_retention.forget_events)
    getEventRangeStates = proxied(event_range.event_range_states)

    # -- the end of a job: reports, lost heartbeats, expiry, datasets
    takeOutputReports = proxied(job_output.take_output_reports)
    releaseOutputReports = proxied(job_output.release_output_reports)
    settleOutputReports = proxied(job_output.settle_output_reports)
    holdersOfOutputReports = proxied(job_output.holders_of_output_reports)
    releaseOutputReportsOf = proxied(job_output.release_output_reports_of)
    cancelDownstreamJobs = proxied(job_library.cancel_downstream_jobs)
    failLostJobs = proxied(job_watch.fail_lost_jobs)
    expireJobs = proxied(job_expiry.expire_jobs)
    evaluateRetryRules = proxied(retry_rule.evaluate_retry_rules)
    checkRetryRules = proxied(retry_rule.check_retry_rules)
    awaitedLibraries = proxied(job_library.awaited_libraries)
    findTransferredJobs = proxied(transfer.find_transferred_jobs)
    storeOutputReports = proxied(transfer.store_output_reports)
    failOverdueTransfers = proxied(transfer.fail_overdue_transfers)
    takeAssignedJobs = proxied(transfer.take_assigned_jobs)
    closeDatasets = proxied(dataset.close_datasets)
    completeClosedDatasets = proxied(dataset_scan.complete_closed_datasets)
    findSettledDatasets = proxied(dataset_scan.find_settled_datasets)
    reopenStuckDatasets = proxied(dataset_scan.reopen_stuck_datasets)
    freezeDatasets = proxied(dataset_scan.freeze_datasets)
    markServedDatasets = proxied(dataset_scan.mark_served_datasets)

    # -- the archive, and what is forgotten
    archiveJobs = proxied(job_archive.archive_jobs)
    forgetHistory = proxied(retention.forget_history)
    forgetWorkers = proxied(retention.forget_workers)
    forgetSandboxes = proxied(retention.forget_sandboxes)
    forgetAnswers = proxied(retention.forget_answers)
    forgetWorkerNodes = proxied(retention.forget_worker_nodes)
    forgetServiceWords = proxied(retention.forget_service_words)

    # -- what operators ask of machines
    submitAsyncRequest = proxied(async_request.submit_async_request)
    takeAsyncOrders = proxied(async_request.take_async_orders)
    storeAsyncAnswer = proxied(async_request.store_async_answer)
    getAsyncState = proxied(async_request.get_async_state)
    forgetAsyncRequests = proxied(async_request.forget_async_requests)

    # -- outgoing messages
    waitingMessages = proxied(message.waiting_messages)
    deleteMessages = proxied(message.delete_messages)
    countFailedMessages = proxied(message.count_failed_messages)
    otherMessages = proxied(message.other_messages)
    getSubmissionEnd = proxied(submission_end.get_submission_end)
    getMailAddress = proxied(submission_end.get_mail_address)
    leaveUserMail = proxied(submission_end.leave_user_mail)

    # -- statistics and parameters
    getJobCounts = proxied(job_statistics_counts.job_counts)
    refreshJobCounts = proxied(job_statistics_counts.refresh_job_counts)
    getEndedJobCounts = proxied(job_statistics_counts.ended_job_counts)
    countJobs = proxied(job_statistics_counts.count_jobs)
    refreshShareStatistics = proxied(job_statistics.refresh_share_statistics)
    getConfigValue = proxied(parameter.get_config_value)
    lockMetric = proxied(metric.lock_metric)
    storeMetric = proxied(metric.store_metric)
    getMetric = proxied(metric.get_metric)
    storeEvaluations = proxied(metric.store_evaluations)
    getShareUse = proxied(metric.share_use)
    getUserJobs = proxied(metric.user_jobs)
    getMergeWaits = proxied(metric.merge_waits)
    getSiteResults = proxied(metric.site_results)
    getLiveTasks = proxied(metric.live_tasks)
    updateSiteRequests = proxied(site_activity.update_site_requests)
    updateRunningCounts = proxied(site_activity.update_running_counts)
    findMisplacedJobs = proxied(site_activity.misplaced_jobs)
    countStuckMerges = proxied(site_activity.stuck_merges)
    getConfigValues = proxied(parameter.get_config_values)
    getConfigOfApp = proxied(parameter.get_config_of_app)
