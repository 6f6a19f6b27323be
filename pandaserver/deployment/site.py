"""What the deployment files of one site differ in: accounts, paths, ports, how Apache is built."""

from __future__ import annotations

import dataclasses
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pandaserver.deployment import httpd_modules

#: As the Apache template sets it for the event MPM; the maximum of connections has to be a multiple.
THREADS_PER_CHILD: Final = 32

_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_MOD_WSGI: Final = (
    f"mod_wsgi-py{sys.version_info.major}{sys.version_info.minor}{sysconfig.get_config_var('EXT_SUFFIX')}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The values that stand in the templates, with those of production as defaults; None follows from others."""

    prefix: Path = Path("/opt/panda")
    user: str = "atlpan"
    group: str = "zp"
    home: Path = Path("/home/atlpan")
    server_name: str = "pandaserver.cern.ch"
    port: int = 25080
    tls_port: int = 25443
    min_workers: int = 25
    max_workers: int = 512
    num_wsgi: int = 12
    logdir: Path = Path("/var/log/panda")
    rundir: Path = Path("/run/panda")
    cachedir: Path | None = None
    schedconfig: Path = Path("/var/cache/pandaserver/schedconfig")
    cric: Path = Path("/var/cric")
    trf: Path = Path("/var/trf")
    auth: Path | None = None
    hostcert: Path = Path("/etc/grid-security/hostcert.pem")
    hostkey: Path = Path("/etc/grid-security/hostkey.pem")
    certificates: Path = Path("/etc/grid-security/certificates")
    httpd: Path = Path("/usr/sbin/httpd")
    modules: Path = Path("/usr/lib64/httpd/modules")
    mod_wsgi: Path | None = None
    venv: Path | None = None
    site: Path | None = None
    mpm: str = "event"
    #: The module that lets Apache accept proxy certificates; None: it refuses them.
    proxy_module: Path | None = None
    #: mod_gridsite accepts them in its place. The application checks each proxy again.
    gridsite: bool = False
    #: Apache tells systemd that it is ready; needs mod_systemd.
    httpd_notifies: bool = True
    #: A schema that does not fit keeps web server and daemon from being started by systemd.
    schema_blocks: bool = False

    def values(self) -> dict[str, str]:
        """Return the value of each word of the templates."""
        venv = self.venv or self.prefix
        takes_proxies = self.gridsite or self.proxy_module is not None
        site = self.site or venv / "lib" / _PYTHON / "site-packages"
        found = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if not isinstance(getattr(self, field.name), bool)
        } | {
            "cachedir": self.cachedir or self.logdir / "pandacache",
            "auth": self.auth or self.prefix / "etc" / "panda" / "auth",
            "url": f"http://{self.server_name}:{self.port}/server/panda",
            "tls_url": f"https://{self.server_name}:{self.tls_port}/server/panda",
            "venv": venv,
            "site": site,
            "mod_wsgi": self.mod_wsgi or site / "mod_wsgi" / "server" / _MOD_WSGI,
            "proxies": "#" if self.proxy_module is None else "",
            "proxy_module": self.proxy_module or httpd_modules.directory(venv) / f"{httpd_modules.PROXIES}.so",
            "own_modules": httpd_modules.directory(venv),
            "gridsite": "" if self.gridsite else "#",
            # mod_gridsite takes a missing list of revocations for an error.
            "revocation": "none" if self.gridsite else "chain no_crl_for_cert_ok",
            "whole_chains": "" if takes_proxies else "#",
            "ssl_sessions": "none" if takes_proxies else f"shmcb:{self.rundir}/ssl_sessions(5120000)",
            "httpd_type": "notify" if self.httpd_notifies else "forking",
            "httpd_stays": " -D FOREGROUND" if self.httpd_notifies else "",
            "httpd_pidfile": "" if self.httpd_notifies else f"PIDFile={self.rundir}/panda_server_httpd.pid",
            "check_mark": "" if self.schema_blocks else "-",
            "requires": "Requires=panda.service" if self.schema_blocks else "# A mismatch of the schema stops nobody.",
        }
        return {name: str(value) for name, value in found.items()}

    def settings(self, file: str) -> dict[str, dict[str, str]]:
        """Return what a configuration file says differently for this site, by section."""
        values = self.values()
        if file == "panda_common.cfg":
            return {"logger": {"logdir": values["logdir"]}}
        if file != "panda_server.cfg":
            return {}
        server = {
            "logdir": values["logdir"],
            "cache_dir": values["cachedir"],
            "schedconfig_dir": values["schedconfig"],
            "auth_config": f"{values['auth']}/",
        }
        if self.tls_port != Site().tls_port:
            server["pserverport"] = values["tls_port"]
        return {"server": server, "daemon": {"uname": self.user, "gname": self.group}}
