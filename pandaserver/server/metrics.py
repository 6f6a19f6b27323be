"""What the web processes of a machine count, and the page on which Prometheus reads it.

Every process counts in files of its own in one directory (the multiprocess mode of prometheus_client), and whichever
process is asked adds them up. Only imported where ``metrics_dir`` is set: it costs 10 ms and 2 MB.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pandaserver.daemons.status import MasterStatus
from pandaserver.server.metric_files import reading_metrics
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.db_proxy_mods.inspection import JobCounts
from pandaserver.taskbuffer.operation import Operation

R = TypeVar("R")

#: Seconds; a request has 60 s by default, a call of the database at most that.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of this process."""

    def __init__(self, directory: Path, logger: logging.Logger) -> None:
        self.directory = directory
        self._harmless = _Harmless(logger)
        directory.mkdir(parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # the library takes it from nowhere else
        values.ValueClass = values.MultiProcessValue()  # whether or not it was imported before we set the variable
        mine = CollectorRegistry()  # that nobody reads: the files are read
        self._requests = Counter(
            "panda_requests", "Requests by name, door and HTTP status.", ("name", "door", "status"), registry=mine
        )
        self._request_seconds = Histogram(
            "panda_request_seconds", "Time to the reply of a request.", ("name",), buckets=BUCKETS, registry=mine
        )
        self._calls = Counter(
            "panda_database_calls", "Calls of the database by operation and outcome.", _OPERATION, registry=mine
        )
        self._call_seconds = Histogram(
            "panda_database_call_seconds",
            "Time of a call of the database, waiting for a connection included.",
            ("operation",),
            buckets=BUCKETS,
            registry=mine,
        )
        self._transactions = Counter(
            "panda_database_transactions",
            "Transactions that were begun; more than calls where lock races were lost and run again.",
            registry=mine,
        )
        self._in_progress = Gauge(
            "panda_database_calls_in_progress",
            "Calls of the database that wait for a connection or use one.",
            registry=mine,
            multiprocess_mode="livesum",
        )
        self._connections = Gauge(
            "panda_database_connections",
            "Connections that the web processes of this machine may use.",
            registry=mine,
            multiprocess_mode="livesum",
        )
        # Looking a labelled child up costs more than counting.
        self._by_request: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._time_request: dict[str, Callable[[float], None]] = {}
        self._by_call: dict[tuple[str, str], Callable[[], None]] = {}
        self._time_call: dict[str, Callable[[float], None]] = {}

    def request(self, name: str, door: str, status: int, seconds: float) -> None:
        """Count a request. ``name`` is one of the declared ones, so that there are not too many of them."""
        with self._harmless:
            key = (name, door, status)
            count = self._by_request.get(key)
            if count is None:
                count = self._by_request[key] = self._requests.labels(name, door, str(status)).inc
            count()
            observe = self._time_request.get(name)
            if observe is None:
                observe = self._time_request[name] = self._request_seconds.labels(name).observe
            observe(seconds)

    def counting(self, caller: Caller, size: int, transactions: Callable[[], int]) -> Caller:
        """Return a caller that counts the calls of another one, which has ``size`` connections."""
        self._connections.set(size)
        return _CountingCaller(caller, self, transactions)

    def begin_call(self) -> None:
        """Count a call that waits or runs."""
        with self._harmless:
            self._in_progress.inc()

    def end_call(self, operation: str, outcome: str, seconds: float, transactions: int) -> None:
        """Count a call that is over."""
        with self._harmless:
            self._in_progress.dec()
            key = (operation, outcome)
            count = self._by_call.get(key)
            if count is None:
                count = self._by_call[key] = self._calls.labels(*key).inc
            count()
            observe = self._time_call.get(operation)
            if observe is None:
                observe = self._time_call[operation] = self._call_seconds.labels(operation).observe
            observe(seconds)
            if transactions > 0:
                self._transactions.inc(transactions)

    def page(self, jobs: JobCounts | None, daemon: MasterStatus | None) -> bytes:
        """Return the numbers of all processes of this machine, of its daemon, and the counts of jobs."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.directory))
        registry.register(_Facts([*_server(), *_job_metrics(jobs), *_daemon_metrics(daemon, time.time())]))
        with reading_metrics(self.directory):
            text: bytes = generate_latest(registry)
        return text


_OPERATION: Final = ("operation", "outcome")


class _Harmless:
    """Keeps a full disk, or somebody who damages the files, from costing a request; tells it once."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, OSError | ValueError):
            return False
        if not self._told:
            self._told = True
            self._logger.error("not everything is counted for /metrics: %r", error)
        return True


class _CountingCaller:
    def __init__(self, inner: Caller, metrics: Metrics, transactions: Callable[[], int]) -> None:
        self._inner = inner
        self._metrics = metrics
        self._transactions = transactions
        self._seen = 0
        self._looking = threading.Lock()

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        started, outcome = perf_counter(), "ok"
        self._metrics.begin_call()
        try:
            return self._inner.call(operation, args, kwargs, timeout)
        except PandaError as error:
            outcome = error.code
            raise
        except BaseException:
            outcome = "bug"
            raise
        finally:
            with self._looking:
                now = self._transactions()
                begun, self._seen = now - self._seen, now
            self._metrics.end_call(operation.name, outcome, perf_counter() - started, begun)

    def close(self) -> None:
        self._inner.close()


class _Facts(Collector):
    """Numbers that nobody counts: they were looked up for this page."""

    def __init__(self, facts: list[Metric]) -> None:
        self._facts = facts

    def collect(self) -> list[Metric]:
        return self._facts


def _server() -> Iterator[Metric]:
    about = GaugeMetricFamily("panda_server_info", "Host and version of this server.", labels=("host", "version"))
    about.add_metric((socket.gethostname(), _version()), 1)
    yield about


def _version() -> str:
    try:
        return version("panda-server")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"


def _job_metrics(counts: JobCounts | None) -> Iterator[Metric]:
    known = float(counts is not None)
    yield GaugeMetricFamily("panda_jobs_known", "Whether the counts of jobs could be read.", value=known)
    if counts is None or counts.age is None:
        return
    jobs = GaugeMetricFamily("panda_jobs", "Jobs that are not final, of all machines, by state.", labels=("state",))
    for state, number in counts.by_state.items():
        jobs.add_metric((state,), number)
    yield jobs
    yield GaugeMetricFamily("panda_jobs_age_seconds", "Time since the jobs were counted.", value=counts.age)


def _daemon_metrics(master: MasterStatus | None, now: float) -> Iterator[Metric]:
    alive = master is not None and master.is_beating(now)
    yield GaugeMetricFamily("panda_daemon_up", "Whether the daemon of this machine lives.", value=float(alive))
    if master is None:
        return
    workers = GaugeMetricFamily("panda_daemon_workers", "Workers of the daemon by what they do.", labels=("phase",))
    for phase, number in master.workers.items():
        workers.add_metric((phase,), number)
    yield workers
    yield GaugeMetricFamily("panda_daemon_workers_wanted", "n_proc of the daemon.", value=master.n_proc)
    by_script = ("daemon",)
    runs = CounterMetricFamily("panda_daemon_runs", "Runs since the master started.", labels=("daemon", "result"))
    skips = CounterMetricFamily("panda_daemon_skips", "Starts left to another machine.", labels=by_script)
    total = CounterMetricFamily("panda_daemon_run_seconds", "Time of all runs together.", labels=by_script)
    last = GaugeMetricFamily("panda_daemon_last_start_seconds", "Last start, since 1970.", labels=by_script)
    late = GaugeMetricFamily("panda_daemon_late_seconds", "Time by which a start is or was late.", labels=by_script)
    for script in master.scripts:
        history = script.history
        runs.add_metric((script.name, "done"), history.runs - history.failures)
        runs.add_metric((script.name, "failed"), history.failures)
        skips.add_metric((script.name,), history.skipped)
        total.add_metric((script.name,), history.seconds)
        late.add_metric((script.name,), script.late)
        if history.last_start is not None:
            last.add_metric((script.name,), history.last_start)
    yield from (runs, skips, total, last, late)
