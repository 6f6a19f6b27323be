"""Submission of jobs, at both doors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pandaserver.api.answering import Envelope, Text, pickle_answer
from pandaserver.api.registry import Auth, Call, Door, Wire, largest_body, request
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.client_jobs import read_jobs, read_json
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.WrappedPickle import loads


def _read_historical(raw: Any) -> list[JobSpec]:
    """Read what old clients send; what is no list of jobs at all counts as an empty one, as it always has."""
    text = str(raw)
    try:
        value = read_json(text) if text.lstrip()[:1] == "[" else loads(text)
    except BadRequest:
        return []
    return read_jobs(value) if isinstance(value, list) else []


@request(
    v1="job/submit",
    legacy="submitJobs",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=lambda _: Text("False"),
    failed=lambda message: Text(f"ERROR: {message}"),
    body_limit=largest_body,
)
def submit_jobs(
    call: Call,
    jobs: Annotated[
        list[Any], Wire("jobs", read=_read_historical, read_v1=read_jobs), "jobs as a pickle or as JSON text"
    ],
    to_pending: Annotated[bool, Wire("toPending", only="legacy"), "let the task layer release them"] = False,
) -> Envelope:
    """Store jobs, all or none of them, and return PandaID, job number, and job set or name of each.

    Repeating a request with its Idempotency-Key header stores nothing more and returns the first answer.
    """
    if not jobs and call.door is Door.V1:
        raise BadRequest("there are no jobs in the submission")
    names = {job.computingSite for job in jobs if job.computingSite}
    queues = known_queues(call, names)
    submission = Submission(
        jobs=list(jobs),
        submitter=submitter_of(call),
        pending=to_pending,
        queues=queues,
        unknown_queues=frozenset(names - queues.keys()),
        nothing_to_prepare=nothing_to_prepare(call.services.setupper_plugins),
        max_jobs=call.settings.max_jobs_per_submit,
    )
    stored = call.task_buffer.within(call.remaining()).storeJobs(submission)
    if stored.to_set_up:
        call.services.nudge_setupper(stored.to_set_up)
    if stored.is_banned:
        return Envelope([], message=f"{call.principal.name} is banned", success=False)
    return Envelope([job.reply() for job in stored.jobs])


def submitter_of(call: Call) -> Submitter:
    """Return the caller as submission knows one."""
    caller = call.principal
    return Submitter(
        dn=caller.dn,
        name=caller.name,
        fqans=caller.fqans,
        vo=caller.vo,
        host=call.remote_host or None,
        is_production=caller.has_production_role,
        email=caller.email,
    )


def known_queues(call: Call, names: Iterable[str]) -> dict[str, SiteSpec]:
    """Return those of the named queues that exist."""
    return {name: call.sites.get(name) for name in names if call.sites.check(name)}


def nothing_to_prepare(plugins: Mapping[str, type[Any]]) -> dict[str, bool]:
    """Return by VO whether jobs can be activated as they come. A VO without a plug-in has the simple one."""
    return {"any": True} | {vo: bool(getattr(found, "nothing_to_prepare", False)) for vo, found in plugins.items()}
