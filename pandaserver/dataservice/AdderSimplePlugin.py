"""Outputs of experiments without rules of their own: registered in the catalogue if there is one."""

from __future__ import annotations

import uuid

from pandaserver.dataservice.AdderPluginBase import AdderPluginBase, AdderStatus
from pandaserver.srvcore.errors import Conflict, ExternalError
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS


class AdderSimplePlugin(AdderPluginBase):
    """Register output and log files at the queue's default write endpoint; without a DDM there is nothing to do."""

    def execute(self) -> None:
        """Register what the job has made in one request; the catalogue's refusal is final, its absence is not."""
        if self.ddm is None:
            return
        files = []
        for spec in self.job.Files:
            if spec.type not in ("output", "log") or spec.status != "ready" or spec.destinationSE == "local":
                continue
            if not spec.GUID:
                spec.GUID = str(uuid.uuid4())
            files.append(spec)
        queue = self.siteMapper.get(self.job.computingSite or "")
        endpoint = queue.endpoints("output", self.job.prodSourceLabel in ANALYSIS_LABELS).default
        try:
            self.ddm.register_outputs(files, endpoint=endpoint)
        except Conflict as error:
            self.logger.error(f"catalogue refused outputs error={error.message}")
            self.result.statusCode = AdderStatus.fatal
        except ExternalError as error:
            self.logger.warning(f"catalogue not available error={error.message}")
            self.result.statusCode = AdderStatus.temporary
