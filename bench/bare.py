"""The bare transaction: the same operation in a process of its own, without any web (see helper.py).

As many of these run side by side as the server has database children, so both have the same number of connections.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bench import shapes
from bench.conversations import mine, report_of, turn
from bench.durations import summary
from bench.helper import serve
from pandaserver.api.parameters import Signature
from pandaserver.api.registry import Door
from pandaserver.brokerage.site_reader import site_from
from pandaserver.config.panda_config import connection_settings, load, operation_settings
from pandaserver.jobdispatcher.heartbeat_fields import report_of as status_report
from pandaserver.jobdispatcher.heartbeat_requests import update_job
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.testing.development_issuer import VO

#: Name of an operation and its argument.
Call = tuple[str, Any]

_HEARTBEAT: Final = Signature(update_job)


def acquiring(arguments: Mapping[str, Any], number: int, count: int) -> Iterator[Call]:
    """Take jobs as the handler of getJob does."""
    for queue in itertools.cycle(turn(arguments["queues"], number, count)):
        parameters = shapes.wanted(queue)
        yield (
            "acquire_jobs",
            JobRequest(
                queue,
                selection=Selection.user,
                memory=int(parameters["mem"]),
                node=parameters["node"],
                computing_element=queue,
            ),
        )


def heartbeats(arguments: Mapping[str, Any], number: int, count: int) -> Iterator[Call]:
    """Report for running jobs."""
    queue, attempt = arguments["queue"], arguments["attempt"]
    reports = [_report(shapes.heartbeat(i, queue, attempt)) for i in mine(arguments["ids"], number, count)]
    return (("report_status", report) for report in itertools.cycle(reports))


def endings(arguments: Mapping[str, Any], number: int, count: int) -> Iterator[Call]:
    """Report the end of each running job, once."""
    queue, attempt, lfns = arguments["queue"], arguments["attempt"], arguments["lfns"]
    for panda_id in mine(arguments["ids"], number, count):
        text = report_of([f"{lfn}.{panda_id}" for lfn in lfns])
        yield "report_status", _report(shapes.final(panda_id, queue, attempt, text))


def submissions(arguments: Mapping[str, Any], number: int, count: int) -> Iterator[Call]:
    """Submit the same jobs again and again, in each process as another user."""
    del count
    queue = arguments["queue"]
    submission = Submission(
        jobs=[shapes.client_job(queue, n) for n in range(arguments["jobs"])],
        submitter=Submitter(f"/CN=Bare {number}", f"Bare {number}", vo=VO),
        queues={queue: site_from(queue, {"type": "unified", "status": "online"})},
        nothing_to_prepare={"any": True},
    )
    return itertools.repeat(("store_jobs", submission))


_CALLS: Final[Mapping[str, Callable[[Mapping[str, Any], int, int], Iterator[Call]]]] = {
    "acquiring": acquiring,
    "heartbeats": heartbeats,
    "endings": endings,
    "submissions": submissions,
}


def _report(parameters: Mapping[str, Any]) -> StatusReport:
    return status_report(_HEARTBEAT.bind(Door.LEGACY, parameters, typed=True).arguments)


def prepare(task: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """Connect and make the arguments of all calls; the result makes the calls."""
    server = load(os.environ).server
    proxy = OraDBProxy(connection_settings(server), operation_settings(server))
    proxy.call("check_database")
    calls = _CALLS[task["conversation"]](task["arguments"], task["number"], task["processes"])

    def run() -> Mapping[str, Any]:
        return _run(proxy, calls, task["seconds"], task["most"])

    return run


def _run(proxy: OraDBProxy, calls: Iterator[Call], seconds: float, most: int) -> Mapping[str, Any]:
    durations: list[float] = []
    errors: dict[str, int] = {}
    started, cpu = time.perf_counter(), time.process_time()
    for name, argument in itertools.islice(calls, most):
        before = time.perf_counter()
        if before - started > seconds:
            break
        try:
            proxy.call(name, [argument])
        except PandaError as error:
            errors[str(error)] = errors.get(str(error), 0) + 1
        else:
            durations.append(time.perf_counter() - before)
    elapsed, spent = time.perf_counter() - started, time.process_time() - cpu
    proxy.close()
    return {**summary(durations, elapsed), "cpu_ms": spent * 1000 / max(len(durations), 1), "errors": errors}


if __name__ == "__main__":
    serve(prepare)
