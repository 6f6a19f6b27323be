"""A complete server in one directory: Apache, daemon, database, CA, token issuer and a queue. ``make run`` is this."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing import apache, database, instance_config, sample_site
from pandaserver.testing.account import Account, service_account
from pandaserver.testing.development_ca import DevelopmentCA, write_private
from pandaserver.testing.development_issuer import DevelopmentIssuer
from pandaserver.testing.layout import Layout
from pandaserver.testing.processes import Processes

#: Names under which the server certificate is valid.
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_START_UP: Final = 60.0  # seconds until the server has to answer

#: What the daemon does here, more often than in production so that nobody waits.
DAEMONS: Final[dict[str, dict[str, Any]]] = {
    "add_main": {"period": 10, "loop": True},
    "setup_lost_jobs": {"period": 60},
    "share_statistics": {"period": 60, "sync": True},
    "copyArchive": {"period": 300, "sync": True},
    "cache_schedconfig": {"period": 60},
}


class InstanceFailed(Exception):
    """The instance cannot start or has died; the message says what a person can do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen about an instance. ``database`` is sqlite, postgresql, mariadb or the URL of one."""

    directory: Path
    port: int = 25080
    tls_port: int = 25443
    database: str = "sqlite"
    daemon: bool = True
    host: str = "localhost"
    web_processes: int = 2
    daemons: Mapping[str, Mapping[str, Any]] | None = None


class Instance:
    """A running server; entering starts it, leaving stops it. One at a time in a directory."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.account: Account = service_account()
        self.layout = Layout(options.directory.absolute())
        self.processes = Processes(self.account, self.layout.home, self.layout.log)
        self.connection: ConnectionSettings | None = None
        self._stack = ExitStack()

    # ---- what others need to know about it

    @property
    def http(self) -> str:
        """Address of plain http."""
        return f"http://{self.options.host}:{self.options.port}"

    @property
    def https(self) -> str:
        """Address of https."""
        return f"https://{self.options.host}:{self.options.tls_port}"

    @property
    def authorities(self) -> Path:
        """File of the CA that signed the server's certificate."""
        return self.layout.ca / "ca.pem"

    def token(self, name: str, *groups: str) -> str:
        """Return a bearer token."""
        return DevelopmentIssuer(self.layout.issuer, self.layout.auth).token(name, groups)

    def certificate(self, name: str) -> Path:
        """Return a new file with a client certificate and its key."""
        path = self.layout.work / f"{'_'.join(name.split())}.pem"
        write_private(path, DevelopmentCA(self.layout.ca).certify_user(name))
        self.account.give(path.parent)
        return path

    def environment(self) -> dict[str, str]:
        """Return the environment of every process of the instance."""
        return {
            "PATH": f"{sys.prefix}/bin:{os.environ.get('PATH', os.defpath)}",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": str(self.layout.work),
            "PANDA_HOME": str(self.layout.home),
            "PANDA_URL": f"{self.http}/server/panda",
            "PANDA_URL_SSL": f"{self.https}/server/panda",
        }

    # ---- its life

    def __enter__(self) -> Instance:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def check(self) -> None:
        """Raise InstanceFailed if one of its processes has ended."""
        if child := self.processes.ended():
            raise InstanceFailed(f"{child.name} ended (exit code {child.process.returncode}):\n{self._reasons(child)}")

    def admin(self, *arguments: str) -> str:
        """Run ``panda-admin`` as the account and return what it printed."""
        return self._run(f"{sys.prefix}/bin/panda-admin", *arguments)

    def run_module(self, module: str, *arguments: str) -> Any:
        """Run a module that prints JSON, as the account, and return what it printed."""
        return json.loads(self._run(f"{sys.prefix}/bin/python", "-m", module, *arguments))

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment(),
            cwd=self.layout.home,
            capture_output=True,
            text=True,
            check=False,
            **self.account.popen_arguments(),
        )
        if done.returncode:
            raise InstanceFailed(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        printed: str = done.stdout
        return printed

    def _start(self) -> None:
        self.layout.create()
        self._take_lock()
        for port, variable in ((self.options.port, "PORT"), (self.options.tls_port, "TLS_PORT")):
            check_port(port, variable)
        # We hold the lock, so whatever a crashed instance left here belongs to nobody.
        for stale in (*self.layout.run.iterdir(), *self.layout.metrics.iterdir()):
            stale.unlink()
        self._write_credentials()
        queue = sample_site.publish(self.layout.schedconfig)
        self.account.give(self.layout.home)
        self.connection = self._stack.enter_context(database.opened(self.options.database, self.layout, self.account))
        self._stack.callback(self.processes.stop)  # before the database, as it is entered later
        self._write_configuration(self.connection)
        self.admin("schema", "upgrade")
        self.admin("queue", "set", str(queue))
        self._start_apache()
        if self.options.daemon:
            self._start_daemon()
        self._wait_until_alive()
        self._note_facts()

    def _take_lock(self) -> None:
        lock = self._stack.enter_context(self.layout.lock.open("a+"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip()
            raise InstanceFailed(
                f"an instance runs in {self.layout.home} already (process {owner}); choose another DIR"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

    def _write_credentials(self) -> None:
        ca = DevelopmentCA(self.layout.ca)
        names = dict.fromkeys((self.options.host, *_LOCAL_NAMES, socket.getfqdn()))
        ca.certify_host(list(names), self.layout.hostcert, self.layout.hostkey)
        DevelopmentIssuer(self.layout.issuer, self.layout.auth).publish(f"{self.http}/auth")

    def _write_configuration(self, connection: ConnectionSettings) -> None:
        instance_config.write(
            self.layout,
            self.account,
            connection,
            host=self.options.host,
            port=self.options.port,
            tls_port=self.options.tls_port,
            daemons=self.options.daemons if self.options.daemons is not None else DAEMONS,
        )
        apache.configure(self.layout, self.account)
        self.account.give(self.layout.etc)

    def _start_apache(self) -> None:
        variables = apache.environment(
            self.options.host, self.options.port, self.options.tls_port, processes=self.options.web_processes
        )
        command = apache.command(self.layout.etc / "panda_server-httpd.conf")
        self.processes.start("apache", command, self.environment() | variables)

    def _start_daemon(self) -> None:
        command = [f"{sys.prefix}/bin/python", "-m", "pandaserver.daemons.master", "--foreground"]
        self.processes.start("daemon", command, self.environment())

    def _wait_until_alive(self) -> None:
        url = f"{self.https}/server/panda/isAlive"
        context = ssl.create_default_context(cafile=str(self.authorities))
        deadline = time.monotonic() + _START_UP
        while True:
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=_START_UP, context=context) as reply:
                    text = reply.read().decode()
            except OSError as error:
                text = str(error)
            if text == "alive=yes":
                return
            if time.monotonic() > deadline:
                raise InstanceFailed(f"{url} does not say that it is alive, but: {text}\n{self._apache_errors()}")
            time.sleep(0.1)

    def _note_facts(self) -> None:
        facts = {"http": self.http, "https": self.https, "authorities": str(self.authorities), "pid": os.getpid()}
        self.layout.facts.write_text(json.dumps(facts, indent=2))

    def _reasons(self, child: Any) -> str:
        return f"{child.last_words()}\n{self._apache_errors() if child.name == 'apache' else ''}"

    def _apache_errors(self) -> str:
        log = self.layout.log / "panda_server_error_log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


def check_port(port: int, variable: str) -> None:
    """Raise InstanceFailed if something listens on the port, naming the variable that chooses another."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InstanceFailed(
                f"port {port} cannot be used ({error.strerror}); choose another: {variable}=..."
            ) from error
