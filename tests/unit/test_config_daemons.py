"""The list of daemons in section [daemon]."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pandaserver.config.daemon_config import DaemonSpec, default_timeout
from pandaserver.config.finding import Finding, Severity
from pandaserver.config.panda_config import PandaConfig, load

SERVER = "[server]\nbackend = sqlite\ndbname = x\n"
PACKAGE = "package = scripts\n"


def loaded(directory: Path, text: str) -> PandaConfig:
    (directory / "panda_server.cfg").write_text(f"{SERVER}[daemon]\nenable = True\n{text}\n")
    return load({}, [directory])


def daemons(directory: Path, entries: Any) -> tuple[tuple[DaemonSpec, ...], list[Finding]]:
    """Return the daemons and findings of a JSON map; line 7 of the file is its first."""
    text = entries if isinstance(entries, str) else json.dumps(entries)
    config = loaded(directory, f"{PACKAGE}config = {text}")
    return config.daemon.daemons, list(config.findings)


def test_a_daemon_needs_no_more_than_its_period(tmp_path: Path) -> None:
    assert daemons(tmp_path, {"add_main": {"period": 240}}) == (
        (DaemonSpec("add_main", "scripts.add_main", 240, (), 720.0, False, False),),
        [],
    )


def test_all_attributes_are_kept_and_arguments_stay_as_written(tmp_path: Path) -> None:
    attributes = {"module": "m", "period": 60, "arguments": ["-x", 100], "timeout": 90, "sync": True, "loop": True}
    assert daemons(tmp_path, {"a": attributes})[0] == (DaemonSpec("a", "scripts.m", 60, ("-x", 100), 90.0, True, True),)


@pytest.mark.parametrize(
    ("period", "timeout"),
    [(60, 180), (120, 360), (200, 600), (600, 1800), (1800, 5400), (2400, 6000), (3600, 7200), (21600, 25200)],
)
def test_the_default_timeout_grows_with_the_period(period: int, timeout: int) -> None:
    assert default_timeout(period) == timeout


def test_daemons_keep_their_order(tmp_path: Path) -> None:
    found, _ = daemons(tmp_path, {"z": {"period": 1}, "a": {"period": 1}, "m": {"period": 1}})
    assert [spec.name for spec in found] == ["z", "a", "m"]


def test_a_disabled_daemon_is_dropped_silently(tmp_path: Path) -> None:
    assert daemons(tmp_path, {"a": {"period": 1, "enable": False}}) == ((), [])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": "60"}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": 0}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": -1}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": 0.5}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": True}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"timeout": 9}, "period must be a whole number of seconds above 0; this daemon does not run"),
        ({"period": 9, "timeout": 0}, "timeout must be a number of seconds above 0; this daemon does not run"),
        ({"period": 9, "module": 3}, "module must be a name; this daemon does not run"),
        ({"period": 9, "arguments": "-x"}, "arguments must be a list; this daemon does not run"),
        ({"period": 9, "enable": "false"}, "enable must be true or false; this daemon does not run"),
        (
            {"period": 9, "sync": 1, "loop": "yes"},
            "sync must be true or false, loop must be true or false; this daemon does not run",
        ),
        ([], "is not a map of attributes, so this daemon does not run"),
    ],
)
def test_a_bad_entry_is_skipped_with_a_warning(tmp_path: Path, attributes: Any, message: str) -> None:
    found, findings = daemons(tmp_path, {"bad": attributes, "good": {"period": 60}})
    assert [spec.name for spec in found] == ["good"]
    assert [(f.severity, f.key, f.message) for f in findings] == [(Severity.warning, "config bad", message)]


def test_an_integral_float_is_a_period(tmp_path: Path) -> None:
    assert daemons(tmp_path, {"a": {"period": 60.0}})[0][0].period == 60


def test_an_unknown_attribute_is_a_warning_and_the_daemon_runs(tmp_path: Path) -> None:
    found, findings = daemons(tmp_path, {"a": {"period": 60, "syn": True}})
    assert len(found) == 1
    assert [(f.message, f.suggestion) for f in findings] == [("attribute 'syn' is not known", "did you mean sync?")]


def test_a_finding_names_the_line_of_its_daemon(tmp_path: Path) -> None:
    _, findings = daemons(tmp_path, '{\n  "a": {"period": 60},\n  "b": {"period": 0}}')
    assert [finding.line for finding in findings] == [9]


def test_of_two_daemons_of_one_name_the_last_counts(tmp_path: Path) -> None:
    found, findings = daemons(tmp_path, '{"a": {"period": 1}, "a": {"period": 2}}')
    assert found[0].period == 2
    assert [(f.severity, f.message) for f in findings] == [(Severity.warning, "'a' is given twice")]


@pytest.mark.parametrize("text", ['{"a": }', "[]", "7", '{"a": {"period": 60}'])
def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    found, findings = daemons(tmp_path, text)
    assert found == ()
    assert [(f.severity, f.key) for f in findings] == [(Severity.error, "config")]


@pytest.mark.parametrize(
    ("text", "missing"),
    [(PACKAGE, ["config"]), ("config = {}", ["package"]), ("", ["package", "config"])],
)
def test_an_enabled_daemon_needs_its_package_and_its_list(tmp_path: Path, text: str, missing: list[str]) -> None:
    findings = loaded(tmp_path, text).findings
    assert [(f.severity, f.key) for f in findings] == [(Severity.error, key) for key in missing]


def test_a_disabled_daemon_section_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "panda_server.cfg").write_text(f"{SERVER}[daemon]\nenable = False\n")
    assert load({}, [tmp_path]).findings == ()


def test_no_daemon_section_means_disabled(tmp_path: Path) -> None:
    (tmp_path / "panda_server.cfg").write_text(SERVER)
    assert load({}, [tmp_path]).daemon.enable is False


@pytest.mark.parametrize("as_text", [True, False])
def test_the_json_map_may_hold_the_list_as_text_or_as_an_object(tmp_path: Path, as_text: bool) -> None:
    entries = {"a": {"period": 60}}
    path = tmp_path / "etc/config_json/panda_server_config.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"daemon": {"config": json.dumps(entries) if as_text else entries}}))
    (tmp_path / "panda_server.cfg").write_text(f"{SERVER}[daemon]\nenable = True\n{PACKAGE}")
    config = load({"PANDA_HOME": str(tmp_path)}, [tmp_path])
    assert config.findings == ()
    assert [spec.name for spec in config.daemon.daemons] == ["a"]


def test_the_umask_is_octal(tmp_path: Path) -> None:
    assert loaded(tmp_path, f"{PACKAGE}config = {{}}\numask = 027").daemon.umask == 0o027
