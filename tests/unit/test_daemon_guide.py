"""The example of the daemon's guide: what it names exists, and can be called as the guide promises."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.config.shipped_daemons import SHIPPED_DAEMONS
from pandaserver.config.values import DaemonSpec

EXAMPLE = Path(__file__).parents[1] / "data" / "guides" / "daemon.cfg"
SERVER = "[server]\nbackend = sqlite\ndbname = x\n"

#: Daemon of the guide -> module, period, timeout, sync, loop, as the table of scripts has them.
GUIDE = {
    "dummy_test": ("dummy_test", 120, 300, False, False),
    "add_main": ("add_main", 240, 720, False, True),
    "add_sub": ("add_sub", 240, 720, False, False),
    "evpPD2P": ("evpPD2P", 600, 1800, False, False),
    "recover_lost_files_daemon": ("recover_lost_files_daemon", 600, 1800, False, False),
    "process_workflow_files_daemon": ("process_workflow_files_daemon", 60, 180, False, False),
    "copyArchive": ("copyArchive", 2400, 6000, True, False),
    "datasetManager": ("datasetManager", 2400, 6000, True, False),
    "proxyCache": ("panda_activeusers_query", 600, 1800, False, False),
    "pilot_streaming": ("pilotStreaming", 300, 900, True, False),
    "worker_synchronization": ("worker_synchronization", 1800, 5400, True, False),
    "configurator": ("configurator", 200, 600, True, False),
    "network_configurator": ("configurator", 400, 1200, True, False),
    "schedconfig_json": ("configurator", 200, 600, True, False),
    "sw_tags": ("configurator", 200, 600, True, False),
    "metric_collector": ("metric_collector", 300, 900, False, False),
    "task_evaluator": ("task_evaluator", 300, 900, False, False),
}
ARGUMENTS = {"network_configurator": "--network", "schedconfig_json": "--json_dump", "sw_tags": "--sw_tags"}


@pytest.fixture
def example(tmp_path: Path) -> PandaConfig:
    (tmp_path / "panda_server.cfg").write_text(SERVER + EXAMPLE.read_text())
    return load({}, [tmp_path])


def test_the_example_has_no_mistake_and_means_what_it_says(example: PandaConfig) -> None:
    daemon = example.daemon
    assert example.findings == ()
    assert (daemon.enable, daemon.uname, daemon.gname) == (True, "atlpan", "zp")
    assert (daemon.n_proc, daemon.proc_lifetime) == (4, 14400)
    found = {spec.name: (short(spec), spec.period, spec.timeout, spec.sync, spec.loop) for spec in daemon.daemons}
    assert list(found) == list(GUIDE)
    assert found == GUIDE
    assert {spec.name: spec.arguments for spec in daemon.daemons if spec.arguments} == {
        name: (argument,) for name, argument in ARGUMENTS.items()
    }


@pytest.mark.parametrize("module", sorted({module for module, *_ in GUIDE.values()}))
def test_each_script_can_be_called_with_keywords_that_it_does_not_know_yet(module: str) -> None:
    script = importlib.import_module(f"pandaserver.daemons.scripts.{module}")
    inspect.signature(script.main).bind(argv=("", 100), tbuf=None, lock_pool=None, something_new=None)


def test_what_is_shipped_has_every_daemon_of_the_guide_with_its_period(example: PandaConfig) -> None:
    ours = {name: shipped(name) for name in GUIDE}
    assert ours == {name: (module, period, sync, loop) for name, (module, period, _, sync, loop) in GUIDE.items()}


def short(spec: DaemonSpec) -> str:
    package, _, module = spec.module.rpartition(".")
    assert package == "pandaserver.daemons.scripts"
    return module


def shipped(name: str) -> tuple[str, int, bool, bool]:
    given = SHIPPED_DAEMONS[name]
    return given.get("module", name), given["period"], given.get("sync", False), given.get("loop", False)
