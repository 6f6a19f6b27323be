"""Mistakes in section [daemon]: what the master does about each at its start, and when it reads the file again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import PandaConfig
from pandaserver.daemons import master

GOOD = '"good": {"period": 60}'
PACKAGE = "package = scripts\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "etc" / "panda").mkdir(parents=True)
    (tmp_path / "etc" / "panda" / "panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    for name in [name for name in os.environ if name.startswith("PANDA")]:
        monkeypatch.delenv(name)
    for name, value in {"PANDA_HOME": tmp_path, "HOME": tmp_path, "PANDA_NO_ROOT": 1}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[PandaConfig]:
    """Collect the configurations with which a master would run, instead of running it."""
    found: list[PandaConfig] = []

    def run(config: PandaConfig, pidfile: object) -> int:
        found.append(config)
        return 0

    monkeypatch.setattr(master, "_run", run)
    monkeypatch.setattr(master, "_become", lambda account, umask: None)
    return found


def configure(home: Path, daemon: str) -> None:
    server = f"[server]\nbackend = sqlite\ndbname = {home}/x\n"
    (home / "etc" / "panda" / "panda_server.cfg").write_text(f"{server}[daemon]\n{daemon}\n")


REFUSED = {
    "config is not JSON": (f"{PACKAGE}config = {{{GOOD}", "not valid JSON"),
    "config is absent": (PACKAGE, "config"),
    "config is a list": (f"{PACKAGE}config = []", "not a JSON map"),
    "package is missing": (f"config = {{{GOOD}}}", "package"),
    "no worker": (f"{PACKAGE}config = {{{GOOD}}}\nn_proc = 0", "n_proc"),
    "fewer than no worker": (f"{PACKAGE}config = {{{GOOD}}}\nn_proc = -1", "n_proc"),
    "workers are no number": (f"{PACKAGE}config = {{{GOOD}}}\nn_proc = many", "n_proc"),
    "enable is no boolean": (f"enable = perhaps\n{PACKAGE}config = {{{GOOD}}}", "enable"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_daemon_does_not_start_and_does_not_reload(
    home: Path, started: list[PandaConfig], capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    text, message = REFUSED[mistake]
    configure(home, text if "enable" in text else f"enable = True\n{text}")
    assert master.main(["--foreground"]) == 1
    assert started == []
    assert message in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match=message):  # after which a running master keeps the former one
        master.read_config()


SKIPPED = {
    "period is missing, timeout given": '{"timeout": 9}',
    "period and timeout are missing": "{}",
    "period is a text": '{"period": "60"}',
    "period is a text, timeout given": '{"period": "60", "timeout": 9}',
    "period is a fraction": '{"period": 0.5}',
    "period is true": '{"period": true}',
    "period is zero": '{"period": 0}',
    "period is negative": '{"period": -60}',
    "module is a number": '{"period": 60, "module": 1}',
    "arguments are a text": '{"period": 60, "arguments": "-n 100"}',
    "timeout is a text": '{"period": 60, "timeout": "9"}',
    "enable is a text": '{"period": 60, "enable": "false"}',
    "sync is a number": '{"period": 60, "sync": 1}',
    "the whole is a number": "60",
}


@pytest.mark.parametrize("mistake", SKIPPED)
def test_one_bad_daemon_is_left_out_with_a_warning_and_those_around_it_run(
    home: Path, started: list[PandaConfig], mistake: str
) -> None:
    entries = f'"before": {{"period": 60}}, "bad": {SKIPPED[mistake]}, {GOOD}'
    configure(home, f"enable = True\n{PACKAGE}config = {{{entries}}}")
    assert master.main(["--foreground"]) == 0
    assert [spec.name for spec in started[0].daemon.daemons] == ["before", "good"]
    assert [spec.timeout for spec in started[0].daemon.daemons] == [180, 180]
    assert [finding.key for finding in started[0].findings] == ["config bad"]


def test_a_period_may_be_written_with_a_point(home: Path, started: list[PandaConfig]) -> None:
    configure(home, f'enable = True\n{PACKAGE}config = {{"a": {{"period": 60.0}}}}')
    assert master.main(["--foreground"]) == 0
    assert started[0].daemon.daemons[0].period == 60


def test_of_two_daemons_of_one_name_the_last_counts_with_a_warning(home: Path, started: list[PandaConfig]) -> None:
    configure(home, f'enable = True\n{PACKAGE}config = {{"a": {{"period": 1}}, "a": {{"period": 2}}}}')
    assert master.main(["--foreground"]) == 0
    assert [spec.period for spec in started[0].daemon.daemons] == [2]
    assert [finding.message for finding in started[0].findings] == ["'a' is given twice"]


@pytest.mark.parametrize("word", ["True", "true", "TRUE"])
def test_true_may_be_written_in_any_case(home: Path, started: list[PandaConfig], word: str) -> None:
    configure(home, f"enable = {word}\n{PACKAGE}config = {{{GOOD}}}")
    assert master.main(["--foreground"]) == 0
    assert len(started) == 1


@pytest.mark.parametrize("section", ["enable = False", "enable = false", ""])
def test_a_daemon_that_is_not_enabled_is_no_mistake(
    home: Path, started: list[PandaConfig], capsys: pytest.CaptureFixture[str], section: str
) -> None:
    configure(home, section)
    assert (master.main(["--foreground"]), started) == (0, [])
    assert "disabled" in capsys.readouterr().out
