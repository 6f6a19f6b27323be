"""Pilots and harvesters ask for jobs."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, PilotReply, pilot_answer
from pandaserver.api.registry import AlsoText, AtLeast, Auth, Call, Door, Lenient, Wire, request
from pandaserver.jobdispatcher.callers import NO_ROLE, is_pilot, require_valid_token, task_buffer_for
from pandaserver.jobdispatcher.Protocol import SC_NO_JOBS, SC_SUCCESS, Surroundings, job_map, with_place_for_log
from pandaserver.srvcore.errors import DatabaseError, Forbidden
from pandaserver.srvcore.principal import clean_name
from pandaserver.taskbuffer.db_proxy_mods.proxy_key import ProxyKey
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.requests import MAX_JOBS, Acquired, JobRequest, Selection
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.WorkerSpec import WORKER_TEXT_LIMITS

_logger = PandaLogger().getLogger("JobDispatcher")

#: Labels that become ``test`` at a queue whose status is test.
_TESTABLE: Final = ("user", "managed", "unified")

#: What harvesters put before their name when they name themselves as a scheduler.
_HARVESTER_PREFIX: Final = "harvester-"


#: Characters of the name of an instance.
_INSTANCE_LIMIT: Final = WORKER_TEXT_LIMITS["harvesterID"]


def _lenient_size(raw: Any) -> int:
    """Return megabytes or seconds; what is no number, or less than nothing, is no limit."""
    try:
        return min(max(int(float(raw)), 0), 2**62)
    except (ValueError, OverflowError, TypeError):
        return 0


def _lenient_id(raw: Any) -> int | None:
    try:
        return int(raw)
    except (ValueError, TypeError):
        return None


@request(
    v1="pilot/acquire_jobs", legacy="getJob", method="POST", auth=Auth.ANYONE, auth_v1=Auth.USER, answer=pilot_answer
)
def acquire_jobs(
    call: Call,
    site_name: Annotated[str, Wire("siteName"), "PanDA queue"],
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 60,
    memory: Annotated[
        int | None, AlsoText, Wire("mem", read=_lenient_size), "MB that the slot offers; 0: do not ask"
    ] = None,
    disk_space: Annotated[int | None, AlsoText, Wire("diskSpace", read=_lenient_size), "MB; 0: do not ask"] = None,
    prod_source_label: Annotated[str | None, Wire("prodSourceLabel"), "which jobs"] = None,
    node: Annotated[str | None, Lenient, "worker node"] = None,
    computing_element: Annotated[str | None, Lenient, Wire("computingElement"), "kept on the job"] = None,
    prod_user_id: Annotated[str | None, Wire("prodUserID"), "only jobs of that owner"] = None,
    get_proxy_key: Annotated[str | None, Wire("getProxyKey"), "True: name the proxy's key"] = None,
    task_id: Annotated[int | None, AlsoText, Wire("taskID"), "only jobs of that task"] = None,
    n_jobs: Annotated[int | None, AlsoText, Wire("nJobs"), AtLeast(1), "given, even as 1: the reply is a list"] = None,
    background: Annotated[bool | None, AlsoText, "only jobs that may run in the background"] = None,
    resource_type: Annotated[str | None, Wire("resourceType"), "only jobs of that type"] = None,
    harvester_id: Annotated[str | None, Lenient, "instance that runs the worker"] = None,
    worker_id: Annotated[int | None, AlsoText, Lenient, Wire(read=_lenient_id), "worker that runs the pilot"] = None,
    scheduler_id: Annotated[str | None, Lenient, Wire("schedulerID"), "kept on the job"] = None,
    job_type: Annotated[str | None, Wire("jobType"), "user: only user-like test jobs at a unified queue"] = None,
    via_topic: Annotated[bool | None, AlsoText, Wire("viaTopic"), "a broker announced the job"] = None,  # noqa: ARG001  none does
    remaining_time: Annotated[int | None, AlsoText, Wire(read=_lenient_size), "seconds that the slot lasts"] = None,
    token: Annotated[str | None, Wire(only="legacy"), "of genPilotToken; none is needed"] = None,
) -> Envelope | PilotReply:
    """Give activated jobs to a pilot. The jobs become `sent`; asking again gives other jobs.

    For pilots, by role or as an owner of pilots of the queue, and with label user for users, who get their own jobs.
    """
    site = call.sites.get(site_name)
    pilot = is_pilot(call, site)
    if not pilot and (call.principal.is_anonymous or prod_source_label != "user"):
        raise Forbidden(NO_ROLE, status_code=60)
    require_valid_token(call, token, timeout)
    label = _effective_label(site, prod_source_label)
    wanted = JobRequest(
        site=site_name,
        n_jobs=min(n_jobs or 1, MAX_JOBS),
        selection=selection_of(site, label, computing_element, job_type),
        label=label,
        memory=max(memory or 0, 0),
        disk_space=max(disk_space or 0, 0),
        remaining_time=max(remaining_time or 0, 0),
        mean_memory=site.meanrss if (site.workflow or "").startswith("push") else 0,
        task_id=task_id,
        resource_type=resource_type or None,
        user_name=(clean_name(prod_user_id) if prod_user_id else None) if pilot else call.principal.name,
        background=bool(background),
        node=node or None,
        computing_element=computing_element or None,
        scheduler_id=scheduler_id or None,
        harvester_id=_instance(harvester_id, scheduler_id),
        worker_id=worker_id,
        counts_sent=label in (None, "managed"),
    )
    acquired = task_buffer_for(call, timeout).getJobs(wanted)
    log = LogWrapper(_logger, f"<site={site_name}>")
    log.info(f"gave {len(acquired.jobs)} of {wanted.n_jobs} jobs label={label} node={node} {_named(acquired)}")
    keys = _proxy_keys(call, acquired) if pilot and get_proxy_key == "True" else None
    maps = [job_map(job, call.sites, _surroundings(acquired, job, keys)) for job in acquired.jobs]
    if not maps:
        return _no_jobs(call)
    if n_jobs is None and call.door is Door.LEGACY:
        return PilotReply(SC_SUCCESS, {key: value for key, value in maps[0].items() if key != "StatusCode"})
    if call.door is Door.LEGACY:
        maps = [with_place_for_log(found) for found in maps]
    return PilotReply(SC_SUCCESS, {"jobs": maps})


def _instance(harvester_id: str | None, scheduler_id: str | None) -> str | None:
    """Return the instance that runs the pilot; a name that no instance can have is none."""
    name = harvester_id or (scheduler_id or "").removeprefix(_HARVESTER_PREFIX)
    return name if 0 < len(name) <= _INSTANCE_LIMIT else None


def _effective_label(site: SiteSpec, label: str | None) -> str | None:
    label = label or None
    return "test" if site.status == "test" and label in _TESTABLE else label


def selection_of(site: SiteSpec, label: str | None, element: str | None, job_type: str | None) -> Selection:
    """Return which jobs a pilot with that label takes at a queue."""
    if label is None:
        return Selection.managed
    if label in (Selection.user, Selection.managed, Selection.unified):
        return Selection(label)
    if label == "test" and element:
        return Selection.gangarobot if job_type == "user" and site.is_unified else Selection.test
    return Selection.exact


def _proxy_keys(call: Call, acquired: Acquired) -> dict[str, ProxyKey]:
    """Return what the owners of the jobs registered. The jobs are given out, so a failure costs the names only."""
    owners = sorted({job.prodUserID for job in acquired.jobs if job.prodUserID})
    try:
        return call.task_buffer.within(call.remaining()).getProxyKeys(owners) if owners else {}
    except DatabaseError as problem:
        _logger.warning(f"jobs go without the names of proxies: {problem.message}")
        return {}


def _surroundings(acquired: Acquired, job: JobSpec, keys: dict[str, ProxyKey] | None) -> Surroundings:
    key = keys.get(job.prodUserID or "") if keys else None
    return Surroundings(
        n_sent=acquired.n_sent,
        secrets=acquired.secrets.get(job.prodUserName or ""),
        pilot_secrets=acquired.pilot_secrets,
        proxy_key=None if keys is None else (key.credname, key.myproxy) if key else ("", ""),
    )


def _no_jobs(call: Call) -> Envelope:
    # Pilots that take events look for this very text; the form without JSON never had it.
    dialog = {"errorDialog": "no jobs in PanDA"} if call.accepts_json else {}
    return Envelope(success=False, message="No jobs in PanDA", legacy=PilotReply(SC_NO_JOBS, dialog))


def _named(acquired: Acquired) -> str:
    return f"PandaIDs={','.join(str(job.PandaID) for job in acquired.jobs)}" if acquired.jobs else ""
