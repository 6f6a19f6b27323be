"""Directories, space and token files: what is well, and what is told about each thing that is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pandaserver.config.values import TokenAuth
from pandaserver.deployment import httpd_modules
from pandaserver.health import files
from pandaserver.health.account import Account, accounts
from pandaserver.health.httpd_conf import HttpdConf
from pandaserver.health.result import Severity
from tests.health import found, make_scene, severities


def test_directories_that_are_there(tmp_path: Path) -> None:
    ((severity, message),) = found(files.directories, make_scene(tmp_path))
    assert severity == "ok"
    assert message.startswith("4 can be used by")


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    (tmp_path / "cache").rmdir()
    first = next(files.directories(scene))
    assert (first.severity, first.message) == (
        Severity.failure,
        f"{tmp_path / 'cache'} (uploaded files) is no directory",
    )
    assert "mkdir" in first.remedy


def test_a_directory_that_the_account_cannot_write(tmp_path: Path) -> None:
    account = {"uname": "nobody", "gname": "nogroup"} if os.geteuid() == 0 else {}
    scene = make_scene(tmp_path, daemon=account)
    (tmp_path / "cache").chmod(0o500)
    assert Severity.failure in severities(files.directories, scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_an_account_that_does_not_exist(tmp_path: Path) -> None:
    ((severity, message),) = found(files.directories, make_scene(tmp_path, daemon={"uname": "no-such-account"}))
    assert severity == "failure"
    assert "no-such-account" in message


def apache(home: Path, text: str) -> None:
    (home / "etc/panda").mkdir(parents=True)
    (home / "etc/panda/panda_server-httpd.conf").write_text(text)


def test_a_machine_without_a_daemon_has_the_account_of_apache(tmp_path: Path) -> None:
    apache(tmp_path, "User  web\nGroup www\n")
    assert accounts(make_scene(tmp_path, daemon={"enable": False})) == [Account("web", "www")]


def test_two_accounts_are_warned_about(tmp_path: Path) -> None:
    apache(tmp_path, "User web\nGroup www\n")
    first = next(files.directories(make_scene(tmp_path)))
    assert first.severity is Severity.warning
    assert "web:www, and share files" in first.message


def test_the_directories_of_apache_count(tmp_path: Path) -> None:
    apache(tmp_path, f'WSGISocketPrefix "{tmp_path}/sockets/wsgi"\n')
    assert (Severity.failure.name, f"{tmp_path}/sockets (WSGISocketPrefix) is no directory") in found(
        files.directories, make_scene(tmp_path)
    )


@pytest.mark.parametrize(
    ("free", "inodes", "severity"),
    [(5000, 10**6, "ok"), (500, 10**6, "warning"), (50, 10**6, "failure"), (5000, 10, "failure")],
)
def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, severity: str) -> None:
    scene = make_scene(tmp_path)
    facts = SimpleNamespace(f_bavail=free, f_frsize=2**20, f_favail=inodes, f_files=10**7)
    monkeypatch.setattr(files.os, "statvfs", lambda _: facts)  # type: ignore[attr-defined]
    ((got, message),) = found(files.disk, scene)
    assert got == severity
    assert f"{free} MB and {inodes} files are free" in message


GOOD = {"audience": "a", "client_id": "c", "client_secret": None, "oidc_config_url": "https://h/", "vo": "testvo"}


def test_tokens_that_nobody_accepts(tmp_path: Path) -> None:
    assert severities(files.tokens, make_scene(tmp_path)) == {Severity.skipped}


def test_token_files_that_are_well(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, {"token_authType": TokenAuth.oidc})
    (tmp_path / "auth/testvo_auth_config.json").write_text(json.dumps(GOOD))
    assert found(files.tokens, scene) == [("ok", "clients of testvo")]


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, {"token_authType": TokenAuth.oidc})
    (tmp_path / "auth/testvo_auth_config.json").write_text(json.dumps(GOOD))
    (tmp_path / "auth/other_auth_config.json").write_text("{")
    results = found(files.tokens, scene)
    assert results[-1] == ("ok", "clients of testvo")
    assert results[0][0] == "failure"
    assert "other_auth_config.json is skipped" in results[0][1]


def test_no_token_file_at_all(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, {"token_authType": TokenAuth.oidc})
    assert severities(files.tokens, scene) == {Severity.failure}


def test_the_configuration_of_apache_is_found_by_its_option(tmp_path: Path) -> None:
    path = tmp_path / "mine.conf"
    path.write_text('# SSLCertificateFile "/no"\n  SSLCertificateFile    "/a/${NAME}.pem"\nPidFile relative/pid\n')
    conf = HttpdConf.find({"OPTIONS": f"-k start -f {path}", "NAME": "host"})
    assert conf.paths("SSLCertificateFile") == [Path("/a/host.pem")]
    assert conf.paths("PidFile") == []


def test_modules_of_apache(tmp_path: Path) -> None:
    lines = [f'LoadModule {name.removeprefix("mod_")}_module "{tmp_path}/{name}.so"' for name in httpd_modules.ALWAYS]
    apache(tmp_path, "\n".join(lines))
    scene = make_scene(tmp_path)
    assert severities(files.modules, scene) == {Severity.warning}
    for name in httpd_modules.ALWAYS:
        (tmp_path / f"{name}.so").touch()
    assert severities(files.modules, scene) == {Severity.ok}


def test_an_apache_without_our_modules(tmp_path: Path) -> None:
    apache(tmp_path, "User web\n")
    assert severities(files.modules, make_scene(tmp_path)) == {Severity.warning}
