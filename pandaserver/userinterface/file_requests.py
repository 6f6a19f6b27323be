"""Requests that a daemon script carries out later: picking events, recovering lost files, running workflows."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.api.answering import Envelope, Text, json_answer, plain_answer
from pandaserver.api.registry import AtLeast, Auth, Call, MaxLength, Wire, request
from pandaserver.config.plugins import plugin_for
from pandaserver.dataservice.request_formats import (
    EventPickingRequest,
    RecoveryRequest,
    WorkflowRequest,
    event_lines,
    now_text,
    write_event_picking,
    write_recovery,
    write_workflow,
)
from pandaserver.dataservice.RequestPluginBase import Fate, NoWorkflowEngine, Outcome, WorkflowPluginBase
from pandaserver.srvcore.errors import BadRequest, StorageError
from pandaserver.srvcore.file_cache import FileCache, storing

_log = PandaLogger().getLogger("file_requests")

#: Where logs for users lie, below the directory of uploads.
LOGS: Final = "jedilog"


def _store(call: Call, prefix: str, text: str) -> str:
    """Write a request into the cache directory, whole or not at all, under a name that nobody can guess."""
    name = f"{prefix}.{uuid.uuid4()}"
    FileCache(call.settings.cache_dir).store(name, io.BytesIO(text.encode()))
    _log.info(f"stored file={name} user={call.principal.name!r} bytes={len(text)}")
    return name


@request(
    v1="file_server/upload_event_picking_request",
    legacy="putEventPickingRequest",
    method="POST",
    auth=Auth.USER,
    answer=plain_answer,
    needs_database=False,
    refused=lambda message: Text(f"ERROR : {message}"),
)
def put_event_picking_request(
    call: Call,
    run_event_list: Annotated[str, Wire("runEventList"), "lines with run, event and perhaps GUID"] = "",
    data_type: Annotated[str, Wire("eventPickDataType"), "type of the data"] = "",
    stream_name: Annotated[str, Wire("eventPickStreamName"), "stream"] = "",
    dataset_name: Annotated[str, Wire("eventPickDS"), "dataset to look in"] = "",
    ami_tag: Annotated[str, Wire("eventPickAmiTag"), "AMI tag"] = "",
    user_dataset_name: Annotated[str, Wire("userDatasetName"), "dataset to be made"] = "",
    locked_by: Annotated[str, Wire("lockedBy"), "tool of the user"] = "",
    parameters: Annotated[str, Wire("params"), "parameters of the tool"] = "",
    input_file_list: Annotated[str, Wire("inputFileList"), "names of files, separated by commas"] = "",
    n_sites: Annotated[str, Wire("eventPickNumSites"), "number of sites"] = "",
    user_task_name: Annotated[str, Wire("userTaskName"), "name of the task"] = "",
    ei_api: Annotated[str, "version of the event index"] = "",
    include_guids: Annotated[bool | None, Wire("giveGUID"), "whether lines have a GUID"] = None,
) -> Envelope:
    """Ask for the files with certain events. The answer comes by mail."""
    limit = call.settings.max_event_picking_upload
    if not call.content_length:
        raise BadRequest("the request needs a Content-Length")
    if call.content_length > limit:
        raise BadRequest(f"the request has {call.content_length} bytes, and at most {limit} are allowed")
    events, guids = event_lines(run_event_list, bool(include_guids))
    texts = {
        "userName": call.principal.dn,
        "creationTime": now_text(naive_utcnow()),
        "eventPickDataType": data_type,
        "eventPickStreamName": stream_name,
        "eventPickDS": dataset_name,
        "eventPickAmiTag": ami_tag,
        "eventPickNumSites": n_sites,
        "userTaskName": user_task_name,
        "userDatasetName": user_dataset_name,
        "lockedBy": locked_by,
        "params": parameters,
        "inputFileList": input_file_list,
        "ei_api": ei_api,
    }
    _store(call, "evp", write_event_picking(EventPickingRequest(texts, events, guids)))
    return Envelope(legacy=True)


@request(
    v1=None,
    legacy="put_file_recovery_request",
    method="POST",
    auth=Auth.USER,
    answer=json_answer,
    needs_database=False,
    failed=lambda message: [False, message],
    refused=lambda message: [False, message],
)
def put_file_recovery_request(
    call: Call,
    task_id: Annotated[int, Wire("jediTaskID"), AtLeast(1), "task whose output files are lost"],
    dry_run: Annotated[bool | None, Wire("dryRun"), "only tell what would be done"] = None,
) -> list[Any]:
    """Ask for lost files of a task to be made again. The answer comes by mail."""
    options: dict[str, Any] = {"jediTaskID": task_id, "isProductionManager": call.principal.has_production_role}
    if dry_run:
        options["dryRun"] = True
    _store(call, "recov", write_recovery(RecoveryRequest(call.principal.dn, now_text(naive_utcnow()), options)))
    return [True, "request was accepted and will be processed in a few minutes"]


@request(
    v1="file_server/upload_file_recovery_request", legacy=None, method="POST", auth=Auth.USER, needs_database=False
)
def upload_file_recovery_request(
    call: Call,
    task_id: Annotated[int | None, AtLeast(1), "task whose output files are lost"] = None,
    dry_run: Annotated[bool | None, "only tell what would be done"] = None,
    dataset: Annotated[str | None, MaxLength(255), "dataset with lost files"] = None,
    files: Annotated[list[str] | None, MaxLength(10000), "names of the lost files; none: all that are lost"] = None,
    no_child_retry: Annotated[bool, "leave alone tasks that read the files"] = True,
    resurrect_datasets: Annotated[bool, "bring deleted datasets back"] = False,
    force: Annotated[bool, "whatever the state of the task"] = False,
    reproduce_parent: Annotated[bool, "make lost inputs again, too"] = False,
    reproduce_upto_nth_gen: Annotated[int, AtLeast(0), "generations of parents"] = 0,
) -> Envelope:
    """Ask for lost files to be made again, and return the address of the log that tells what became of it."""
    if task_id is None and not dataset:
        raise BadRequest("task_id or dataset is needed")
    log_name = f"lost_file_recovery.{uuid.uuid4()}.log"
    given = {
        "jediTaskID": task_id,
        "dryRun": dry_run or None,
        "ds": dataset,
        "files": ",".join(files) if files else None,
        "noChildRetry": no_child_retry or None,
        "resurrectDS": resurrect_datasets or None,
        "force": force or None,
        "reproduceParent": reproduce_parent or None,
        "reproduceUptoNthGen": reproduce_upto_nth_gen or None,
    }
    options = {
        "logFilename": log_name,
        "isProductionManager": call.principal.has_production_role,
        **{name: value for name, value in given.items() if value is not None},
    }
    log = call.settings.cache_dir / LOGS / log_name
    with storing(f"log {log_name}"):
        log.parent.mkdir(exist_ok=True)
        log.touch(0o644)
    try:
        _store(call, "recov", write_recovery(RecoveryRequest(call.principal.dn, now_text(naive_utcnow()), options)))
    except StorageError:
        log.unlink(missing_ok=True)
        raise
    address = f"https://{call.settings.pserverhost}:{call.settings.pserverport}/cache/{LOGS}/{log_name}"
    return Envelope({"logFileURL": address}, "request was accepted and will be processed in a few minutes")


@request(
    v1="file_server/upload_workflow_request",
    legacy="put_workflow_request",
    method="POST",
    auth=Auth.USER,
    answer=json_answer,
    needs_database=False,
    failed=lambda message: [False, message],
    refused=lambda message: [False, message],
)
def put_workflow_request(
    call: Call,
    data: Annotated[str, "description of the workflow as JSON text"],
    dry_run: Annotated[bool, Wire("check"), "only check the description"] = False,
    sync: Annotated[bool, "carry it out before answering"] = False,
) -> Envelope:
    """Ask for a workflow to be run. With `dry_run` or `sync` the reply tells what became of it, else a mail does."""
    wanted = WorkflowRequest(call.principal.dn, now_text(naive_utcnow()), _workflow(data))
    if not (dry_run or sync):
        _store(call, "workflow", write_workflow(wanted))
        message = "request was accepted and will be processed in a few minutes"
        return Envelope(message=message, legacy=[True, message])
    outcome = _at_once(call, wanted, only_check=dry_run)
    told = {"status": outcome.fate is Fate.done, "log": outcome.message}
    return Envelope(told, legacy=[True, told])


def _at_once(call: Call, wanted: WorkflowRequest, *, only_check: bool) -> Outcome:
    plugins, log = call.settings.workflow_plugins, LogWrapper(_log, f"user={call.principal.name!r}")
    kind: type[WorkflowPluginBase] = plugin_for(plugins, call.settings.main_vo) or NoWorkflowEngine
    engine = kind(taskBuffer=call.task_buffer, logger=log)
    outcome = engine.check(wanted) if only_check else engine.run(wanted)
    log.info(f"{'checked' if only_check else 'processed'} fate={outcome.fate.value} message={outcome.message!r}")
    return outcome


def _workflow(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"data is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadRequest("data must be a JSON object")
    return content
