"""Whatever a harvester or a pilot says about workers, machines and events, every database takes the rest of it."""

from __future__ import annotations

from typing import Final

from pandaserver.jobdispatcher.event_items import reports_of
from pandaserver.jobdispatcher.harvester_values import (
    announced_commands,
    counts_by_job_type,
    dialogs_of,
    metrics_of,
    text_of,
    time_of,
    worker_update,
)
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.worker_reports import WORKER_COLUMNS, InstanceBeat
from tests.db.crowd import query
from tests.db.event_jobs import FILE, acquire, begin, consumer, submit
from tests.db.test_heartbeat_values import NUMBERS, TEXTS

TIMES: Final = (
    "datetime/0001-01-01 00:00:00.000000", "datetime/9999-12-31 23:59:59.999999", "2026-02-30 00:00:00", "datetime/",
    "0999-01-01 00:00:00", "1969-12-31 23:59:59",
)  # fmt: skip

VALUES: Final = (*NUMBERS, *TEXTS, *TIMES, 2**31, 2**63, -(2**63), 1e30, float("nan"), float("inf"), None)

ARCHIVE: Final = ("lfn", "objstoreID", "fsize", "adler32", "pathConvention")
RANGE: Final = ("errorCode", "errorDiag", "objstoreID", "pathConvention", "coreCount", "cpuConsumptionTime")
DIALOG: Final = ("moduleName", "identifier", "creationTime", "messageLevel", "diagMessage")


def test_no_value_keeps_a_worker_from_being_reported(tbuf: TaskBuffer) -> None:
    items = [
        dict.fromkeys(WORKER_COLUMNS, value) | {"workerID": n, "pandaid_list": [value, 7], "syncLevel": value}
        for n, value in enumerate(VALUES)
    ]
    updates = [update for item in items if (update := worker_update(item)) is not None]
    for _ in range(2):
        tbuf.updateWorkers("hv1", updates)
    [(number,)] = query(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.Harvester_Workers")
    assert number == len(VALUES)


def test_no_value_keeps_an_instance_from_being_alive(tbuf: TaskBuffer) -> None:
    for n, value in enumerate(VALUES):
        command = {"command": value, "computingSite": value, "resourceType": value}
        said = (time_of(value), text_of(value, 50), text_of(value, 100), tuple(announced_commands([command])))
        tbuf.harvesterIsAlive(InstanceBeat(f"hv{n}", "Jane Doe", text_of(value, 100), *said))
        tbuf.reportWorkerStats_jobtype("hv", "Q", counts_by_job_type({str(value): {str(value): {str(value): value}}}))
    tbuf.addHarvesterDialogs(
        "hv1", list(dialogs_of({"diagID": n, **dict.fromkeys(DIALOG, value)} for n, value in enumerate(VALUES)))
    )
    tbuf.updateServiceMetrics("hv1", list(metrics_of([value, value, "{}"] for value in VALUES)))
    tbuf.updateServiceMetrics("hv1", list(metrics_of(["2026-01-01 00:00:00", "h", value] for value in VALUES)))
    for table in ("Harvester_Instances", "Harvester_Dialogs"):
        assert query(tbuf, f"SELECT COUNT(*) FROM ATLAS_PANDA.{table}") == [(len(VALUES),)]


def test_no_value_keeps_a_range_from_being_finished(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(f"es:a:{FILE}/1/{len(VALUES)}/1"))
    begin(tbuf)
    keys = acquire(tbuf, pid, len(VALUES))
    items = [
        {
            "zipFile": dict.fromkeys(ARCHIVE, value),
            "eventRanges": [{**dict.fromkeys(RANGE, value), "eventRangeID": key, "eventStatus": "finished"}],
        }
        for key, value in zip(keys, VALUES, strict=True)
    ]
    assert tbuf.updateEventRanges(reports_of(items, 1), 1).returns == [True] * len(VALUES)
