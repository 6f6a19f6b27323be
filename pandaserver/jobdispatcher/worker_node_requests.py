"""Pilots tell on which machine they run, once at their start."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope
from pandaserver.api.registry import AlsoText, Auth, Call, Lenient, request
from pandaserver.jobdispatcher.callers import task_buffer_for
from pandaserver.srvcore.errors import BadRequest

_logger = PandaLogger().getLogger("JobDispatcher")

#: Largest values that the columns take.
_INT: Final = 2**31 - 1
_BIG: Final = 2**63 - 1
_CLOCK: Final = 9_999_999.0

_NAME, _WORD = 128, 20  # characters

#: A measurement as pilots send it: a number with or without digits after the point, or its text; junk is left out.
Figure = float | None

_BUSY: Final = "another pilot of this machine is reporting it"


@request(v1="pilot/update_worker_node", legacy=None, method="POST", auth=Auth.PILOT)
def update_worker_node(
    call: Call,
    site: Annotated[str, "site of the machine"],
    host_name: Annotated[str, "name of the machine, perhaps as slot@name"],
    cpu_model: Annotated[str, "model of the processor"],
    panda_queue: Annotated[str | None, "queue of the pilot"] = None,
    n_logical_cpus: Annotated[Figure, AlsoText, Lenient, "threads of the machine"] = None,
    n_sockets: Annotated[Figure, AlsoText, Lenient, "processors"] = None,
    cores_per_socket: Annotated[Figure, AlsoText, Lenient, "cores of a processor"] = None,
    threads_per_core: Annotated[Figure, AlsoText, Lenient, "threads of a core"] = None,
    cpu_architecture: Annotated[str | None, "such as x86_64"] = None,
    cpu_architecture_level: Annotated[str | None, "such as x86_64-v3"] = None,
    clock_speed: Annotated[Figure, AlsoText, Lenient, "MHz"] = None,
    total_memory: Annotated[Figure, AlsoText, Lenient, "MB"] = None,
    total_local_disk: Annotated[Figure, AlsoText, Lenient, "GB"] = None,
    timeout: Annotated[int | None, AlsoText, Lenient, "seconds that the caller waits"] = 60,
) -> Envelope:
    """Record the machine of a pilot; of one that is known already only the time is refreshed."""
    key = _key(site=site, host_name=host_name.rpartition("@")[2], cpu_model=cpu_model)
    facts: dict[str, Any] = {
        "n_logical_cpus": _whole(n_logical_cpus, _INT),
        "n_sockets": _whole(n_sockets, _INT),
        "cores_per_socket": _whole(cores_per_socket, _INT),
        "threads_per_core": _whole(threads_per_core, _INT),
        "cpu_architecture": _cut(cpu_architecture, _WORD),
        "cpu_architecture_level": _cut(cpu_architecture_level, _WORD),
        "clock_speed": round(clock_speed, 2) if clock_speed is not None and 0 <= clock_speed <= _CLOCK else None,
        "total_memory": _whole(total_memory, _BIG),
        "total_local_disk": _whole(total_local_disk, _BIG),
    }
    done = task_buffer_for(call, timeout).updateWorkerNode(key, facts, _cut(panda_queue, _NAME))
    LogWrapper(_logger, f"<site={key['site']}>").info(f"pilot on host={key['host_name']} recorded={done}")
    return Envelope(message="" if done else _BUSY)


@request(v1="pilot/update_worker_node_gpu", legacy=None, method="POST", auth=Auth.PILOT)
def update_worker_node_gpu(
    call: Call,
    site: Annotated[str, "site of the machine"],
    host_name: Annotated[str, "name of the machine, perhaps as slot@name"],
    vendor: Annotated[str, "who made the GPU"],
    model: Annotated[str, "model of the GPU"],
    count: Annotated[int, AlsoText, "how many of that model"],
    vram: Annotated[Figure, AlsoText, Lenient, "MB"] = None,
    architecture: Annotated[str | None, "of the GPU"] = None,
    framework: Annotated[str | None, "such as CUDA"] = None,
    framework_version: Annotated[str | None, "of the framework"] = None,
    driver_version: Annotated[str | None, "of the driver"] = None,
    timeout: Annotated[int | None, AlsoText, Lenient, "seconds that the caller waits"] = 60,
) -> Envelope:
    """Record the GPUs of one model in a machine; of known ones number, framework and time are refreshed."""
    key = _key(site=site, host_name=host_name.rpartition("@")[2], vendor=vendor, model=model)
    if not 0 <= count <= _INT:
        raise BadRequest(f"Argument error: 'count' must be from 0 to {_INT}, got {count}")
    facts: dict[str, Any] = {
        "vram": _whole(vram, _BIG),
        "architecture": _cut(architecture, _NAME),
        "framework": _cut(framework, _NAME),
        "framework_version": _cut(framework_version, _WORD),
        "driver_version": _cut(driver_version, _WORD),
    }
    done = task_buffer_for(call, timeout).updateWorkerNodeGPU(key, count, facts)
    LogWrapper(_logger, f"<site={key['site']}>").info(f"GPUs on host={key['host_name']} recorded={done}")
    return Envelope(success=done, message="" if done else _BUSY)


def _key(**names: str) -> dict[str, str]:
    """Return the parts of a key as they are stored; an empty one names nothing."""
    for name, value in names.items():
        if not value.strip():
            raise BadRequest(f"Argument error: '{name}' must not be empty")
    return {name: value.strip()[:_NAME] for name, value in names.items()}


def _whole(value: Figure, limit: int) -> int | None:
    return int(value) if value is not None and 0 <= value <= limit else None


def _cut(text: str | None, length: int) -> str | None:
    return text[:length] if text else None
