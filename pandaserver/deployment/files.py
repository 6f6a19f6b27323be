"""Every file of a deployment: its template, and where it lies below the prefix."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pandaserver.deployment.site import Site
from pandaserver.deployment.template import rendered, shipped, with_settings

#: What is edited by administrators ships under its name and this; nothing ever writes the name itself twice.
NEW: Final = ".rpmnew"

_ETC: Final = "etc/panda"
_INIT: Final = "etc/rc.d/init.d"
_UNITS: Final = "etc/systemd/system"


@dataclass(frozen=True, slots=True)
class DeploymentFile:
    """One file, below the prefix."""

    template: str
    directory: str
    name: str
    executable: bool = False
    #: The same file under another name.
    is_alias: bool = False

    @property
    def path(self) -> Path:
        """Where it lies below the prefix."""
        return Path(self.directory, self.name)

    @property
    def is_edited(self) -> bool:
        """Whether it becomes the administrator's under its name without ``.rpmnew``."""
        return self.name.endswith(NEW) and not self.is_alias

    def text(self, site: Site) -> str:
        """Return its content at that site."""
        text = rendered(shipped(self.template), site.values())
        settings = site.settings(self.name.removesuffix(NEW))
        return with_settings(text, settings) if settings else text

    def write(self, site: Site, directory: Path) -> Path:
        """Write it below a directory and return its path."""
        path = directory / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(site), "utf-8")
        path.chmod(0o755 if self.executable else 0o644)
        return path


def _below(directory: str, *names: str) -> Iterator[DeploymentFile]:
    for name in names:
        yield DeploymentFile(name, directory, name)


FILES: Final = (
    *_below(_ETC, f"panda_common.cfg{NEW}", f"panda_server.cfg{NEW}", f"panda_server-httpd.conf{NEW}"),
    # The same under the name that the guides use.
    DeploymentFile(f"panda_server-httpd.conf{NEW}", _ETC, f"panda_server-httpd-FastCGI.conf{NEW}", is_alias=True),
    *_below(_ETC, f"panda_server.sysconfig{NEW}", f"panda_server_env.systemd{NEW}"),
    *_below(_ETC, "panda_server.logrotate", "panda_server.tmpfiles"),
    DeploymentFile("init.d/panda_functions", _INIT, "panda_functions"),
    DeploymentFile("init.d/panda_server", _INIT, "panda_server", executable=True),
    DeploymentFile("init.d/panda_httpd", _INIT, "panda_httpd", executable=True),
    DeploymentFile("init.d/panda_daemon", _INIT, "panda_daemon", executable=True),
    DeploymentFile("systemd/panda.service", _UNITS, "panda.service"),
    DeploymentFile("systemd/panda_httpd.service", _UNITS, "panda_httpd.service"),
    DeploymentFile("systemd/panda_daemon.service", _UNITS, "panda_daemon.service"),
)


def write_all(site: Site, directory: Path) -> list[Path]:
    """Write every file below a directory; no file of an administrator is touched."""
    return [file.write(site, directory) for file in FILES]


def take_into_use(directory: Path, group: str) -> list[Path]:
    """Copy each ``.rpmnew`` to its name where nothing has that name yet, and return the copies.

    A password will stand in configuration files, so they are readable for the owner and that group only. LookupError if
    there is no such group.
    """
    # Whoever is not root is the one who is going to run the server.
    gid = grp.getgrnam(group).gr_gid if os.geteuid() == 0 else -1
    made = []
    for file in FILES:
        path = directory / file.path
        target = path.with_name(path.name.removesuffix(NEW))
        if not file.is_edited or target.exists():
            continue
        if target.suffix == ".cfg":
            target.touch(mode=0o640)
            os.chown(target, -1, gid)
        target.write_bytes(path.read_bytes())
        made.append(target)
    return made
