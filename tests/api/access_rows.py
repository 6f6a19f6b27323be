"""Who may do what with whose things, written from the pages: one or more rows for each request.

A level (``access_levels``) decides before anything is read; ``who`` decides about what was read. The rows speak of Jane
Doe's things, or of what belongs to nobody in particular; callers are the kinds of ``access_callers``.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from pandaserver.taskbuffer.client_jobs import job_as_state
from tests.api.access_row import BY_CN, BY_NAME, PILOTS, RUNNERS, Row
from tests.api.access_rows_plain import PLAIN_ROWS
from tests.api.access_world import (
    ASKED,
    COMMAND,
    ELSEWHERE,
    FINISHED,
    FOREIGN_WORKER,
    HARVESTER,
    JANE,
    JANES_DN,
    MANAGED,
    MARKS,
    NEXT,
    OF_GROUP,
    QUEUE,
    RUNNING,
    TASK,
    TASK_OF_PRODUCTION,
    WAITING,
    WORKER,
)
from tests.factories import make_job


def _jobs(**attributes: Any) -> dict[str, str]:
    return {"jobs": json.dumps([job_as_state(make_job(**attributes))])}


def _heartbeat(panda_id: int, site: str = QUEUE, **more: Any) -> dict[str, Any]:
    return {"job_id": panda_id, "job_status": "running", "site_name": site, "job_sub_status": "told", **more}


def _bulk(panda_id: int) -> Row:
    old = {"jobId": panda_id, "state": "failed", "siteName": QUEUE}
    new = {"job_id": panda_id, "job_status": "failed", "site_name": QUEUE}
    who = RUNNERS if panda_id == ELSEWHERE else f"pilotowner {RUNNERS}"
    changes = (f"job {panda_id}",)
    legacy = {"jobList": json.dumps([old])}
    what = "a job of another queue" if panda_id == ELSEWHERE else "a job of the queue"
    return Row("pilot/update_jobs_bulk", {"job_list": [new]}, who, changes, what=what, legacy=legacy)


def _ended(panda_id: int) -> list[dict[str, Any]]:
    worker = {"workerID": WORKER, "status": "failed", "syncLevel": 1, "pandaid_list": [panda_id]}
    return [worker | {"errorCode": 7, "diagMessage": "node gone"}]


_PILOTS: Final = (
    Row(
        "pilot/acquire_jobs",
        {"site_name": QUEUE, "prod_source_label": "user", "node": "n"},
        f"{BY_NAME} pilotowner {RUNNERS}",
        ("job 101",),
        "parameters, secret",
        "a user's job",
    ),
    Row(
        "pilot/acquire_jobs",
        {"site_name": QUEUE, "prod_source_label": "user", "prod_user_id": JANES_DN},
        f"{BY_NAME} pilotowner {RUNNERS}",
        ("job 101",),
        "parameters, secret",
        "a user's job, asked for by its owner's name",
    ),
    Row(
        "pilot/acquire_jobs",
        {"site_name": QUEUE},
        f"pilotowner {RUNNERS}",
        (f"job {NEXT}",),
        "parameters",
        "a job of production",
    ),
    Row(
        "pilot/acquire_jobs",
        {"site_name": QUEUE, "prod_source_label": "user", "n_jobs": 5},
        f"{BY_NAME} pilotowner {RUNNERS}",
        ("job 101",),
        "parameters, secret",
        "many jobs",
    ),
    Row("pilot/update_job", _heartbeat(RUNNING, stdout="x"), f"pilotowner {RUNNERS}", ("jobsDebug",), what="a job"),
    Row("pilot/update_job", _heartbeat(ELSEWHERE, stdout="x"), RUNNERS, ("jobsDebug",), what="a job of another queue"),
    Row(
        "pilot/update_job",
        {"job_id": RUNNING, "job_status": "failed"},
        RUNNERS,
        (f"job {RUNNING}",),
        what="a job, without the name of its queue",
    ),
    _bulk(RUNNING),
    _bulk(ELSEWHERE),
    Row(
        "pilot/update_worker_status",
        {"worker_id": WORKER, "harvester_id": HARVESTER, "status": "started"},
        f"pilotowner {RUNNERS}",
        ("worker",),
        what="a worker of the queue",
        legacy={"site": QUEUE},
    ),
    Row(
        "pilot/update_worker_status",
        {"worker_id": FOREIGN_WORKER, "harvester_id": HARVESTER, "status": "started"},
        RUNNERS,
        ("foreign worker",),
        what="a worker of another queue",
        legacy={"site": QUEUE},
    ),
    Row("pilot/update_worker_node", {"site": "S", "host_name": "h", "cpu_model": "c"}),
    Row("pilot/update_worker_node_gpu", {"site": "S", "host_name": "h", "vendor": "v", "model": "m", "count": 1}),
    Row("pilot/get_job_status", {"job_ids": [RUNNING]}, legacy={"ids": str(RUNNING)}),
    Row("event/acquire_event_ranges", {"job_id": RUNNING, "jobset_id": 1}),
    Row("event/update_single_event_range", {"event_range_id": "1-2-3-4-5", "event_range_status": "finished"}),
    Row("event/update_event_ranges", {"event_ranges": "[]"}),
    Row("event/get_available_event_range_count", {"job_id": RUNNING, "jobset_id": 1, "task_id": TASK}),
    Row("event/get_event_range_statuses", {"job_task_ids": json.dumps([{"task_id": TASK, "panda_id": RUNNING}])}),
)

_CREDENTIALS: Final = (
    Row(
        "creds/get_key_pair",
        {"public_key_name": "public", "private_key_name": "private"},
        "permitted",
        shows="key",
    ),
    Row("creds/get_proxy", {"dn": JANES_DN, "role": ""}, "permitted", shows="proxy", what="another's proxy"),
    Row("creds/get_proxy", {}, "", what="the own proxy, which only one with a grant has"),
    Row("creds/get_access_token", {"client_name": "pilots"}, "permitted", shows="access token"),
    Row("creds/get_token_key", {"client_name": "pilots"}, "permitted", shows="token key"),
    Row("getDNsForS3", shows="permitted"),
    Row("genPilotToken", {"scheduler_id": "s"}, PILOTS, ("panda_pilot_tokens",), audited=True),
    Row(
        "creds/set_user_secrets",
        {"key": "mine", "value": "changed"},
        BY_NAME,
        ("janes secrets",),
        own_instead=True,
        audited=True,
    ),
    Row(
        "creds/set_user_secrets",
        {},
        BY_NAME,
        ("janes secrets",),
        what="all secrets deleted",
        own_instead=True,
        audited=True,
    ),
    Row("creds/get_user_secrets", {}, BY_NAME, shows="secret"),
    Row("creds/get_user_secrets", {"keys": ["mine"]}, BY_NAME, shows="secret", legacy={"keys": "mine"}, what="one"),
    Row(
        "registerProxyKey",
        {"credname": "c", "origin": "o", "myproxy": "m"},
        "owner",
        ("janes key",),
        own_instead=True,
    ),
    Row("getProxyKey", {}, "owner", shows="credential name"),
)

_HARVESTERS: Final = (
    Row(
        "harvester/acquire_commands",
        {"harvester_id": HARVESTER, "n_commands": 5},
        f"{BY_NAME} {PILOTS}",
        ("Harvester_Commands",),
        "command",
    ),
    Row(
        "harvester/acknowledge_commands",
        {"command_ids": [COMMAND]},
        f"{BY_NAME} {PILOTS}",
        ("Harvester_Commands",),
    ),
    Row(
        "harvester/add_sweep_command",
        {"panda_queue": QUEUE, "status_list": ["running"], "ce_list": "ALL", "submission_host_list": "ALL"},
        "production",
        ("Harvester_Commands",),
        audited=True,
        legacy={"status_list": '["running"]', "ce_list": '"ALL"', "submission_host_list": '"ALL"'},
    ),
    Row(
        "harvester/add_target_slots",
        {"panda_queue": QUEUE, "slots": 5},
        "production",
        ("Harvester_Slots",),
        audited=True,
    ),
    Row("harvester/update_workers", {"harvester_id": HARVESTER, "workers": [{"workerID": 99, "status": "running"}]}),
    Row(
        "harvester/update_workers",
        {"harvester_id": HARVESTER, "workers": _ended(RUNNING)},
        f"{BY_NAME} {PILOTS}",
        (f"job {RUNNING}",),
        what="the end of a worker with a user's job",
        own_instead=True,
    ),
    Row(
        "harvester/update_workers",
        {"harvester_id": HARVESTER, "workers": _ended(MANAGED)},
        PILOTS,
        (f"job {MANAGED}",),
        what="the end of a worker with a job of production",
        own_instead=True,
    ),
    Row("harvester/report_worker_statistics", {"harvester_id": HARVESTER, "panda_queue": QUEUE, "statistics": "{}"}),
    Row("reportWorkerStats", {"harvester_id": HARVESTER, "panda_queue": QUEUE, "statistics": "{}"}),
    Row("harvester/get_worker_statistics"),
    Row(
        "harvester/heartbeat",
        {"harvester_id": HARVESTER},
        PILOTS,
        ("owner of instance",),
        what="another's instance",
        own_instead=True,
        audited=True,
    ),
    Row("harvester/add_dialogs", {"harvester_id": HARVESTER, "dialogs": [{"diagID": 1, "diagMessage": "x"}]}),
    Row(
        "harvester/update_service_metrics", {"harvester_id": HARVESTER, "metrics": [["2026-01-01 00:00:00", "h", "{}"]]}
    ),
    Row("harvester/get_current_worker_id", {"harvester_id": HARVESTER}),
)

_LOOKS: Final = "parameters, metadata"


def _kill(panda_id: int, code: int | None, who: str, what: str, name: str = "job/kill") -> Row:
    fields: dict[str, Any] = {"job_ids": [panda_id]} | ({"code": code} if code else {})
    return Row(name, fields, who, (f"job {panda_id}",), what=what, audited=True)


_JOBS: Final = (
    Row("job/submit", _jobs(), "owner twin namesake", ("jobs in janes name",), what="a job", own_instead=True),
    Row(
        "job/submit",
        _jobs(prodUserName=JANE, prodUserID=JANES_DN),
        "owner twin namesake",
        ("jobs in janes name",),
        what="a job that says that it is Jane's",
        own_instead=True,
    ),
    Row("job/submit", _jobs(prodSourceLabel="managed"), "production", ("managed jobs",), what="a managed job"),
    Row("job/get_status", {"job_ids": [RUNNING]}, legacy={"ids": str(RUNNING)}),
    Row("job/get_description", {"job_ids": [WAITING, FINISHED]}, shows=_LOOKS),
    Row("job/get_description_incl_archive", {"job_ids": [WAITING, FINISHED]}, shows=_LOOKS),
    Row("job/generate_offline_execution_script", {"job_id": WAITING}, shows=_LOOKS),
    Row("job/get_metadata_for_analysis_jobs", {"task_id": TASK}, shows="metadata"),
    Row("task/get_job_descriptions", {"task_id": TASK}, shows=_LOOKS),
    _kill(WAITING, None, BY_CN, "a user's job"),
    _kill(RUNNING, None, BY_CN, "a user's job that runs"),
    _kill(RUNNING, 91, f"{BY_CN} production", "a user's job, by a code of production"),
    _kill(WAITING, 9, f"{BY_CN} production", "a user's job, by force"),
    _kill(OF_GROUP, None, "group production", "a job of a working group"),
    _kill(MANAGED, None, "production", "a job of production"),
    Row(
        "task/kill_unfinished_jobs",
        {"task_id": TASK},
        BY_CN,
        (f"job {RUNNING}", f"job {WAITING}"),
        what="the user's jobs of a task",
        own_instead=True,
        audited=True,
    ),
    Row(
        "task/kill_unfinished_jobs",
        {"task_id": TASK_OF_PRODUCTION},
        "group production",
        (f"job {OF_GROUP}",),
        what="the jobs of a working group in a task",
        audited=True,
    ),
    Row(
        "task/kill_unfinished_jobs",
        {"task_id": TASK_OF_PRODUCTION},
        "production",
        (f"job {MANAGED}", f"job {OF_GROUP}"),
        what="all jobs of production in a task",
        only_for=PILOTS,
        audited=True,
    ),
    Row("job/reassign", {"job_ids": [WAITING]}, f"{BY_CN} production", (f"job {WAITING}",), audited=True),
    Row("task/get_job_ids", {"task_id": TASK}),
    Row(
        "job/set_command",
        {"job_id": RUNNING, "command": "stop"},
        "production",
        (f"job {RUNNING}",),
        audited=True,
    ),
    Row(
        "job/set_debug_mode",
        {"job_id": RUNNING, "mode": True},
        f"{BY_CN} production",
        (f"job {RUNNING}",),
        what="a user's job",
        audited=True,
    ),
    Row(
        "job/set_debug_mode",
        {"job_id": OF_GROUP, "mode": True},
        "group production",
        (f"job {OF_GROUP}",),
        what="a job of a working group",
        audited=True,
    ),
    Row(
        "job/set_debug_mode", {"job_id": MANAGED, "mode": True}, "production", (f"job {MANAGED}",), what="production's"
    ),
)

_LOG: Final = zlib.compress(b"one more line")

_FILES: Final = (
    Row("file_server/update_jedi_log", files={"file": ("new.log", _LOG)}),
    Row("file_server/upload_jedi_log", files={"file": ("whole.log", _LOG)}),
    Row("file_server/download_jedi_log", {"log_name": "a.log"}, shows="log"),
    Row("file_server/upload_cache_file", files={"file": ("sources.new.tar.gz", b"new")}),
    Row(
        "file_server/upload_cache_file",
        who="",
        files={"file": (MARKS["sandbox"], b"evil")},
        changes=(f"content of {MARKS['sandbox']}",),
        what="a file that is there",
        own_instead=True,
    ),
    Row("file_server/delete_cache_file", {"file_name": MARKS["sandbox"]}, who="", what="a file of a job"),
    Row("file_server/touch_cache_file", {"file_name": MARKS["sandbox"]}),
    Row("file_server/validate_cache_file", {"file_size": 100, "checksum": 7}, BY_NAME, shows="sandbox"),
    Row(
        "file_server/register_cache_file",
        {"user_name": JANE, "file_name": "f", "file_size": 1, "checksum": 2},
        "production",
        ("userCacheUsage",),
        audited=True,
    ),
    Row("file_server/upload_event_picking_request", {"run_event_list": "1 2", "user_task_name": "t"}),
    Row("put_file_recovery_request", {"task_id": TASK}),
    Row("file_server/upload_file_recovery_request", {"task_id": TASK}),
    Row("file_server/upload_workflow_request", {"data": "{}", "dry_run": True}),
)

_CHECKPOINTS: Final = (
    Row("file_server/upload_hpo_checkpoint", files={"file": ("77_4", b"x")}),
    Row("file_server/delete_hpo_checkpoint", {"task_id": "77", "sub_id": "3"}),
)

_ASKED: Final = (
    Row(
        "async_process/submit_grep_request",
        {"pattern": "x", "log_filename": "panda-x.log", "service_name": "web"},
        "permitted",
        ("Async_Requests",),
        audited=True,
    ),
    Row(
        "async_process/submit_sleep_echo_request",
        {"service_name": "web", "message": "x"},
        "production",
        ("Async_Requests",),
        audited=True,
    ),
    Row("async_process/get_result", {"request_id": ASKED}, "permitted production", shows="search"),
)

ROWS: Final = (*_PILOTS, *_CREDENTIALS, *_HARVESTERS, *_JOBS, *_FILES, *_CHECKPOINTS, *_ASKED, *PLAIN_ROWS)
