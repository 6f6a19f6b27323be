"""What is rendered for a site, read by the programs that it is for."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pandaserver.deployment import apache, httpd_modules
from pandaserver.deployment.files import FILES, NEW, take_into_use, write_all
from pandaserver.deployment.packaging import data_files
from pandaserver.deployment.site import Site
from pandaserver.deployment.template import SITE, shipped, with_settings
from pandaserver.testing.development_ca import DevelopmentCA

MY_GROUP = grp.getgrgid(os.getegid()).gr_name
VARIABLES = {"SERVERNAME", "PORT", "PORT_SSL", "MIN_WORKERS", "MAX_WORKERS", "NUM_WSGI"}
SETTINGS = {"SERVERNAME": "panda.example.org", "PORT": 1080, "PORT_SSL": 1443} | {
    "MIN_WORKERS": 7,
    "MAX_WORKERS": 96,
    "NUM_WSGI": 5,
}


def text_of(name: str, site: Site | None = None) -> str:
    return next(file for file in FILES if file.name == name).text(site or Site())


def code_of(name: str, site: Site | None = None) -> list[str]:
    lines = [line.strip() for line in text_of(name, site).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def here(directory: Path, **options: object) -> Site:
    """A site whose Apache is the one of this machine."""
    found = {"httpd": apache.httpd(), "modules": apache.modules(), "mod_wsgi": apache.mod_wsgi()}
    places = {name: directory for name in ("home", "logdir", "rundir", "schedconfig", "cric", "trf", "certificates")}
    files = {name: directory / f"{name}.pem" for name in ("hostcert", "hostkey")}
    everything = {"user": "root", "group": "root", "venv": Path(sys.prefix), "site": SITE} | found | places | files
    return Site(**(everything | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_left_to_replace(file: object) -> None:
    assert "@@" not in text_of(file.name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["panda_server", "panda_httpd", "panda_daemon", "panda_functions"])
def test_init_scripts_name_no_place_and_kill_by_number_only(name: str) -> None:
    code = "\n".join(code_of(name))
    assert not re.search(r"/opt/panda|/var/log/panda|/usr/sbin/httpd|pkill|killall|\bpgrep\b", code)
    for target in re.findall(r"\bkill -\w+ (\S+)", code):
        assert target.strip('"').startswith(("$pid", "$master", "$parent", "$(leftovers")), target


@pytest.mark.parametrize("name", ["panda_server", "panda_httpd", "panda_daemon", "panda_functions"])
def test_init_scripts_need_no_more_than_a_shell_of_the_standard(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text_of(name))
    shell = shutil.which("dash") or "/bin/sh"
    assert subprocess.run([shell, "-n", tmp_path / name], check=False).returncode == 0


def test_the_environment_of_systemd_has_literal_values() -> None:
    for line in code_of(f"panda_server_env.systemd{NEW}"):
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*=[^$~`'\"]+", line), line


@pytest.mark.parametrize("name", [f"panda_server.sysconfig{NEW}", f"panda_server_env.systemd{NEW}"])
def test_every_variable_of_apache_is_set(name: str) -> None:
    needed = set(re.findall(r"\$\{PANDA_SERVER_CONF_(\w+)\}", shipped(f"panda_server-httpd.conf{NEW}")))
    values = re.findall(r"PANDA_SERVER_CONF_(\w+):?=", "\n".join(code_of(name)))
    assert needed == set(values) == VARIABLES


def test_what_is_set_before_sysconfig_stays(tmp_path: Path) -> None:
    (tmp_path / "sysconfig").write_text(text_of(f"panda_server.sysconfig{NEW}"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    script = '. "$1"; echo "$PANDA_SERVER_CONF_NUM_WSGI $PANDA_SERVER_CONF_PORT $PANDA_URL"'
    variables = {"VIRTUAL_ENV": str(tmp_path), "PANDA_SERVER_CONF_NUM_WSGI": "77"}
    done = subprocess.run(
        ["sh", "-euc", script, "sh", tmp_path / "sysconfig"], env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "77 25080 http://pandaserver.cern.ch:25080/server/panda\n"


# ---- Apache


def configured(directory: Path, site: Site) -> list[str]:
    """Let Apache read its configuration, and return its directives as it understood them."""
    DevelopmentCA(directory / "ca").certify_host(["localhost"], site.hostcert, site.hostkey)
    conf = directory / "httpd.conf"
    conf.write_text(text_of(f"panda_server-httpd.conf{NEW}", site))
    info = f'LoadModule info_module "{site.modules}/mod_info.so"'
    done = subprocess.run(
        [site.httpd, "-f", conf, "-C", info, "-D", "DUMP_CONFIG", "-t"],
        env={f"PANDA_SERVER_CONF_{name}": str(value) for name, value in SETTINGS.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("proxies", [None, "ours", "gridsite"])
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_apache_takes_every_variable_under_both_models(tmp_path: Path, mpm: str, proxies: str | None) -> None:
    module = httpd_modules.build(httpd_modules.PROXIES, tmp_path / "modules") if proxies == "ours" else None
    account = {"user": "#65534", "group": "#65534"}
    site = here(tmp_path, mpm=mpm, proxy_module=module, gridsite=proxies == "gridsite", **account)
    found = configured(tmp_path, site)
    idle = "MinSpareServers" if mpm == "prefork" else "MinSpareThreads"
    expected = ["ServerName panda.example.org", "Listen 1080", "Listen 1443", f"{idle} 7", "MaxRequestWorkers 96"]
    assert [line for line in expected if line not in found] == []
    assert any(line.startswith("WSGIDaemonProcess pandasrv_daemon processes=5 ") for line in found)
    assert ("SSLSessionTickets off" in found, 'SSLSessionCache "none"' in found) == ((proxies is not None,) * 2)
    assert ("GridSiteEnvs on" in found, "SSLCARevocationCheck none" in found) == ((proxies == "gridsite",) * 2)


# ---- systemd


UNITS = ("panda.service", "panda_httpd.service", "panda_daemon.service")


@pytest.mark.parametrize("blocks", [False, True])
def test_systemd_finds_no_fault(tmp_path: Path, blocks: bool) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    site = here(tmp_path, prefix=Path(sys.prefix), schema_blocks=blocks)
    for name in UNITS:
        (tmp_path / name).write_text(text_of(name, site))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in UNITS)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "panda" in line]) == (0, [])


@pytest.mark.parametrize("name", ["panda_httpd.service", "panda_daemon.service"])
def test_children_follow_their_parent(name: str) -> None:
    unit = code_of(name)
    assert {"PartOf=panda.service", "WantedBy=panda.service multi-user.target", "KillMode=mixed"} <= set(unit)


def test_enabling_the_units_as_the_guide_says_ties_them_to_the_parent(tmp_path: Path) -> None:
    if not shutil.which("systemctl"):
        pytest.skip("systemctl is not installed")
    write_all(Site(), tmp_path)
    guide = (SITE / "tests" / "e2e" / "guides" / "systemd.txt").read_text()
    for command in (line for line in guide.splitlines() if line.startswith("systemctl ")):
        subprocess.run(["systemctl", f"--root={tmp_path}", *command.split()[1:]], check=True, capture_output=True)
    wanted = {path.name for path in (tmp_path / "etc/systemd/system/panda.service.wants").iterdir()}
    assert wanted == {"panda_httpd.service", "panda_daemon.service"}


@pytest.mark.parametrize("name", UNITS)
def test_units_need_no_shell(name: str) -> None:
    for line in code_of(name):
        if line.startswith("Exec"):
            assert re.fullmatch(r"Exec\w+=-?/[\w./-]+( [^;|&><]*)?", line), line
            assert "bin/sh" not in line
            assert "bash" not in line


def test_a_schema_that_does_not_fit_blocks_only_where_wanted() -> None:
    assert "ExecStartPre=-/usr/bin/timeout 30 /opt/panda/bin/panda-admin check-schema" in code_of("panda.service")
    blocking = Site(schema_blocks=True)
    assert "ExecStartPre=/usr/bin/timeout 30 /opt/panda/bin/panda-admin check-schema" in code_of(
        "panda.service", blocking
    )
    assert "Requires=panda.service" in code_of("panda_httpd.service", blocking)
    assert "Requires=panda.service" not in code_of("panda_httpd.service")


@pytest.mark.parametrize(("notifies", "kind"), [(True, "notify"), (False, "forking")])
def test_apache_notifies_systemd_where_it_can(notifies: bool, kind: str) -> None:
    assert f"Type={kind}" in code_of("panda_httpd.service", Site(httpd_notifies=notifies))


def test_systemd_makes_the_directories(tmp_path: Path) -> None:
    if not shutil.which("systemd-tmpfiles"):
        pytest.skip("systemd-tmpfiles is not installed")
    (tmp_path / "panda.conf").write_text(text_of("panda_server.tmpfiles", Site(user="root", group="root")))
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(tmp_path / "panda.conf")]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("run/panda", "var/log/panda/pandacache/jedilog", "var/cache/pandaserver/schedconfig", "var/cric"):
        assert (tmp_path / name).is_dir()


# ---- files of an administrator


def test_the_files_of_an_administrator_are_never_overwritten(tmp_path: Path) -> None:
    write_all(Site(), tmp_path)
    taken = take_into_use(tmp_path, MY_GROUP)
    for path in taken:
        path.write_text("edited")
    write_all(Site(user="other"), tmp_path)
    assert take_into_use(tmp_path, MY_GROUP) == []
    assert {path.read_text() for path in taken} == {"edited"}


def test_a_file_with_a_password_is_not_for_everybody(tmp_path: Path) -> None:
    write_all(Site(), tmp_path)
    take_into_use(tmp_path, MY_GROUP)
    facts = (tmp_path / "etc/panda/panda_server.cfg").stat()
    assert (facts.st_mode & 0o777, facts.st_gid) == (0o640, os.getegid())


def test_the_configuration_speaks_of_the_site() -> None:
    site = Site(user="me", logdir=Path("/logs"), tls_port=1443, prefix=Path("/srv/panda"))
    code = code_of(f"panda_server.cfg{NEW}", site)
    expected = ["uname = me", "logdir = /logs", "cache_dir = /logs/pandacache", "pserverport = 1443"]
    assert [line for line in [*expected, "auth_config = /srv/panda/etc/panda/auth/"] if line not in code] == []


def test_a_setting_that_no_template_has_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        with_settings("[server]\nlogdir = /x\n", {"server": {"nonsense": "1"}})


def test_pip_gets_every_file_and_every_template() -> None:
    packed = {f"{directory}/{Path(file).name}" for directory, files in data_files() for file in files}
    assert {str(file.path) for file in FILES} <= packed
    assert {f"share/panda/templates/{file.template}" for file in FILES} <= packed
