"""A small harvester: says what each of the three generations says, and stops where they would stop.

It keeps no state: a test tells it what its workers do. The bytes on the wire are those of the stock harvester.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from pandaserver.testing.harvester_wire import METHODS, Generation, Heard, understand

#: Sends verb, path with query, body and content type; returns status and body.
Send = Callable[[str, str, bytes, str | None], tuple[int, bytes]]

FORM, JSON = "application/x-www-form-urlencoded", "application/json"

#: Names of parameters in old forms, where they differ from those of v1.
_OLD_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    **{name: {"harvester_id": "harvesterID"} for name in ("heartbeat", "update_workers", "dialogs", "metrics")},
    "report_worker_statistics": {"harvester_id": "harvesterID", "panda_queue": "siteName", "statistics": "paramsList"},
    "old_worker_statistics": {"harvester_id": "harvesterID", "panda_queue": "siteName", "statistics": "paramsList"},
    "jobs": {
        "site_name": "siteName",
        "computing_element": "computingElement",
        "prod_source_label": "prodSourceLabel",
        "n_jobs": "nJobs",
        "scheduler_id": "schedulerID",
    },
    "update_jobs": {"job_list": "jobList"},
    "check_jobs": {"job_ids": "ids"},
}


class Harvester:
    """One instance of one generation."""

    def __init__(self, send: Send, harvester_id: str, generation: Generation) -> None:
        self._send = send
        self.harvester_id = harvester_id
        self.generation: Final = generation

    @property
    def is_new(self) -> bool:
        """Whether it speaks v1."""
        return self.generation == "2026"

    def call(self, name: str, **parameters: Any) -> Heard:
        """Make one call with parameters under the names of v1, and return what is made of the reply."""
        method = METHODS[name]
        if self.is_new:
            path = f"/api/v1/{method.v1}"
            if method.verb == "GET":
                query = urlencode(parameters, doseq=True)
                status, body = self._send("GET", f"{path}?{query}" if query else path, b"", None)
            else:
                status, body = self._send("POST", path, json.dumps(parameters).encode(), JSON)
        else:
            fields = urlencode(_form(name, parameters)).encode()
            # Without parameters they send a POST that has no type either.
            status, body = self._send("POST", f"/server/panda/{method.legacy}", fields, FORM if fields else None)
        return understand(self.generation, name, status, body)

    def start(self, queues: Sequence[str], resource_types: Sequence[str] = ("SCORE",)) -> Heard:
        """Register and announce the commands that this generation understands."""
        words = ("REPORT_WORKER_STATS", "SET_N_WORKERS" if self.generation == "2019" else "SET_N_WORKERS_JOBTYPE")
        data = {
            "startTime": "datetime/2026-08-01 10:00:00.123456",
            "sw_version": {"2019": "0.0.20", "0.5": "0.5.15", "2026": "0.7.5"}[self.generation],
            "commit_stamp": "01-08-2026 10:00:00 on main",
            "commands": [
                {"command": word, "computingSite": queue, "resourceType": kind}
                for queue in queues
                for kind in resource_types
                for word in words
            ],
        }
        return self.call("heartbeat", harvester_id=self.harvester_id, data=data)

    def update_workers(self, workers: Sequence[Mapping[str, Any]]) -> Heard:
        """Report workers; each becomes the map that a harvester makes of it."""
        return self.call("update_workers", harvester_id=self.harvester_id, workers=[self._worker(w) for w in workers])

    def _worker(self, worker: Mapping[str, Any]) -> dict[str, Any]:
        whole = {
            "batchID": f"{worker['workerID']}.0",
            "queueName": "grid",
            "computingSite": "TEST_PQ",
            "nCore": 1,
            "submitTime": "datetime/2026-08-01 10:00:00.000000",
            "stdOut": f"http://hv01.example/{worker['workerID']}.out",
            "resourceType": "SCORE",
            "computingElement": "ce01.example",
            "submissionHost": "sub01,sub01",
            "harvesterHost": "hv01",
            "pandaid_list": [],
        }
        return whole | ({} if self.generation == "2019" else {"jobType": "managed", "minRamCount": 2000}) | dict(worker)

    def acquire_jobs(self, queue: str, number: int, label: str = "managed") -> Heard:
        """Ask for jobs of a queue."""
        return self.call(
            "jobs",
            site_name=queue,
            node="hv01",
            prod_source_label=label,
            computing_element="hv01",
            n_jobs=number,
            scheduler_id=f"harvester-{self.harvester_id}",
        )

    def update_jobs(self, states: Mapping[int, str], attempt: int = 1, **more: Any) -> Heard:
        """Report about jobs of queue TEST_PQ."""
        if self.is_new:
            jobs = [
                {"job_id": pid, "job_status": state, "attempt_nr": attempt, "site_name": "TEST_PQ",
                 "job_sub_status": state, "core_count": 1, "scheduler_id": f"harvester-{self.harvester_id}",
                 "cpu_consumption_time": "30", "trans_exit_code": "0", **more}
                for pid, state in states.items()
            ]  # fmt: skip
        else:
            jobs = [
                {"jobId": pid, "state": state, "attemptNr": attempt, "siteName": "TEST_PQ", "jobSubStatus": state,
                 "coreCount": 1, "startTime": "2026-08-01 10:05:00", "endTime": "2026-08-01 11:05:00",
                 "cpuConsumptionTime": "30", "transExitCode": "0", **more}
                for pid, state in states.items()
            ]  # fmt: skip
        return self.call("update_jobs", job_list=jobs, harvester_id=self.harvester_id)

    def report_workers(self, queue: str, numbers: Mapping[str, Mapping[str, int]]) -> Heard:
        """Report how many workers a queue has, by resource type and status."""
        old = self.generation == "2019"
        said: Any = numbers if old else {"managed": numbers}
        return self.call(
            "old_worker_statistics" if old else "report_worker_statistics",
            harvester_id=self.harvester_id,
            panda_queue=queue,
            statistics=json.dumps(said),
        )

    def commands(self, number: int = 20) -> Heard:
        """Fetch commands."""
        return self.call("commands", harvester_id=self.harvester_id, n_commands=number)


def _form(name: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of an old form: structures are JSON text, identifiers of jobs a list with commas."""
    old = _OLD_NAMES.get(name, {})
    fields: dict[str, str] = {}
    for key, value in parameters.items():
        if key == "job_ids":
            text = ",".join(str(pid) for pid in value)
        else:
            text = json.dumps(value) if isinstance(value, list | dict) else str(value)
        if value is not None:
            fields[old.get(key, key)] = text
    return fields
