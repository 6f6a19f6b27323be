"""Historical calls about statistics, queues, users, files and harvesters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pandaserver.userinterface.client_historical import Historical, Reply, jsoned, pickled, plain

#: Names of a list, or the word for all of them.
Chosen = Sequence[str] | Literal["ALL"]


class OtherCalls(Historical):
    """What is neither about jobs nor about tasks. Each call returns a status, 0 or 255, and the reply."""

    # ---- statistics and queues ---------------------------------------------------------------------------------------

    def getJobStatistics(self, sourcetype: str | None = None) -> Reply:
        """Count jobs by cloud and status."""
        return self.ask("getJobStatistics", pickled, sourcetype=sourcetype)

    def getJobStatisticsForBamboo(self) -> Reply:
        """Count production jobs by cloud, processing type and status."""
        return self.ask("getJobStatisticsForBamboo", pickled)

    def getJobStatisticsPerSite(
        self,
        predefined: bool = False,
        workingGroup: str = "",
        countryGroup: str = "",
        jobType: str = "",
        minPriority: int | None = None,
        readArchived: bool = False,
    ) -> Reply:
        """Count jobs by queue and status."""
        return self.ask(
            "getJobStatisticsPerSite",
            pickled,
            predefined=predefined,
            workingGroup=workingGroup or None,
            countryGroup=countryGroup or None,
            jobType=jobType or None,
            minPriority=minPriority,
            readArchived=readArchived,
        )

    def getJobStatisticsPerSiteResource(self, timeWindow: int | None = None) -> Reply:
        """Count jobs by queue, resource type and status."""
        return self.ask("getJobStatisticsPerSiteResource", jsoned, timeWindow=timeWindow)

    def get_job_statistics_per_site_label_resource(self, time_window: int | None = None) -> Reply:
        """Count jobs by queue, label, resource type and status."""
        return self.ask("get_job_statistics_per_site_label_resource", jsoned, time_window=time_window)

    def getSiteSpecs(self, siteType: str = "analysis") -> Reply:
        """Return queues with their attributes."""
        return self.ask("getSiteSpecs", pickled, siteType=siteType)

    def getPandaClientVer(self) -> Reply:
        """Return the version of the client that users should have."""
        return self.ask("getPandaClientVer", plain)

    def isAlive(self) -> Reply:
        """Return alive=yes."""
        return self.ask("isAlive", plain)

    # ---- users -------------------------------------------------------------------------------------------------------

    def set_user_secret(self, key: str | None = None, value: str | None = None) -> Reply:
        """Set a secret, or delete one or all."""
        return self.tell("set_user_secret", jsoned, key=key, value=value)

    def get_user_secrets(self, keys: Sequence[str] | None = None, get_json: bool = False) -> Reply:
        """Return secrets."""
        names = ",".join(keys) if keys else None
        return self.ask("get_user_secrets", jsoned, keys=names, get_json=get_json)

    def get_ban_users(self) -> Reply:
        """Return the banned users."""
        return self.ask("get_ban_users", jsoned)

    def registerProxyKey(self, credname: str, origin: str, myproxy: str) -> Reply:
        """Tell under which name a MyProxy server keeps the proxy."""
        return self.tell("registerProxyKey", plain, credname=credname, origin=origin, myproxy=myproxy)

    def getProxyKey(self) -> Reply:
        """Return what was told."""
        return self.ask("getProxyKey", pickled)

    # ---- files and workflows -----------------------------------------------------------------------------------------

    def putFile(self, file: str | Path) -> Reply:
        """Upload a file for jobs to fetch."""
        return self.tell("putFile", plain, file=Path(file))

    def touchFile(self, filename: str) -> Reply:
        """Keep a file longer."""
        return self.tell("touchFile", plain, filename=filename)

    def deleteFile(self, file: str) -> Reply:
        """Say that a file is not needed any more."""
        return self.tell("deleteFile", plain, file=file)

    def put_workflow_request(self, params: Mapping[str, Any], check: bool = False) -> Reply:
        """Hand a workflow over."""
        return self.tell("put_workflow_request", jsoned, data=dict(params), check=check)

    def relay_idds_command(
        self,
        command_name: str,
        args: str | None = None,
        kwargs: str | None = None,
        manager: bool = False,
        json_outputs: bool = True,
    ) -> Reply:
        """Hand a command to iDDS."""
        return self.tell(
            "relay_idds_command",
            jsoned,
            command_name=command_name,
            args=args,
            kwargs=kwargs,
            manager=manager,
            json_outputs=json_outputs,
        )

    def execute_idds_workflow_command(self, command_name: str, kwargs: str, json_outputs: bool = True) -> Reply:
        """Command a workflow."""
        return self.tell(
            "execute_idds_workflow_command",
            jsoned,
            command_name=command_name,
            kwargs=kwargs,
            json_outputs=json_outputs,
        )

    # ---- harvesters and provisioning ---------------------------------------------------------------------------------

    def updateWorkers(self, harvesterID: str, workers: Sequence[Mapping[str, Any]]) -> Reply:
        """Report workers."""
        return self.tell("updateWorkers", jsoned, harvesterID=harvesterID, workers=list(workers))

    def updateServiceMetrics(self, harvesterID: str, metrics: Sequence[Any]) -> Reply:
        """Report measurements."""
        return self.tell("updateServiceMetrics", jsoned, harvesterID=harvesterID, metrics=list(metrics))

    def addHarvesterDialogs(self, harvesterID: str, dialogs: Sequence[Mapping[str, Any]]) -> Reply:
        """Report complaints."""
        return self.tell("addHarvesterDialogs", jsoned, harvesterID=harvesterID, dialogs=list(dialogs))

    def harvesterIsAlive(self, harvesterID: str, data: Mapping[str, Any] | None = None) -> Reply:
        """Say that a harvester lives."""
        return self.tell("harvesterIsAlive", jsoned, harvesterID=harvesterID, data=None if data is None else dict(data))

    def reportWorkerStats_jobtype(self, harvesterID: str, siteName: str, paramsList: Mapping[str, Any]) -> Reply:
        """Report counts of workers."""
        return self.tell(
            "reportWorkerStats_jobtype", jsoned, harvesterID=harvesterID, siteName=siteName, paramsList=dict(paramsList)
        )

    def setNumSlotsForWP(
        self,
        pandaQueueName: str,
        numSlots: int,
        gshare: str | None = None,
        resourceType: str | None = None,
        validPeriod: int | None = None,
    ) -> Reply:
        """Set how many slots a queue shall fill."""
        return self.tell(
            "setNumSlotsForWP",
            jsoned,
            pandaQueueName=pandaQueueName,
            numSlots=numSlots,
            gshare=gshare,
            resourceType=resourceType,
            validPeriod=validPeriod,
        )

    def sweepPQ(self, panda_queue: str, status_list: Chosen, ce_list: Chosen, submission_host_list: Chosen) -> Reply:
        """Let harvesters end workers of a queue."""
        lists = {"status_list": status_list, "ce_list": ce_list, "submission_host_list": submission_host_list}
        texts: dict[str, Any] = {name: json.dumps(value) for name, value in lists.items()}
        return self.tell("sweepPQ", jsoned, panda_queue=json.dumps(panda_queue), **texts)
