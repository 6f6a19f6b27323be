"""What an experiment may do with the outputs of a job before it becomes final: the interface of Adder plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandacommon.pandalogger.LogWrapper import LogWrapper
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.taskbuffer.JobSpec import JobSpec
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


class AdderStatus(IntEnum):
    """How a plug-in ended. A temporary failure is tried again until the report is a day old."""

    succeeded = 0
    temporary = 1
    fatal = 2


@dataclass(slots=True)
class AdderResult:
    """What a plug-in found: its status, and the LFNs of outputs that still move or wait for a merge."""

    statusCode: AdderStatus = AdderStatus.succeeded
    transferringFiles: list[str] = field(default_factory=list)
    mergingFiles: list[str] = field(default_factory=list)


class AdderPluginBase:
    """Base of Adder plug-ins. ``extraInfo`` maps surl, nevents, lbnr, endpoint and guid to values by LFN."""

    def __init__(
        self,
        job: JobSpec,
        *,
        taskBuffer: TaskBuffer,
        siteMapper: SiteMapper,
        extraInfo: Mapping[str, Mapping[str, Any]],
        logger: LogWrapper,
        ddm: Any = None,
    ) -> None:
        self.job = job
        self.taskBuffer = taskBuffer
        self.siteMapper = siteMapper
        self.extraInfo = extraInfo
        self.logger = logger
        self.ddm = ddm
        self.result = AdderResult()

    def execute(self) -> None:
        """Do what the experiment needs and set ``self.result``; raising means a fatal failure."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to do with outputs")
