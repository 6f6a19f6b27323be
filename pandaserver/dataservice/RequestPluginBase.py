"""What stands behind requests that come as files, and has not been built here: the interface, and who says so.

A site that has an event index, a task layer that recovers lost files, or a workflow engine names a class of its own in
``event_picker_plugins``, ``file_recovery_plugins`` or ``workflow_plugins``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandacommon.pandalogger.LogWrapper import LogWrapper
    from pandaserver.dataservice.request_formats import EventPickingRequest, RecoveryRequest, WorkflowRequest
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


class Fate(Enum):
    """What becomes of a request after an attempt."""

    done = "done"
    refused = "refused"  # trying again would not help
    later = "later"  # try again, while there is time


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt; ``message`` is for the user."""

    fate: Fate
    message: str = ""

    @classmethod
    def done(cls, message: str = "") -> Outcome:
        """It worked."""
        return cls(Fate.done, message)

    @classmethod
    def refused(cls, message: str) -> Outcome:
        """It cannot work."""
        return cls(Fate.refused, message)

    @classmethod
    def later(cls, message: str) -> Outcome:
        """It may work another time."""
        return cls(Fate.later, message)


class RequestPluginBase:
    """Base of these plug-ins; one instance serves one run of a script, or one request at the web server."""

    def __init__(self, *, taskBuffer: TaskBuffer, logger: LogWrapper) -> None:
        self.taskBuffer = taskBuffer
        self.logger = logger


class EventPickerPluginBase(RequestPluginBase):
    """Finds the files with the events of a request, and makes the dataset that the user's task reads."""

    def pick(self, request: EventPickingRequest) -> Outcome:
        """Carry the request out. An exception counts as an attempt that may work another time."""
        raise NotImplementedError


class FileRecoveryPluginBase(RequestPluginBase):
    """Marks files as lost, and lets tasks produce them again.

    The caller's right to do so is the plug-in's to check: the request has the DN and ``isProductionManager``.
    """

    def recover(self, request: RecoveryRequest) -> Outcome:
        """Carry the request out. An exception counts as an attempt that may work another time."""
        raise NotImplementedError


class WorkflowPluginBase(RequestPluginBase):
    """Understands workflow descriptions and runs them."""

    def check(self, request: WorkflowRequest) -> Outcome:
        """Say whether the description could be run, without running it."""
        raise NotImplementedError

    def run(self, request: WorkflowRequest) -> Outcome:
        """Carry the request out. An exception counts as an attempt that may work another time."""
        raise NotImplementedError


class NoEventIndex(EventPickerPluginBase):
    """The one of a server without event index."""

    def pick(self, request: EventPickingRequest) -> Outcome:
        """Refuse."""
        return Outcome.refused(
            f"This server has no event index, so it cannot look up {request.about}. "
            "An administrator can add one (setting event_picker_plugins)."
        )


class NoFileRecovery(FileRecoveryPluginBase):
    """The one of a server without task layer."""

    def recover(self, request: RecoveryRequest) -> Outcome:
        """Refuse."""
        return Outcome.refused(
            f"This server has no task layer, so it cannot make {request.about} again. "
            "An administrator can add one (setting file_recovery_plugins)."
        )


class NoWorkflowEngine(WorkflowPluginBase):
    """The one of a server without workflow engine."""

    def check(self, request: WorkflowRequest) -> Outcome:
        """Refuse."""
        return Outcome.refused(
            f"This server has no workflow engine, so it cannot deal with the {request.about}. "
            "An administrator can add one (setting workflow_plugins)."
        )

    def run(self, request: WorkflowRequest) -> Outcome:
        """Refuse."""
        return self.check(request)
