"""Historical calls about tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pandaserver.userinterface.client_historical import Historical, Reply, jsoned, pickled


class TaskCalls(Historical):
    """Submitting tasks, looking at them, commanding them. Each call returns a status, 0 or 255, and the reply.

    The reply to a command is a pair of a code and a message; a server without task layer says so in it.
    """

    def insertTaskParams(
        self, taskParams: Mapping[str, Any], properErrorCode: bool = True, parent_tid: int | None = None
    ) -> Reply:
        """Submit a task."""
        return self.tell(
            "insertTaskParams",
            pickled,
            taskParams=dict(taskParams),
            properErrorCode=properErrorCode,
            parent_tid=parent_tid,
        )

    def killTask(self, jediTaskID: int, properErrorCode: bool = True, broadcast: bool = False) -> Reply:
        """End a task."""
        return self._command("killTask", jediTaskID, properErrorCode=properErrorCode, broadcast=broadcast)

    def finishTask(
        self, jediTaskID: int, soft: bool = False, properErrorCode: bool = True, broadcast: bool = False
    ) -> Reply:
        """End a task with what it has."""
        return self._command("finishTask", jediTaskID, soft=soft, properErrorCode=properErrorCode, broadcast=broadcast)

    def retryTask(
        self,
        jediTaskID: int,
        properErrorCode: bool = True,
        newParams: Mapping[str, Any] | None = None,
        noChildRetry: bool = False,
        discardEvents: bool = False,
        disable_staging_mode: bool = False,
    ) -> Reply:
        """Run what failed again."""
        return self._command(
            "retryTask",
            jediTaskID,
            properErrorCode=properErrorCode,
            newParams=None if newParams is None else dict(newParams),
            noChildRetry=noChildRetry,
            discardEvents=discardEvents,
            disable_staging_mode=disable_staging_mode,
        )

    def reassignTask(
        self,
        jediTaskID: int,
        site: str | None = None,
        cloud: str | None = None,
        nucleus: str | None = None,
        soft: bool = False,
        mode: str | None = None,
    ) -> Reply:
        """Run a task elsewhere."""
        return self._command("reassignTask", jediTaskID, site=site, cloud=cloud, nucleus=nucleus, soft=soft, mode=mode)

    def reloadInput(self, jediTaskID: int) -> Reply:
        """Look for new input."""
        return self._command("reloadInput", jediTaskID, properErrorCode=True)

    def pauseTask(self, jediTaskID: int) -> Reply:
        """Suspend a task."""
        return self._command("pauseTask", jediTaskID)

    def resumeTask(self, jediTaskID: int) -> Reply:
        """Let a suspended task go on."""
        return self._command("resumeTask", jediTaskID)

    def avalancheTask(self, jediTaskID: int) -> Reply:
        """Make all jobs without waiting for scouts."""
        return self._command("avalancheTask", jediTaskID)

    def reactivateTask(
        self, jediTaskID: int, keep_attempt_nr: bool = False, trigger_job_generation: bool = False
    ) -> Reply:
        """Process all input again."""
        return self._command(
            "reactivateTask",
            jediTaskID,
            keep_attempt_nr=keep_attempt_nr,
            trigger_job_generation=trigger_job_generation,
        )

    def increaseAttemptNrPanda(self, jediTaskID: int, increasedNr: int) -> Reply:
        """Give the input of a task more attempts."""
        return self._command("increaseAttemptNrPanda", jediTaskID, increasedNr=increasedNr)

    def changeTaskPriority(self, jediTaskID: int, newPriority: int) -> Reply:
        """Give a task another priority."""
        return self._command("changeTaskPriority", jediTaskID, newPriority=newPriority)

    def changeTaskAttributePanda(self, jediTaskID: int, attrName: str, attrValue: int) -> Reply:
        """Change an attribute."""
        return self._command("changeTaskAttributePanda", jediTaskID, attrName=attrName, attrValue=attrValue)

    def changeTaskSplitRulePanda(self, jediTaskID: int, attrName: str, attrValue: str) -> Reply:
        """Change a rule of splitting."""
        return self._command("changeTaskSplitRulePanda", jediTaskID, attrName=attrName, attrValue=attrValue)

    def changeTaskModTimePanda(self, jediTaskID: int, diffValue: int) -> Reply:
        """Set the time of the last change, so many hours from now."""
        return self._command("changeTaskModTimePanda", jediTaskID, diffValue=diffValue)

    def reassignShare(self, jedi_task_ids: Sequence[int], share: str, reassign_running: bool) -> Reply:
        """Give tasks to another share."""
        ids = list(jedi_task_ids)
        return self.tell(
            "reassignShare", pickled, jedi_task_ids_pickle=ids, share=share, reassign_running=reassign_running
        )

    def enableJumboJobs(self, jediTaskID: int, nJumboJobs: int, nJumboPerSite: int | None = None) -> Reply:
        """Let a task run jumbo jobs."""
        return self.tell(
            "enableJumboJobs", jsoned, jediTaskID=jediTaskID, nJumboJobs=nJumboJobs, nJumboPerSite=nJumboPerSite
        )

    def getTaskStatus(self, jediTaskID: int) -> Reply:
        """Return the status of a task."""
        return self.ask("getTaskStatus", pickled, jediTaskID=jediTaskID)

    def getTaskParamsMap(self, jediTaskID: int) -> Reply:
        """Return the parameters of a task, as JSON text."""
        return self.ask("getTaskParamsMap", pickled, jediTaskID=jediTaskID)

    def getJediTaskDetails(self, jediTaskID: int, fullFlag: bool = True, withTaskInfo: bool = True) -> Reply:
        """Return datasets and jobs of a task."""
        return self.ask(
            "getJediTaskDetails", pickled, jediTaskID=jediTaskID, fullFlag=fullFlag, withTaskInfo=withTaskInfo
        )

    def getJediTasksInTimeRange(
        self,
        timeRange: datetime,
        dn: str | None = None,
        fullFlag: bool = False,
        minTaskID: int | None = None,
        task_type: str = "user",
    ) -> Reply:
        """Return the tasks that changed since then, by reqID."""
        return self.ask(
            "getJediTasksInTimeRange",
            pickled,
            timeRange=timeRange.strftime("%Y-%m-%d %H:%M:%S"),
            dn=dn,
            fullFlag=fullFlag,
            minTaskID=minTaskID,
            task_type=task_type,
        )

    def get_files_in_datasets(self, task_id: int, dataset_types: str = "input,pseudo_input") -> Reply:
        """Return the datasets of a task with their files."""
        return self.ask("get_files_in_datasets", jsoned, task_id=task_id, dataset_types=dataset_types)

    def getJumboJobDatasets(self, n_days: int, grace_period: int = 0) -> Reply:
        """Return the tasks with jumbo jobs."""
        return self.ask("getJumboJobDatasets", jsoned, n_days=n_days, grace_period=grace_period)

    def _command(self, method: str, jediTaskID: int, **fields: Any) -> Reply:
        return self.tell(method, pickled, jediTaskID=jediTaskID, **fields)
