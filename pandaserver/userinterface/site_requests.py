"""Queues as old clients and brokers ask for them: one flat map each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pandaserver.api.answering import pickle_answer
from pandaserver.api.registry import Auth, Call, Wire, refuse_anonymous_readers, request
from pandaserver.taskbuffer.SiteSpec import SiteSpec

#: Attributes in the spelling of the field. What a queue does not have is None.
ATTRIBUTES: Final = (
    "sitename nickname dq2url cloud ddm type releases memory maxtime status space setokens_output priorityoffset "
    "defaulttoken validatedreleases maxinputsize comment cloudlist statusmodtime pledgedCPU coreCount "
    "reliabilityLevel iscvmfs transferringlimit maxwdir fairsharePolicy mintime allowfax pandasite corepower "
    "wnconnectivity catchall role pandasite_state maxrss minrss direct_access_lan direct_access_wan tier "
    "objectstores is_unified unified_name jobseed capability workflow maxDiskio"
).split()

#: Attributes that are not as in the description of the queue, or not in it at all.
_COMPUTED: Final = frozenset(
    "sitename nickname cloud type memory maxtime status space maxinputsize pledgedCPU coreCount transferringlimit "
    "maxwdir mintime corepower maxrss minrss direct_access_lan direct_access_wan is_unified maxDiskio".split()
)


@request(
    v1="metaconfig/get_site_specs",
    legacy="getSiteSpecs",
    method="GET",
    auth=Auth.ANYONE,
    answer=pickle_answer,
    failed=lambda _: {},
)
def get_site_specs(
    call: Call,
    type: Annotated[str | None, Wire("siteType"), "analysis, production, unified, or all"] = "analysis",
) -> dict[str, dict[str, Any]]:
    """Return the queues of a type with their attributes; unified ones run analysis and production, so they are both.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    described = call.task_buffer.within(call.remaining()).loadQueueData()
    return {
        name: _attributes(site, described.get(name, {}))
        for name, site in call.sites.sites.items()
        if _is_wanted(site, type)
    }


def _is_wanted(site: SiteSpec, kind: str | None) -> bool:
    if kind in ("analysis", "production"):
        return site.type == kind or site.is_unified
    return kind == "all" or (kind == "unified" and site.is_unified) or site.type == kind


def _attributes(site: SiteSpec, described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, site, described) for name in ATTRIBUTES}


def _value(name: str, site: SiteSpec, described: Mapping[str, Any]) -> Any:
    if name in _COMPUTED:
        return getattr(site, name.lower())
    match name:
        case "cloudlist":
            return [cloud.strip() for cloud in str(described.get("cloud") or "").split(",") if cloud.strip()]
        case "pandasite":
            return site.site
        case "role":
            return "nucleus" if site.nucleus else None
        case "unified_name":
            return site.sitename
        case _:
            return described.get(name, described.get(name.lower()))
