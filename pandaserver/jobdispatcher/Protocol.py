"""The pilot's view of a job: a flat map whose lists are comma-joined texts, aligned by position.

``NULL`` stands for an unset text here and in lists, where a missing element must keep its place. Numbers that clients
add up are always numbers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pandaserver.taskbuffer import job_flags
from pandaserver.taskbuffer.event_texts import for_pilot
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.SiteSpec import Endpoints, SiteSpec

#: StatusCode values of replies to pilots.
SC_SUCCESS, SC_TIMEOUT, SC_NO_JOBS, SC_FAILED, SC_INVALID, SC_ROLE = 0, 10, 20, 30, 50, 60
SC_PERMISSION, SC_KEY, SC_PROXY = 70, 80, 90

NULL: Final = "NULL"

_STEPS_BEGIN, _STEPS_END = "<MULTI_STEP_EXEC>", "</MULTI_STEP_EXEC>"

#: Flags of a job that become the text ``True`` under these keys.
_FLAG_KEYS: Final[dict[str, str]] = {
    "putLogToOS": "log_to_object_store",
    "noExecStrCnv": "no_exec_string_conversion",
    "inFilePosEvtNum": "event_positions",
    "usePrefetcher": "prefetcher",
    "isHPO": "hpo",
    "useVP": "virtual_payload",
    "onSiteMerging": "on_site_merging",
}

#: Keys that mean something to a pilot when they are there, so that only the server may send them.
_RESERVED: Final = frozenset(
    """
    loopingCheck debug cloneJob eventService prodDBlockTokenForOutput eventServiceMerge writeToFile allowNoOutput
    altStageOut container_name secrets pilotSecrets credname myproxy userProxy pandaProxySecretKey sourceURL zipPerMB
    """.split()
) | frozenset(_FLAG_KEYS)

#: What a cloned job does first, by the mode behind the flag ``sc:``.
_CLONE_MODES: Final[dict[str | None, str]] = {"2": "storeonce", "storeonce": "storeonce"}


class Sites(Protocol):
    """What this module asks of the site mapper."""

    def get(self, name: str) -> SiteSpec:
        """Return the queue of that name, or the default one."""
        ...

    def check(self, name: str) -> bool:
        """Tell whether that queue exists."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pilot is told beside the job itself."""

    n_sent: int = 0
    secrets: str | None = None
    pilot_secrets: str | None = None
    proxy_key: tuple[str, str] | None = None  # name of the owner's credential and its MyProxy server; None: not asked


