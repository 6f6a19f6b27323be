"""Set-up for VOs that move no data: jobs are ready as they come."""

from __future__ import annotations

import uuid

from pandaserver.dataservice.SetupperPluginBase import SetupperPluginBase


class SetupperSimplePlugin(SetupperPluginBase):
    """Gives each log file a name of its own in catalogues, as submission does; nothing else."""

    nothing_to_prepare = True

    def run(self) -> None:
        """Draw new GUIDs for the log files: a job that is set up again must not reuse the old ones."""
        for job in (*self.jobs, *self.jumboJobs):
            for file in job.Files:
                if file.type == "log":
                    file.GUID = str(uuid.uuid4())
