"""Every privileged change leaves an audit row: followed from the request through the task buffer to its operations."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pandaserver.api.registry import REGISTRY, Auth, Route
from pandaserver.server.assembly import HANDLERS
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import Operation, operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction

for module in HANDLERS:
    importlib.import_module(module)

#: Requests whose callers need a role although they only report about themselves, with what they report.
REPORTS = {
    "file_server/update_jedi_log": "lines of a log",
    "file_server/upload_jedi_log": "a log",
    "pilot/update_worker_node": "what hardware a pilot found",
    "pilot/update_worker_node_gpu": "what hardware a pilot found",
    "pilot/update_worker_status": "that a pilot begins or ends",
    "pilot/update_job": "heartbeats; each change of a job's status has its history row",
    "pilot/update_jobs_bulk": "heartbeats",
    "pilot/acquire_jobs": "a job that is sent has its history row",
}


def privileged() -> list[Route]:
    """Return the requests that need the production role at one of their doors and do not only read."""
    return [
        route
        for route in REGISTRY
        if Auth.PRODUCTION in (route.auth, route.auth_v1) and route.method != "GET" and route.v1 not in REPORTS
    ]


def names(code: types.CodeType) -> set[str]:
    """Return the global names and attributes that code uses, that inside of it included."""
    inner = (names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def reached(function: Callable[..., Any], seen: set[Any]) -> Iterator[Callable[..., Any]]:
    """Yield a function, and every function and operation of ours that it mentions, directly or not."""
    function = function.function if isinstance(function, Operation) else function
    if not isinstance(function, types.FunctionType) or function in seen:
        return
    seen.add(function)
    yield function
    if not function.__module__.startswith(("pandaserver", "tests")):
        return
    used = names(function.__code__)
    for name in used:
        mentioned = function.__globals__.get(name)
        if isinstance(mentioned, types.ModuleType):  # module.function
            for attribute in used:
                yield from reached(getattr(mentioned, attribute, None), seen)  # type: ignore[arg-type]
        elif mentioned is not None:
            yield from reached(mentioned, seen)


def operations_of(handler: Callable[..., Any]) -> list[Operation[..., Any]]:
    """Return the operations that a handler may ask the task buffer for."""
    used = {name for function in reached(handler, set()) for name in names(function.__code__)}
    asked = (getattr(getattr(TaskBuffer, name, None), "operation", None) for name in sorted(used))
    return [one for one in asked if isinstance(one, Operation)]


def is_recorded(asked: Operation[..., Any]) -> bool:
    return asked.repeatable or audit.record in reached(asked.function, set())


def unrecorded(handler: Callable[..., Any]) -> list[str]:
    """Return the changing operations of a handler none of whose paths writes an audit row."""
    return [asked.name for asked in operations_of(handler) if not is_recorded(asked)]


@pytest.mark.parametrize("route", privileged(), ids=lambda route: route.v1 or route.legacy)
def test_a_privileged_change_leaves_an_audit_row(route: Route) -> None:
    assert unrecorded(route.handler) == []


def test_the_requests_that_are_excused_exist() -> None:
    assert REPORTS.keys() - {route.v1 for route in REGISTRY} == set()


@operation()
def change_silently_for_this_test(tx: Transaction) -> None:
    """Write nothing about itself."""
    tx.change("UPDATE ATLAS_PANDA.Secrets SET data = :data", data="x")


def test_a_change_without_a_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(call: Any) -> None:
        call.task_buffer.changeSilently()

    class Method:
        operation = change_silently_for_this_test

    monkeypatch.setattr(TaskBuffer, "changeSilently", Method(), raising=False)
    assert unrecorded(handler) == ["change_silently_for_this_test"]
