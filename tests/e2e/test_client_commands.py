"""The commands of the stock client, as they come, run from a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping

import pytest

from pandaserver.testing.stock_client_release import NEWEST
from tests.chaos.web_rig import directory
from tests.e2e.client_rig import CERTIFICATE, COMBINATIONS, TOKEN, ClientRig, User, Users
from tests.e2e.grid_rig import VO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EVERYBODY = pytest.mark.parametrize(("version", "kind"), COMBINATIONS)
NEWEST_ONLY = pytest.mark.parametrize(("version", "kind"), [(NEWEST, CERTIFICATE), (NEWEST, TOKEN)])


@pytest.fixture(scope="module")
def users() -> Iterator[Users]:
    with directory() as home, (rig := ClientRig(home / "var")):
        made = Users(rig, home)
        yield made
        made.close()


@pytest.fixture
def user(users: Users, version: str, kind: str) -> User:
    return users.of(version, kind)


def run(user: User, command: str, *arguments: str, typed: str = "") -> str:
    """Run a command as the user and return all that it printed."""
    work = user.directory / "work"
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(user.release.command(command)), *arguments],
        env={**user.client.environment, **user.release.environment, **_grid(user)},
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=work,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def _grid(user: User) -> Mapping[str, str]:
    """Return what commands need that have a proxy: they ask the grid's tools, which are not here, whose it is."""
    if user.kind != CERTIFICATE:
        return {}
    tool = user.directory / "grid" / "voms-proxy-info"
    tool.parent.mkdir(exist_ok=True)
    told = [f"subject   : /DC=org/DC=test/CN={user.name}/CN=1", "timeleft  : 11:00:00"]
    told.append(f"attribute : nickname = {user.nickname} ({VO})")
    tool.write_text("\n".join(["#!/bin/sh", *(f"echo '{line}'" for line in told)]))
    tool.chmod(0o755)
    setup = tool.with_name("setup.sh")
    setup.write_text(f"export PATH={tool.parent}:$PATH\n")
    # Clients run `source $PATHENA_GRID_SETUP_SH > /dev/null; ...`, in a shell that may not know the word.
    return {**user.others["proxy"], "PATHENA_GRID_SETUP_SH": f"/dev/null; . {setup}"}


@EVERYBODY
def test_pbook_knows_who_one_is(user: User) -> None:
    assert f"PBook user: {user.name}" in run(user, "pbook", "list_secrets")


@EVERYBODY
def test_pbook_keeps_secrets(user: User) -> None:
    run(user, "pbook", "delete_all_secrets")
    assert "No secrets" in run(user, "pbook", "list_secrets")
    run(user, "pbook", "set_secret", "akey", "avalue")
    printed = run(user, "pbook", typed="list_secrets()\n")
    assert "akey" in printed
    assert "avalue" in printed
    run(user, "pbook", "delete_secret", "akey")
    assert "No secrets" in run(user, "pbook", "list_secrets")


@EVERYBODY
def test_pbook_keeps_files_as_secrets(user: User) -> None:
    path = user.directory / "file"
    path.write_text("content")
    run(user, "pbook", "-c", f"set_secret('afile', {str(path)!r}, is_file=True)")
    printed = run(user, "pbook", "list_secrets")
    assert "afile" in printed
    assert "Y29udGVudA==" in printed


@NEWEST_ONLY
def test_pbook_shows_no_tasks(user: User) -> None:
    """Former releases ask the monitor."""
    assert "TaskName" in run(user, "pbook", "show")


@NEWEST_ONLY
@pytest.mark.parametrize("command", ["kill", "finish", "retry", "reload_input"])
def test_pbook_says_that_there_are_no_tasks(user: User, command: str) -> None:
    assert "the task layer is not installed" in run(user, "pbook", command, "20000001")


@EVERYBODY
def test_pbook_says_that_nobody_runs_workflows(user: User) -> None:
    assert "iDDS" in run(user, "pbook", "kill_workflow", "1")


@EVERYBODY
def test_prun_says_that_there_are_no_tasks(user: User) -> None:
    arguments = ["--exec", "echo", "--outDS", f"user.{user.nickname}.x", "--noBuild"]
    printed = run(user, "prun", *arguments, "--vo", "testvo", "--prodSourceLabel", "test", "--workingGroup", "x")
    assert "the task layer is not installed" in printed
