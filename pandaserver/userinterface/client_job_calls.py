"""Historical calls about jobs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from pandaserver.taskbuffer.client_jobs import job_as_state
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.userinterface.client_historical import Historical, Reply, jsoned, pickled, plain


class JobCalls(Historical):
    """Submitting jobs, looking at them, ending them. Each call returns a status, 0 or 255, and the reply."""

    def submitJobs(self, jobs: Sequence[JobSpec], toPending: bool = False, idempotency_key: str | None = None) -> Reply:
        """Submit jobs, all or none; the reply has PandaID, job number, and job set or name of each."""
        here = socket.gethostname()
        sent = [copy(job) for job in jobs]
        for job in sent:
            job.creationHost = here
        text = json.dumps([job_as_state(job) for job in sent])
        return self.tell("submitJobs", pickled, idempotency_key, jobs=text, toPending=toPending or None)

    def getJobStatus(self, ids: Sequence[int]) -> Reply:
        """Return jobs that are at work or ended lately; None for those that nobody knows."""
        return self.ask("getJobStatus", pickled, ids=list(ids))

    def getFullJobStatus(self, ids: Sequence[int]) -> Reply:
        """Return the same with metadata, also from the archive."""
        return self.ask("getFullJobStatus", pickled, ids=list(ids))

    def killJobs(
        self, ids: Sequence[int], code: int | None = None, useMailAsID: bool = False, killOpts: Sequence[str] = ()
    ) -> Reply:
        """End jobs; True for each that was ended or told."""
        options = ",".join(killOpts) or None
        return self.tell(
            "killJobs", pickled, ids=list(ids), code=code, useMailAsID=useMailAsID or None, killOpts=options
        )

    def killUnfinishedJobs(self, jediTaskID: int, code: int | None = None) -> Reply:
        """End the jobs of a task."""
        return self.tell("killUnfinishedJobs", pickled, jediTaskID=jediTaskID, code=code)

    def reassignJobs(self, ids: Sequence[int], forPending: bool = False) -> Reply:
        """Set jobs up again."""
        return self.tell("reassignJobs", pickled, ids=list(ids), forPending=forPending or None)

    def getPandaIDsWithTaskID(self, jediTaskID: int) -> Reply:
        """Return the PandaIDs of a task."""
        return self.ask("getPandaIDsWithTaskID", pickled, jediTaskID=jediTaskID)

    def getUserJobMetadata(self, jediTaskID: int) -> Reply:
        """Return the metadata that finished jobs of users left, by PandaID."""
        return self.ask("getUserJobMetadata", jsoned, jediTaskID=jediTaskID)

    def getScriptOfflineRunning(self, pandaID: int, days: int | None = None) -> Reply:
        """Return a script that runs a job by hand."""
        return self.ask("getScriptOfflineRunning", plain, pandaID=pandaID, days=days)

    def setDebugMode(self, pandaID: int, modeOn: bool) -> Reply:
        """Switch the debug mode of a job; the reply is Succeeded, or tells why not."""
        return self.tell("setDebugMode", plain, pandaID=pandaID, modeOn=modeOn)

    def send_command_to_job(self, panda_id: int, com: str) -> Reply:
        """Leave a command for the pilot of a job."""
        return self.tell("send_command_to_job", jsoned, panda_id=panda_id, com=com)

    def get_events_status(self, ids: Sequence[Mapping[str, int]]) -> Reply:
        """Return the states of event ranges of jobs, each given as task_id and panda_id."""
        return self.ask("get_events_status", jsoned, ids=list(ids))

    def updateEventRanges(self, eventRanges: Sequence[Mapping[str, Any]], version: int = 2) -> Reply:
        """Report event ranges."""
        return self.tell("updateEventRanges", jsoned, eventRanges=list(eventRanges), version=version)
