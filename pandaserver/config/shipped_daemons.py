"""The daemons of the shipped configuration: every script of ``pandaserver/daemons/scripts``, with its usual period."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: Name of the daemon -> its attributes in the setting ``config`` of section ``[daemon]``.
SHIPPED_DAEMONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "dummy_test": {"enable": False, "period": 120},
    "add_main": {"period": 240, "loop": True},
    "setup_lost_jobs": {"period": 60, "sync": True},
    "share_statistics": {"period": 60, "sync": True},
    "add_sub": {"period": 240},
    "evpPD2P": {"period": 600},
    "recover_lost_files_daemon": {"period": 600},
    "process_workflow_files_daemon": {"period": 60},
    "copyArchive": {"period": 2400, "sync": True},
    "datasetManager": {"period": 2400, "sync": True},
    "metric_collector": {"period": 300},
    "task_evaluator": {"period": 300},
    "archive_jobs": {"period": 3600, "sync": True, "timeout": 7200},
    "send_messages": {"period": 60, "sync": True},
    "notify_users": {"period": 120, "sync": True},
    "configurator": {"period": 200, "sync": True},
    "network_configurator": {"module": "configurator", "arguments": ["--network"], "period": 400, "sync": True},
    "schedconfig_json": {"module": "configurator", "arguments": ["--json_dump"], "period": 200, "sync": True},
    "sw_tags": {"module": "configurator", "arguments": ["--sw_tags"], "period": 200, "sync": True},
    "cache_schedconfig": {"period": 300},
    "pilot_streaming": {"module": "pilotStreaming", "period": 300, "sync": True},
    "worker_synchronization": {"period": 1800, "sync": True},
    "proxyCache": {"module": "panda_activeusers_query", "period": 600},
    "async_request_daemon": {"period": 30, "timeout": 900},
    "tmpwatch": {"period": 3600},
}


def sample_config() -> str:
    """Return the JSON text, one daemon a line, indented so that the lines continue a value."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(daemon)}" for name, daemon in SHIPPED_DAEMONS.items())
    return f"{{\n{lines}\n  }}"
