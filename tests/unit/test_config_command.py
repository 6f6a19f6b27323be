"""panda-admin check-config."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pandaserver.admin.main import main

GOOD = """\
[server]
backend = postgres
dbhost = db.example.org
dbuser = panda
dbpasswd = verysecret
dbname = panda_db
adder_plugins = any:collections:OrderedDict
setupper_plugins = any:collections:OrderedDict
[daemon]
umask = 027
"""


def check(directory: Path, text: str, *options: str) -> Result:
    (directory / "panda_server.cfg").write_text(text)
    (directory / "panda_common.cfg").write_text("[logger]\n[log_level]\nEntry = ERROR\n")
    return CliRunner().invoke(main, ["check-config", "--directory", str(directory), *options])


def test_a_good_configuration_exits_with_0(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"read {tmp_path}/panda_server.cfg",
        f"read {tmp_path}/panda_common.cfg",
        "errors=0 warnings=0 notes=0",
    ]


def test_an_error_exits_with_1_and_all_mistakes_are_printed(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD + "n_proc = 0\nperiodd = 1\n")
    assert result.exit_code == 1
    assert result.stdout.endswith("errors=1 warnings=1 notes=0\n")
    assert result.stderr.splitlines() == [
        f"{tmp_path}/panda_server.cfg:11: error: [daemon] n_proc: 0 is too small (at least 1)",
        f"{tmp_path}/panda_server.cfg:12: warning: [daemon] periodd: is not a known setting",
    ]


def test_a_warning_alone_exits_with_0(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD + "n_porc = 2\n").exit_code == 0


def test_values_are_shown_with_their_sources(tmp_path: Path) -> None:
    lines = check(tmp_path, GOOD, "--show").stdout.splitlines()
    assert f"dbhost = db.example.org    # {tmp_path}/panda_server.cfg:3" in lines
    assert "pserverport = 25443    # default" in lines
    assert f"umask = 027    # {tmp_path}/panda_server.cfg:10" in lines
    assert f"Entry = ERROR    # {tmp_path}/panda_common.cfg:3" in lines


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD, "--show")
    assert "verysecret" not in result.output
    assert "dbpasswd = <hidden>" in result.output


@pytest.mark.parametrize("plugin", ["any:no.such.module:C", "any:collections:NoSuchClass"])
def test_a_plugin_that_does_not_import_is_an_error(tmp_path: Path, plugin: str) -> None:
    result = check(tmp_path, GOOD.replace("any:collections:OrderedDict", plugin, 1))
    assert result.exit_code == 1
    assert f"{tmp_path}/panda_server.cfg:7: error: [server] adder_plugins: plug-in" in result.stderr


@pytest.mark.parametrize("package", ["no.such.package", "collections"])
def test_a_daemon_without_its_module_is_a_warning(tmp_path: Path, package: str) -> None:
    result = check(tmp_path, GOOD + f'package = {package}\nconfig = {{"add_main": {{"period": 60}}}}\n')
    assert result.exit_code == 0
    assert f"12: warning: [daemon] config: add_main: there is no module {package}.add_main" in result.stderr


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(main, ["no-such-command"]).exit_code == 2
