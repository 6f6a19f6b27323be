"""A server that was installed with pip and set up as the guides say, on SQLite, under init scripts."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing import instance_config
from pandaserver.testing.account import service_account
from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.testing.layout import Layout
from tests.e2e import installation

GUIDES: Final = Path(__file__).parent / "guides"
#: Two scripts that have nothing to do are enough to see the daemon run.
DAEMONS: Final[dict[str, dict[str, Any]]] = {"dummy_test": {"period": 120}}

# What /sbin/service does: the script gets no environment, and / to stand in.
_SERVICE: Final = '#!/bin/sh\ncd /\nexec env -i PATH="$PATH" TERM=dumb {init}/"$1" "$2"\n'
_CHKCONFIG: Final = (
    '#!/bin/sh\nfor name; do [ ! -e {init}/"$name" ] || exec grep -q "^# chkconfig:" {init}/"$name"; done\n'
)


class InstalledServer:
    """``root`` stands for the machine's ``/``; ``prefix`` is the virtual environment."""

    def __init__(self, root: Path, port: int, tls_port: int) -> None:
        self.root = root
        self.prefix = root / "opt" / "panda"
        self.port, self.tls_port = port, tls_port
        self.layout = Layout(self.prefix)
        self.account = service_account()

    @property
    def init(self) -> Path:
        """Where /etc/rc.d/init.d is."""
        return self.root / "etc" / "rc.d" / "init.d"

    def set_up(self) -> None:
        """Install, and do what the guide tells an administrator to do."""
        for directory in ("etc/sysconfig", "etc/rc.d/init.d", "etc/logrotate.d", "sbin"):
            (self.root / directory).mkdir(parents=True)
        for name, text in (("service", _SERVICE), ("chkconfig", _CHKCONFIG)):
            (self.root / "sbin" / name).write_text(text.format(init=self.init))
            (self.root / "sbin" / name).chmod(0o755)
        installation.environment(self.prefix)
        installation.install(self.prefix, installation.wheel(self.root / "wheels"))
        self.layout.create()
        self.render()
        self.run_guide("configure")
        self._edit()
        # The part of iDDS that the guide moves comes with another package.
        (self.prefix / "etc" / "idds").mkdir()
        (self.prefix / "etc" / "idds" / "idds.cfg.client.template").touch()
        self.account.give(self.prefix)
        self.run_guide("setup")
        self.admin("schema", "upgrade")

    def render(self, *options: str) -> None:
        """Write the deployment files for this site."""
        layout, account = self.layout, self.account
        directories = {"logdir": layout.log, "rundir": layout.run, "cachedir": layout.cache, "trf": layout.trf}
        directories |= {"schedconfig": layout.schedconfig, "cric": layout.cric, "home": layout.work}
        directories |= {"hostcert": layout.hostcert, "hostkey": layout.hostkey, "auth": layout.auth}
        directories |= {"certificates": layout.ca / "certificates", "prefix": self.prefix, "out": self.prefix}
        numbers = {"port": self.port, "tls-port": self.tls_port, "num-wsgi": 1, "min-workers": 8, "max-workers": 64}
        names = {"user": account.user, "group": account.group, "server-name": "localhost"}
        values = directories | numbers | names
        self.run([self.prefix / "bin" / "panda-admin", "render", *(f"--{k}={v}" for k, v in values.items()), *options])

    def _edit(self) -> None:
        """Write what is different at every site."""
        DevelopmentCA(self.layout.ca).certify_host(["localhost"], self.layout.hostcert, self.layout.hostkey)
        connection = ConnectionSettings("sqlite", str(self.layout.database / "panda.sqlite"))
        self.configure(connection)
        with (self.layout.etc / "panda_server.sysconfig").open("a") as sysconfig:
            sysconfig.write("export PANDA_DAEMON_SETTLING_TIME=1\n")

    def configure(self, connection: ConnectionSettings | None = None, *, daemons: Mapping[str, Any] = DAEMONS) -> None:
        """Write panda_server.cfg and panda_common.cfg."""
        connection = connection or ConnectionSettings("sqlite", str(self.layout.database / "panda.sqlite"))
        instance_config.write(
            self.layout,
            self.account,
            connection,
            host="localhost",
            port=self.port,
            tls_port=self.tls_port,
            daemons=daemons,
        )
        self.account.give(self.layout.etc)

    # ---- running things

    def commands(self, guide: str) -> list[str]:
        """Return the commands of a guide, for this machine instead of the one that the guide speaks of."""
        here = {
            "<logdir in panda_common.cfg>": self.layout.log,
            "<userid in httpd.conf>": self.account.user,
            "<group in httpd.conf>": self.account.group,
            "${VIRTUAL_ENV}": self.prefix,
            "/opt/panda/": f"{self.prefix}/",
            ":25080/": f":{self.port}/",
            " /etc/": f" {self.root}/etc/",
            "/sbin/": f"{self.root}/sbin/",
        }
        there = re.compile("|".join(map(re.escape, here)))
        text = there.sub(lambda found: str(here[found[0]]), (GUIDES / f"{guide}.txt").read_text())
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    def run_guide(self, guide: str) -> None:
        """Give the commands of a guide to one shell, which ends at the first that fails."""
        self.run(["sh", "-ec", "\n".join(self.commands(guide))])

    def service(self, action: str, name: str = "httpd-pandasrv") -> subprocess.CompletedProcess[str]:
        """Run an init script as the system does, and return how it ended."""
        script = self.init / name if name == "httpd-pandasrv" else self.prefix / "etc" / "rc.d" / "init.d" / name
        return subprocess.run(
            [script, *action.split()],
            env={"PATH": os.defpath},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def admin(self, *arguments: str) -> None:
        """Run panda-admin as the account."""
        self.run([self.prefix / "bin" / "panda-admin", *arguments], **self.account.popen_arguments())

    def run(self, command: Sequence[str | Path], **options: Any) -> str:
        """Run a command in a bare environment, and show what it said if it fails."""
        done = subprocess.run(
            command,
            env={"PATH": os.defpath, "PANDA_HOME": str(self.prefix)},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **options,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed: str = done.stdout
        return printed

    # ---- looking at it

    def is_alive(self, port: int = 0) -> str:
        """Return what the server says about itself."""
        url = f"http://localhost:{port or self.port}/server/panda/isAlive"
        with urllib.request.urlopen(url, timeout=30) as reply:
            text: str = reply.read().decode()
            return text

    def pid(self, name: str) -> int:
        """Return the number in a pid file."""
        return int((self.layout.run / f"{name}.pid").read_text())
