"""What an experiment may do with new jobs before they can run: the interface of Setupper plug-ins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from pandaserver.taskbuffer.job_flags import JUMBO

if TYPE_CHECKING:
    from pandacommon.pandalogger.LogWrapper import LogWrapper
    from pandaserver.taskbuffer.JobSpec import JobSpec
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


class SetupperPluginBase:
    """Base of Setupper plug-ins. An instance gets the jobs of its own VO only, and changes them in place.

    After ``run`` each job says what becomes of it: ``failed`` or ``waiting`` in ``jobStatus`` with the error that
    explains it; else it is activated, or assigned if it or one of its inputs has a ``dispatchDBlock`` that is not
    there yet. Named parameters of the caller become attributes, whatever they are.
    """

    #: Say True if ``run`` does nothing that submission does not do itself: new jobs with a queue are activated at once.
    nothing_to_prepare: ClassVar[bool] = False

    def __init__(self, taskBuffer: TaskBuffer, jobs: Iterable[JobSpec], logger: LogWrapper, **params: Any) -> None:
        self.taskBuffer = taskBuffer
        self.jobs: list[JobSpec] = []
        self.jumboJobs: list[JobSpec] = []
        for job in jobs:
            (self.jumboJobs if job.eventService == JUMBO else self.jobs).append(job)
        self.logger = logger
        for name, value in params.items():
            setattr(self, name, value)

    def run(self) -> None:
        """Prepare ``self.jobs``. Raising fails the jobs that have no error of their own yet."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to prepare jobs")

    def postRun(self) -> None:
        """Do what has to wait until the jobs have their new status, such as asking for transfers."""
