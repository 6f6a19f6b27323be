"""Numeric codes that the server writes into jobs, under their historical names, with what each means."""

from __future__ import annotations

from typing import Final

# taskBufferErrorCode
EC_Kill: Final = 100
EC_Transfer: Final = 101
EC_Expire: Final = 102
EC_Aborted: Final = 103
EC_WaitTimeout: Final = 104
EC_Reassigned: Final = 105
EC_Retried: Final = 106
EC_PilotRetried: Final = 107
EC_LostFile: Final = 110
EC_EventServiceRetried: Final = 111
EC_EventServiceMerge: Final = 112
EC_MergeFailed: Final = 113
EC_EventServiceMaxAttempt: Final = 114
EC_EventServiceWaitOthers: Final = 115
EC_EventServiceUnused: Final = 116
EC_EventServiceUnprocessed: Final = 117
EC_EventServiceLastUnprocessed: Final = 118
EC_EventServiceAllFailed: Final = 119
EC_EventServiceKillOK: Final = 120
EC_EventServiceKillNG: Final = 121
EC_EventServicePreemption: Final = 122
EC_EventServiceNoEvent: Final = 123
EC_EventServiceInconsistentIn: Final = 124
EC_EventServiceNoEsQueues: Final = 125
EC_EventServiceBadStatus: Final = 126
EC_FastRebrokerage: Final = 130
EC_JobCloningUnlock: Final = 200
EC_WorkerDone: Final = 300

# jobDispatcherErrorCode
EC_Watcher: Final = 100
EC_Recovery: Final = 101
EC_SendError: Final = 102
EC_Holding: Final = 103
EC_Transferring: Final = 104
EC_Timeout: Final = 105

# ddmErrorCode
EC_Setupper: Final = 100
EC_GUID: Final = 101
EC_LostInput: Final = 110
EC_Adder: Final = 200
EC_Subscription: Final = 201
EC_Location: Final = 203
EC_MissingNumEvents: Final = 204
EC_InconsistentGUID: Final = 205
EC_RSE: Final = 206

# brokerageErrorCode
EC_Release: Final = 100
EC_Voms: Final = 101

# supErrorCode; codes from 1000 on are copied from the worker's record
EC_INVALID_BATCH_ID: Final = 1
EC_WORKER_ALREADY_DONE: Final = 2

#: Column of a job -> code -> what it means.
MEANING: Final[dict[str, dict[int, str]]] = {
    "taskBufferErrorCode": {
        EC_Kill: "killed",
        EC_Transfer: "output transfer timeout",
        EC_Expire: "too long without change",
        EC_Aborted: "aborted externally",
        EC_WaitTimeout: "waited too long (historical)",
        EC_Reassigned: "moved by rebrokerage",
        EC_Retried: "retried by the server",
        EC_PilotRetried: "retried on request of the pilot",
        EC_LostFile: "input lost (historical)",
        EC_EventServiceRetried: "event ranges retried by another job",
        EC_EventServiceMerge: "merge job made",
        EC_MergeFailed: "merge job failed",
        EC_EventServiceMaxAttempt: "event ranges are out of attempts",
        EC_EventServiceWaitOthers: "other consumers still run",
        EC_EventServiceUnused: "consumer not needed",
        EC_EventServiceUnprocessed: "no event processed",
        EC_EventServiceLastUnprocessed: "no event processed by the last consumer",
        EC_EventServiceAllFailed: "all event ranges failed",
        EC_EventServiceKillOK: "killed because a sibling merged",
        EC_EventServiceKillNG: "killed because a sibling failed",
        EC_EventServicePreemption: "preempted",
        EC_EventServiceNoEvent: "retry without processed events",
        EC_EventServiceInconsistentIn: "the state of an input differs from the task layer",
        EC_EventServiceNoEsQueues: "no queue for new consumers",
        EC_EventServiceBadStatus: "closed from an unexpected state",
        EC_FastRebrokerage: "moved from an overloaded queue",
        EC_JobCloningUnlock: "the clone lost the race",
        EC_WorkerDone: "the worker ended before the job",
    },
    "jobDispatcherErrorCode": {
        EC_Watcher: "heartbeat lost",
        EC_Recovery: "recovery failed",
        EC_SendError: "no answer after dispatch",
        EC_Holding: "timeout in holding",
        EC_Transferring: "timeout in transferring",
        EC_Timeout: "timeout elsewhere",
    },
    "ddmErrorCode": {
        EC_Setupper: "set-up failed",
        EC_GUID: "input not found in the catalogue, or lost",
        EC_LostInput: "lost input",
        EC_Adder: "output handling failed",
        EC_Subscription: "transfer request refused",
        EC_Location: "location registration failed",
        EC_MissingNumEvents: "event count missing",
        EC_InconsistentGUID: "GUID mismatch",
        EC_RSE: "endpoint configuration wrong",
    },
    "brokerageErrorCode": {
        EC_Release: "no matching queue",
        EC_Voms: "authentication failure",
    },
    "supErrorCode": {
        EC_INVALID_BATCH_ID: "second pilot for one job",
        EC_WORKER_ALREADY_DONE: "worker ended",
    },
}
