"""Database servers of our own: in one directory, under an unprivileged account, gone when their starter is gone.

For tests and development instances. A server is started by the thread whose end it shall not survive.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar, Final

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, Secret

DATABASE: Final = "panda"
ACCOUNT: Final = "panda"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


class ServerNotStarted(RuntimeError):
    """A binary is missing or the server ended; the message carries the end of its log."""


class DatabaseServer(ABC):
    """One server that keeps everything below ``directory``; ``durable`` is for instances that may lose power."""

    stop_signal: ClassVar[signal.Signals]

    def __init__(self, directory: Path, user: str | None = None, *, durable: bool = True) -> None:
        self.directory = Path(directory)
        self.durable = durable
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self._unfinished = self.directory / "unfinished"
        self.port = 0
        self._user = user or ("nobody" if os.geteuid() == 0 else None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ConnectionSettings:
        """Create the database if there is none, start the server and return how to reach it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        if self._unfinished.exists():  # whoever made it died at it
            shutil.rmtree(self.data, ignore_errors=True)
        fresh = not self.data.exists()
        if fresh:
            self._unfinished.touch()
            self._create()
        self.port = _free_port()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self.directory,
                preexec_fn=self._follow,  # noqa: PLW1509 - two system calls, nothing that takes a lock
                **self._identity(),
            )
        self._wait()
        if fresh:
            self._prepare()
            self._unfinished.unlink()
        return self.settings

    def stop(self) -> None:
        """End the server in order; harmless when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    @abstractmethod
    def settings(self) -> ConnectionSettings:
        """How the account of the program reaches the database."""

    @property
    def password(self) -> Secret:
        """Password of the account, made once and kept beside the data."""
        path = self.directory / "password"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
            if self._user:
                os.chown(path, pwd.getpwnam(self._user).pw_uid, -1)
        return Secret(path.read_text())

    @abstractmethod
    def _create(self) -> None:
        """Make an empty data directory."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line of the server."""

    @abstractmethod
    def _connect(self) -> None:
        """Connect as the superuser and disconnect; raises while the server does not answer."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the account and the database."""

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, check=False, timeout=300, **self._identity()
        )
        if done.returncode:
            raise ServerNotStarted(f"{command[0]} failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        account = pwd.getpwnam(self._user)
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.directory), "LC_ALL": "C"}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "env": environment}

    def _follow(self) -> None:
        """Between fork and exec, after the change of account: die with the parent, in a process group of our own."""
        os.setpgid(0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, self.stop_signal, 0, 0, 0)

    def _wait(self) -> None:
        deadline = monotonic() + START_SECONDS
        while True:
            try:
                return self._connect()
            except Exception as refused:
                gone = self._process is None or self._process.poll() is not None
                if gone or monotonic() > deadline:
                    self.stop()
                    tail = self.log.read_text(errors="replace")[-2000:]
                    raise ServerNotStarted(f"{type(self).__name__}: {refused}: {tail}") from refused
                sleep(0.02)


class PostgresServer(DatabaseServer):
    """A PostgreSQL server."""

    stop_signal = signal.SIGINT  # fast shutdown

    @property
    def settings(self) -> ConnectionSettings:
        """How to reach it: by socket. The port serves 127.0.0.1."""
        return ConnectionSettings(
            backend="postgres",
            name=DATABASE,
            host=str(self.directory),
            port=self.port,
            user=ACCOUNT,
            password=self.password,
        )

    def _create(self) -> None:
        _ = self.password
        self._run(
            [
                *(_binary("initdb", *_POSTGRES_HOMES), "-D", str(self.data), "-U", ACCOUNT, "-E", "UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={self.directory / 'password'}"),
                *([] if self.durable else ["--no-sync"]),
            ]
        )

    def _command(self) -> list[str]:
        options = {
            "port": self.port,
            "unix_socket_directories": self.directory,
            "listen_addresses": "127.0.0.1",
            "max_connections": 60,
            "shared_buffers": "64MB",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [_binary("postgres", *_POSTGRES_HOMES), "-D", str(self.data), *words]

    def _connect(self, statement: str | None = None) -> None:
        import psycopg2

        s = self.settings
        connection = psycopg2.connect(
            host=s.host, port=s.port, user=s.user, password=s.password.reveal(), dbname="postgres"
        )
        try:
            connection.autocommit = True
            if statement:
                connection.cursor().execute(statement)
        finally:
            connection.close()

    def _prepare(self) -> None:
        self._connect(f"CREATE DATABASE {DATABASE}")


class MariaDBServer(DatabaseServer):
    """A MariaDB server."""

    stop_signal = signal.SIGTERM

    @property
    def settings(self) -> ConnectionSettings:
        """How to reach it: by port."""
        return ConnectionSettings(
            backend="mysql",
            name=DATABASE,
            host="127.0.0.1",
            port=self.port,
            user=ACCOUNT,
            password=self.password,
        )

    def _create(self) -> None:
        self._run(
            [
                *(_binary("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
                *([f"--user={self._user}"] if self._user else []),
            ]
        )

    def _command(self) -> list[str]:
        return [
            *(_binary("mariadbd", "/usr/sbin"), "--no-defaults", f"--datadir={self.data}"),
            *(f"--socket={self.directory / 'mariadb.sock'}", f"--port={self.port}", "--bind-address=127.0.0.1"),
            *(f"--pid-file={self.directory / 'mariadb.pid'}", "--skip-name-resolve", "--innodb-buffer-pool-size=64M"),
            *("--max-allowed-packet=64M", "--max-connections=60"),
            *([] if self.durable else ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF"]),
        ]

    def _connect(self, *statements: str) -> None:
        import MySQLdb

        connection: Any = MySQLdb.connect(
            unix_socket=str(self.directory / "mariadb.sock"), user="root", connect_timeout=5
        )
        try:
            for statement in statements:
                connection.cursor().execute(statement)
        finally:
            connection.close()

    def _prepare(self) -> None:
        self._connect(
            f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE USER {ACCOUNT}@localhost IDENTIFIED BY '{self.password.reveal()}'",
            f"CREATE USER {ACCOUNT}@127.0.0.1 IDENTIFIED BY '{self.password.reveal()}'",
            f"GRANT ALL ON *.* TO {ACCOUNT}@localhost",
            f"GRANT ALL ON *.* TO {ACCOUNT}@127.0.0.1",
        )


_POSTGRES_HOMES: Final = (*sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True), *glob("/usr/pgsql-*/bin"))


def _binary(name: str, *homes: str) -> str:
    path = os.pathsep.join((*homes, os.environ.get("PATH", ""), "/usr/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise ServerNotStarted(f"{name} is not installed; it comes with the database server's package")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
