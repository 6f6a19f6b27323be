"""Web processes and database children stay small: no driver where none is used, no SQLAlchemy anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.taskbuffer.bridge import OPERATION_MODULES, ChildSettings
from pandaserver.taskbuffer.ConBridge import ConBridge
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from tests.chaos import bridge_operations as ops

ROOT = Path(__file__).parents[2]
DRIVERS = {"psycopg2", "MySQLdb", "oracledb", "cx_Oracle", "sqlite3"}
NEVER = {"sqlalchemy", "alembic", "sqlglot", "click"}


def modules_after(statement: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def private_megabytes(pid: int | str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def test_the_web_side_of_the_task_buffer_loads_no_driver() -> None:
    loaded = modules_after("import pandaserver.taskbuffer.TaskBuffer, pandaserver.taskbuffer.DBProxyPool")
    assert not loaded & (DRIVERS | NEVER)


def test_a_database_child_loads_no_driver_before_it_connects() -> None:
    loaded = modules_after("import pandaserver.taskbuffer.dbchild, pandaserver.taskbuffer.TaskBuffer")
    assert not loaded & (DRIVERS | NEVER)


def test_a_database_child_takes_less_than_45_megabytes(connection: ConnectionSettings) -> None:
    modules = (*OPERATION_MODULES, "tests.chaos.bridge_operations")
    bridge = ConBridge(ChildSettings(connection, OperationSettings(), None, modules), PandaLogger.getLogger("test"))
    bridge.call(ops.bridge_echo, ("started",), {})
    try:
        assert bridge.pid is not None
        assert private_megabytes(bridge.pid) < 45
    finally:
        bridge.close()


def test_the_web_side_takes_less_than_60_megabytes() -> None:
    program = (
        "import pandaserver.taskbuffer.DBProxyPool, pandaserver.taskbuffer.TaskBuffer\n"
        "from tests.chaos.test_footprint import private_megabytes\n"
        "print(private_megabytes('self'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
