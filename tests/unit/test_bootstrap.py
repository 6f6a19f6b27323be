"""What a make target installs before it runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module
    spec.loader.exec_module(module)
    return module


def wanted(bootstrap: ModuleType, *names: str) -> list[str]:
    packages: list[str] = bootstrap.wanted_packages([bootstrap.NEEDS[name] for name in names], bootstrap.DEBIAN_PYTHON)
    return packages


def test_an_instance_on_sqlite_needs_no_database_server(bootstrap: ModuleType) -> None:
    assert not {"postgresql", "mariadb-server", "libmariadb-dev"} & set(wanted(bootstrap, "run", "sqlite"))


@pytest.mark.parametrize(("need", "package"), [("postgresql", "postgresql"), ("mariadb", "mariadb-server")])
def test_a_server_is_installed_for_who_asks_for_it(bootstrap: ModuleType, need: str, package: str) -> None:
    assert package in wanted(bootstrap, "run", need)


def test_another_python_needs_none_of_debians(bootstrap: ModuleType) -> None:
    packages = bootstrap.wanted_packages([], Path("/opt/python/bin/python3.11"))
    assert not [name for name in packages if name.startswith("python3")]


def test_who_is_not_root_is_told_what_is_missing(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="apt-get install apache2-dev gcc"):
        bootstrap.install_packages(["apache2-dev", "gcc"])


def test_services_are_kept_from_starting_only_meanwhile(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(bootstrap, "POLICY", policy)
    with bootstrap.services_kept_from_starting():
        assert subprocess.run([policy], check=False).returncode == 101
    assert not policy.exists()


def test_a_policy_that_exists_is_left_alone(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("of the administrator")
    monkeypatch.setattr(bootstrap, "POLICY", policy)
    with bootstrap.services_kept_from_starting():
        pass
    assert policy.read_text() == "of the administrator"


def test_code_below_a_private_directory_is_not_reachable(bootstrap: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "private" / "setup.py").touch()
    assert not bootstrap.reachable(tmp_path / "private" / "setup.py")


def test_the_copy_has_what_the_source_has_and_keeps_what_was_made_there(bootstrap: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source / "new.py", source / ".venv" / "of_source", target / "old.py", target / ".venv" / "of_target"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    bootstrap.copy_tree(source, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [".venv", ".venv/of_target", "new.py"]


def test_the_copy_can_be_read_by_everybody(bootstrap: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "package").mkdir(parents=True, mode=0o700)
    (source / "package" / "module.py").touch(mode=0o600)
    target.mkdir()
    bootstrap.copy_tree(source, target)
    assert (target / "package").stat().st_mode & 0o777 == 0o755
    assert (target / "package" / "module.py").stat().st_mode & 0o777 == 0o644


def test_every_need_of_the_makefile_is_known(bootstrap: ModuleType) -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(WITH) " in line]
    named = {name for line in lines for name in line.split("$(WITH) ")[1].split()[0].split(",")}
    assert {name for name in named if not name.startswith("$(")} <= bootstrap.NEEDS.keys()


def test_an_unknown_need_is_refused() -> None:
    command = [sys.executable, str(ROOT / "tools" / "bootstrap.py"), "nonsense", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "nonsense: not one of" in done.stderr) == (1, True)
