"""The examination as a whole, what it costs when a check hangs or breaks, and how it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pandaserver.admin import doctor_command
from pandaserver.admin.doctor_command import doctor
from pandaserver.config.finding import Finding
from pandaserver.config.finding import Severity as Mistake
from pandaserver.config.values import DaemonSpec, PluginEntry
from pandaserver.health import checks, setup
from pandaserver.health.result import Result, Severity, failure, ok, skipped, warning
from pandaserver.health.scene import Scene
from tests.health import found, make_scene, severities


def test_a_check_that_hangs_costs_the_limit_and_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(_: Scene) -> Iterator[Result]:
        released.wait(30)
        yield ok("at last")

    monkeypatch.setattr(checks, "CHECKS", {"slow": hangs, "fast": lambda _: iter([ok("fine")])})
    started = time.monotonic()
    results = checks.examine(make_scene(tmp_path), ["slow", "fast"], limit=0.3)
    released.set()
    assert time.monotonic() - started < 5
    assert [(name, result.severity.name) for name, result in results] == [("slow", "failure"), ("fast", "ok")]


def test_a_check_that_breaks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", {"broken": lambda _: iter([1 / 0])})
    ((_, result),) = checks.examine(make_scene(tmp_path), ["broken"])
    assert result.severity is Severity.failure
    assert "ZeroDivisionError" in result.message


def spoilt(scene: Scene, severity: Mistake) -> Scene:
    finding = Finding(severity, "panda_server.cfg", 3, "server", "dbtimeout", "'soon' is not a whole number")
    scene.config = replace(scene.config, findings=(finding,))
    return scene


def test_with_a_broken_configuration_nothing_else_is_looked_at(tmp_path: Path) -> None:
    scene = spoilt(make_scene(tmp_path), Mistake.error)
    assert [name for name, _ in checks.examine(scene, checks.CHECKS)] == ["configuration"]


@pytest.mark.parametrize(("mistake", "severity"), [(Mistake.error, "failure"), (Mistake.warning, "warning")])
def test_mistakes_of_the_configuration(tmp_path: Path, mistake: Mistake, severity: str) -> None:
    ((got, message),) = found(setup.configuration, spoilt(make_scene(tmp_path), mistake))
    assert (got, "panda_server.cfg:3" in message) == (severity, True)


def test_a_configuration_without_mistakes(tmp_path: Path) -> None:
    assert severities(setup.configuration, make_scene(tmp_path)) == {Severity.ok}


def test_everything_imports(tmp_path: Path) -> None:
    assert severities(setup.imports, make_scene(tmp_path)) == {Severity.ok}


def test_a_plug_in_that_is_not_there(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, {"adder_plugins": (PluginEntry("any", "no.such.module", "Adder"),)})
    assert severities(setup.imports, scene) == {Severity.failure}


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, daemon={"daemons": (DaemonSpec("lost", "no.such.module", 60),)})
    assert severities(setup.imports, scene) == {Severity.warning}


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"backend": "postgres"}, "pip install panda-server[postgres]"),
        ({"metrics_dir": Path("/x")}, "pip install panda-server[metrics]"),
    ],
)
def test_a_library_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], remedy: str
) -> None:
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    assert remedy in [result.remedy for result in setup.imports(make_scene(tmp_path, changes))]


@pytest.mark.parametrize(
    ("result", "code"), [(ok("fine"), 0), (skipped("none"), 0), (warning("look", "at it"), 1), (failure("bad"), 2)]
)
def test_the_exit_code_tells_the_worst(monkeypatch: pytest.MonkeyPatch, result: Result, code: int) -> None:
    monkeypatch.setattr(doctor_command, "examine", lambda *_: [("disk", ok("fine")), ("clock", result)])
    plain = CliRunner().invoke(doctor, [])
    assert plain.exit_code == code
    assert result.message in plain.output
    assert result.remedy in plain.output
    told = CliRunner().invoke(doctor, ["--json"])
    assert told.exit_code == code
    document = json.loads(told.output)
    assert document["severity"] == result.severity.name
    assert document["checks"][1] == {
        "name": "clock",
        "severity": result.severity.name,
        "message": result.message,
        "remedy": result.remedy,
    }


def test_checks_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[list[str]] = []

    def remember(_: Scene, names: list[str]) -> list[tuple[str, Result]]:
        chosen.append(names)
        return []

    monkeypatch.setattr(doctor_command, "examine", remember)
    CliRunner().invoke(doctor, ["--only", "disk", "--only", "clock"])
    CliRunner().invoke(doctor, ["--skip", "http", "--skip", "https"])
    assert chosen == [["disk", "clock"], [name for name in checks.CHECKS if name not in ("http", "https")]]


def test_a_check_of_an_unknown_name_is_refused() -> None:
    assert "is not one of 'configuration'" in CliRunner().invoke(doctor, ["--only", "horoscope"]).output
