"""``panda-admin`` as a whole: what an administrator sees whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pandaserver.admin.main import find_home, main


@pytest.mark.parametrize(
    ("command", "code"),
    [("queue list", 1), ("share list", 1), ("script dummy_test", 1), ("daemon status", 1), ("check-schema", 3)],
)
def test_a_mistake_in_the_configuration_is_told_in_words(tmp_path: Path, command: str, code: int) -> None:
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").write_text("[server]\nbackend = sqlite\ndbname = /x\ndbtimeout = soon\n")
    done = CliRunner().invoke(main, command.split(), env={"PANDA_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert (done.exit_code, type(done.exception)) == (code, SystemExit)
    assert "panda_server.cfg:4: error: [server] dbtimeout: 'soon' is not a whole number" in done.output
    assert "panda-admin check-config" in done.output


def test_a_command_reads_the_configuration_of_its_own_environment(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    find_home(environ, tmp_path)
    assert environ == {}, "not configured"
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").touch()
    find_home(environ, tmp_path)
    assert environ == {"PANDA_HOME": str(tmp_path)}


def test_a_command_obeys_whoever_names_another_home(tmp_path: Path) -> None:
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").touch()
    environ = {"PANDA_HOME": "/elsewhere"}
    find_home(environ, tmp_path)
    assert environ == {"PANDA_HOME": "/elsewhere"}
