"""What `panda-admin config-diff` says after an upgrade, and what `panda-admin render` writes."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pandaserver.admin.main import main
from pandaserver.deployment.files import take_into_use, write_all
from pandaserver.deployment.site import Site

MY_GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Files that are in use and as shipped."""
    write_all(Site(), tmp_path)
    take_into_use(tmp_path, MY_GROUP)
    return tmp_path / "etc" / "panda"


def said(directory: Path) -> tuple[int, list[str]]:
    done = CliRunner().invoke(main, ["config-diff", "--directory", str(directory)])
    return done.exit_code, done.stdout.splitlines()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_files_as_shipped_bring_no_news(directory: Path) -> None:
    assert said(directory) == (0, [])


def test_values_of_an_administrator_are_no_news(directory: Path) -> None:
    edit(directory / "panda_server.cfg", "dbhost = localhost", "dbhost = db.example.org")
    edit(directory / "panda_server.cfg", "#dbtimeout = 60", "dbtimeout = 120")
    assert said(directory) == (0, [])


def test_a_setting_that_your_file_does_not_mention_is_new(directory: Path) -> None:
    edit(directory / "panda_server.cfg", "#dbtimeout = 60\n", "")
    line = "new setting [server] dbtimeout, by default 60: How long one call of the database may take. [s]"
    assert said(directory) == (1, [f"panda_server.cfg: {line}"])


def test_a_daemon_that_your_file_does_not_have_is_new(directory: Path) -> None:
    edit(directory / "panda_server.cfg", '"tmpwatch"', '"tmpwatch_of_mine"')
    assert said(directory)[1] == ["panda_server.cfg: new daemon tmpwatch"]


def test_lines_of_apache_are_compared_without_comments(directory: Path) -> None:
    edit(directory / "panda_server-httpd.conf", "MaxKeepAliveRequests 1000", "# mine\nMaxKeepAliveRequests 10")
    assert said(directory)[1] == [
        "panda_server-httpd.conf: yours    MaxKeepAliveRequests 10",
        "panda_server-httpd.conf: shipped  MaxKeepAliveRequests 1000",
    ]


def test_a_variable_that_apache_would_miss_is_named(directory: Path) -> None:
    edit(directory / "panda_server_env.systemd", "PANDA_SERVER_CONF_PORT_SSL=25443\n", "")
    assert "panda_server_env.systemd: panda_server-httpd.conf needs PANDA_SERVER_CONF_PORT_SSL" in said(directory)[1]


def test_render_writes_a_site(tmp_path: Path) -> None:
    options = ["--user", "me", "--group", "us", "--prefix", "/srv/panda", "--port", "1080", "--logdir", "/logs"]
    done = CliRunner().invoke(main, ["render", "--out", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    assert all(Path(line).is_file() for line in done.stdout.splitlines())
    text = (tmp_path / "etc/panda/panda_server_env.systemd.rpmnew").read_text()
    assert "PANDA_HOME=/srv/panda\n" in text
    assert "PANDA_SERVER_CONF_PORT=1080\n" in text
    assert "User=me\nGroup=us\n" in (tmp_path / "etc/systemd/system/panda_daemon.service").read_text()
    assert not (tmp_path / "etc/panda/panda_server.cfg").exists()


def test_render_needs_the_group_that_may_read_passwords(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    options = ["--out", str(tmp_path), "--install", "--group", "nobody-has-this"]
    done = CliRunner().invoke(main, ["render", *options])
    assert (done.exit_code, "nobody-has-this" in done.output) == (1, True)


def test_render_refuses_connections_that_apache_would_round_down(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["render", "--out", str(tmp_path), "--max-workers", "100"])
    assert (done.exit_code, "multiple of 32" in done.output) == (2, True)