def job_map(job: JobSpec, sites: Sites, around: Surroundings = Surroundings()) -> dict[str, Any]:
    """Return what the pilot gets for one job, in the order of the historical reply."""
    inputs = _unique([f for f in job.Files if f.type == "input"])
    outputs = [f for f in job.Files if f.type in ("output", "log")]
    log = next((f for f in outputs if f.type == "log"), None)
    parameters, steps = split_steps(for_pilot(job.jobParameters or "", job.eventService))
    if has_flag(job.specialHandling, "encoded_parameters"):
        parameters = base64.b64encode(parameters.encode()).decode()
    own: dict[str, Any] = {
        "StatusCode": SC_SUCCESS,
        "PandaID": job.PandaID,
        "prodSourceLabel": _text(job.prodSourceLabel),
        "swRelease": _text(job.AtlasRelease),
        "homepackage": _text(job.homepackage),
        "transformation": _text(job.transformation),
        "jobName": _text(job.jobName),
        "jobDefinitionID": job.jobDefinitionID or 0,
        "cloud": _text(job.cloud),
        "inFiles": _joined(inputs, lambda f: f.lfn),
        "dispatchDblock": _joined(inputs, lambda f: f.dispatchDBlock),
        "dispatchDBlockToken": _joined(inputs, lambda f: f.dispatchDBlockToken),
        "dispatchDBlockTokenForOut": _joined(outputs, lambda f: f.dispatchDBlockToken),
        "outFiles": _joined(outputs, lambda f: f.lfn),
        "destinationDblock": _joined(outputs, lambda f: f.destinationDBlock),
        "destinationDBlockToken": _joined(outputs, _first_token),
        "prodDBlocks": _joined(inputs, lambda f: f.prodDBlock),
        "prodDBlockToken": _joined(inputs, lambda f: f.prodDBlockToken),
        "realDatasets": _joined(outputs, lambda f: f.dataset),
        "realDatasetsIn": _joined(inputs, lambda f: f.dataset),
        "fileDestinationSE": _joined(outputs, lambda f: f.destinationSE),
        "logFile": _text(log.lfn) if log else "",
        "logGUID": _text(log.GUID) if log else "",
        "jobPars": parameters,
        "attemptNr": job.attemptNr or 0,
        "GUID": _joined(inputs, lambda f: f.GUID),
        "checksum": _joined(inputs, lambda f: f.checksum),
        "fsize": _joined(inputs, lambda f: f.fsize),
        "scopeIn": _joined(inputs, lambda f: f.scope),
        "scopeOut": _joined([f for f in outputs if f is not log], lambda f: f.scope),
        "scopeLog": _text(log.scope) if log else "",
        "ddmEndPointIn": _input_endpoints(job, inputs, sites),
        "ddmEndPointOut": _output_endpoints(job, outputs, sites),
        "destinationSE": _text(job.destinationSE),
        "prodUserID": _text(job.prodUserID),
        "maxCpuCount": job.maxCpuCount or 0,
        "minRamCount": job.minRamCount or 0,
        "maxDiskCount": job.maxDiskCount or 0,
        "cmtConfig": "" if steps and job.cmtConfig is None else _text(job.cmtConfig),
        "processingType": _text(job.processingType),
        "transferType": _text(job.transferType),
        "sourceSite": _text(job.sourceSite),
        "currentPriority": job.currentPriority or 0,
        "taskID": _number_or_null(job.jediTaskID if job.lockedby == "jedi" else job.taskID),
        "coreCount": 1 if job.coreCount is None else job.coreCount,
        "jobsetID": _number_or_null(job.jobsetID),
        "reqID": _number_or_null(job.reqID),
        "nucleus": _text(job.nucleus),
        "maxWalltime": job.maxWalltime or 0,  # 0 is "no limit" for pilots, and harvesters add it up
        "resource_type": _text(job.resource_type),
        **_conditional(job, outputs, inputs),
        "ioIntensity": None,  # what the task says about it; there are no tasks yet
        "ioIntensityUnit": None,
        "nSent": around.n_sent,
        **_private(job, around),
    }
    # The user wrote the steps: they say nothing about which job this is, or what belongs to it.
    return own | {key: value for key, value in steps.items() if key not in own and key not in _RESERVED}


def with_place_for_log(found: dict[str, Any]) -> dict[str, Any]:
    """Return the map with an empty name among the outputs of a job that has some but no log.

    A harvester of 2019 looks for the name of the log there, and loses all jobs of the reply if it is missing. Nobody
    takes an empty name for a file.
    """
    without = found["outFiles"] and not found["logFile"]
    return found | {"outFiles": f"{found['outFiles']},"} if without else found


def split_steps(parameters: str) -> tuple[str, dict[str, Any]]:
    """Split the multi-step block off a command line; a block that is no JSON object stays part of the line."""
    before, begin, rest = parameters.partition(_STEPS_BEGIN)
    block, end, _ = rest.partition(_STEPS_END)
    if not (begin and end):
        return parameters, {}
    try:
        steps = json.loads(block)
    except ValueError:
        return parameters, {}
    return (before, steps) if isinstance(steps, dict) else (parameters, {})


def _conditional(job: JobSpec, outputs: list[FileSpec], inputs: list[FileSpec]) -> dict[str, Any]:
    """Keys that are absent unless they say something."""
    flags, kind = job.specialHandling, job.eventService
    found: dict[str, Any] = {}
    if has_flag(flags, "no_looping_check"):
        found["loopingCheck"] = False
    if has_flag(flags, "debug"):
        found["debug"] = "True"
    if kind == job_flags.JOB_CLONING:
        found["cloneJob"] = _CLONE_MODES.get(job_flags.flag_value(flags, "clone_mode"), "runonce")
    if kind in job_flags.CONSUMERS:
        found["eventService"] = "True"
    if kind in (job_flags.EVENT_SERVICE, job_flags.JUMBO):
        found["prodDBlockTokenForOutput"] = _joined(outputs, lambda f: f.prodDBlockToken)
    if kind == job_flags.EVENT_SERVICE_MERGE:
        found["eventServiceMerge"] = "True"
        found["writeToFile"] = _inputs_by_output(outputs, inputs)
    elif has_flag(flags, "write_input_to_file"):
        found["writeToFile"] = _inputs_by_dataset(inputs)
    if optional := [f for f in outputs if f.type == "output" and "an" in (f.dispatchDBlockToken or "").split(",")]:
        found["allowNoOutput"] = _joined(optional, lambda f: f.lfn)
    if stage_out := job_flags.flag_value(flags, "alternative_stage_out"):
        found["altStageOut"] = stage_out
    found |= {key: "True" for key, flag in _FLAG_KEYS.items() if has_flag(flags, flag)}
    if job.container_name:
        found["container_name"] = job.container_name
    return found


def _private(job: JobSpec, around: Surroundings) -> dict[str, Any]:
    """Keys for this pilot's eyes only."""
    found: dict[str, Any] = {}
    if around.secrets is not None and has_flag(job.specialHandling, "secrets"):
        found["secrets"] = around.secrets
    if around.pilot_secrets is not None and has_flag(job.specialHandling, "debug"):
        found["pilotSecrets"] = around.pilot_secrets
    if around.proxy_key is not None:
        found |= dict(zip(("credname", "myproxy"), around.proxy_key, strict=True))
    return found


def _text(value: str | None) -> str:
    return NULL if value is None else value


def _number_or_null(value: int | None) -> int | str:
    return NULL if value is None else value


def _joined(files: Iterable[FileSpec], attribute: Callable[[FileSpec], object]) -> str:
    return ",".join(NULL if (value := attribute(f)) is None else str(value) for f in files)


def _unique(files: Iterable[FileSpec]) -> list[FileSpec]:
    """Keep the first row of each LFN, so that all lists lose the same places."""
    first: dict[str | None, FileSpec] = {}
    for spec in files:
        first.setdefault(spec.lfn, spec)
    return list(first.values())


def _first_token(spec: FileSpec) -> str | None:
    if spec.destinationDBlockToken is None:
        return None
    token = spec.destinationDBlockToken.split(",")[0]
    return f"dst:{token[4:]}" if token.startswith("ddd:") else token


def _input_endpoints(job: JobSpec, inputs: list[FileSpec], sites: Sites) -> str:
    """Endpoint by input; the whole text is empty if one of them cannot be resolved."""
    place = _endpoints(sites, job.computingSite, "input", job)
    found = [place.by_token.get(f.dispatchDBlockToken or "", place.default) for f in inputs]
    return ",".join(name for name in found if name) if all(found) else ""


def _output_endpoints(job: JobSpec, outputs: list[FileSpec], sites: Sites) -> str:
    return ",".join(_output_endpoint(job, spec, sites) for spec in outputs)


def _output_endpoint(job: JobSpec, spec: FileSpec, sites: Sites) -> str:
    """Endpoint that the token names or maps to, else the default one of the destination, else of the queue."""
    token = _first_token(spec) or ""
    if token.startswith("dst:"):
        return token[4:]
    for site in (spec.destinationSE, job.computingSite):
        if site and sites.check(site):
            place = _endpoints(sites, site, "output", job)
            if name := place.by_token.get(token, place.default):
                return name
    return ""


def _endpoints(sites: Sites, site: str | None, direction: str, job: JobSpec) -> Endpoints:
    return sites.get(site or "").endpoints(direction, analysis=job.prodSourceLabel in ANALYSIS_LABELS)


def _inputs_by_output(outputs: list[FileSpec], inputs: list[FileSpec]) -> str:
    """Say for each output of a merge job from which inputs it is made."""
    return "^".join(f"inputFor_{f.lfn}:{_joined(_made_into(f, inputs), _lfn)}" for f in outputs if f.type == "output")


def _made_into(output: FileSpec, inputs: list[FileSpec]) -> list[FileSpec]:
    """Return the inputs that carry the name of an output, and the archives, which may have parts of any; else all."""
    found = [f for f in inputs if (f.lfn or "").startswith((f"{output.lfn}.", "zip://"))]
    return found or inputs


def _lfn(spec: FileSpec) -> str | None:
    return spec.lfn


def _inputs_by_dataset(inputs: list[FileSpec]) -> str:
    """Say for each input dataset, without scope and trailing slash, which files came from it."""
    by_dataset: dict[str, list[FileSpec]] = {}
    for spec in inputs:
        name = (spec.dataset or "").rpartition(":")[2].removesuffix("/")
        by_dataset.setdefault(name, []).append(spec)
    return "^".join(f"tmpin_{name}:{_joined(files, lambda f: f.lfn)}" for name, files in by_dataset.items())
