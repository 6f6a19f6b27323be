"""A server in a container: Apache and the daemon in the foreground, without init scripts, logs on stdout."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGTERM, SIGUSR1, SIGWINCH
from typing import Final

from pandaserver.config.panda_config import PandaConfig
from pandaserver.daemons.locations import status_file
from pandaserver.daemons.status import read_status
from pandaserver.deployment import apache
from pandaserver.deployment.foreground import Service
from pandaserver.deployment.site import THREADS_PER_CHILD

#: Apache's configuration below PANDA_HOME.
HTTPD_CONF: Final = "etc/panda/panda_server-httpd.conf"
ALIVE: Final = "/server/panda/isAlive"

_PATHS: Final = re.compile(r'^(PidFile|ErrorLog|CustomLog)\s+"?(/[^"\s]+)', re.MULTILINE)
_MEBIBYTE: Final = 2**20


class ContainerFailed(Exception):
    """The container cannot start; the message says what a person can do."""


@dataclass(frozen=True, slots=True)
class Files:
    """What Apache's configuration says about its files."""

    configuration: Path
    pidfile: Path
    errors: Path | None  # None: not a file
    accesses: Path | None

    @property
    def run(self) -> Path:
        """Directory of pid file and sockets."""
        return self.pidfile.parent


def files_of(environ: Mapping[str, str]) -> Files:
    """Read Apache's configuration."""
    home = environ.get("PANDA_HOME")
    if not home:
        raise ContainerFailed("PANDA_HOME is not set; below it are the configuration files")
    path = Path(home) / HTTPD_CONF
    try:
        found = {name: Path(value) for name, value in _PATHS.findall(path.read_text("utf-8"))}
    except OSError as error:
        raise ContainerFailed(f"{path} cannot be read ({error.strerror}); `panda-admin render` writes it") from error
    if "PidFile" not in found:
        raise ContainerFailed(f"{path} has no PidFile with a full path")
    return Files(path, found["PidFile"], found.get("ErrorLog"), found.get("CustomLog"))


def services(config: PandaConfig, files: Files) -> list[Service]:
    """Return what has to run: Apache, and the daemon where it is enabled."""
    try:
        httpd = str(apache.httpd())
    except FileNotFoundError as error:
        raise ContainerFailed(str(error)) from error
    found = [Service("apache", (httpd, "-f", str(files.configuration), "-DFOREGROUND"), SIGWINCH, SIGUSR1)]
    if config.daemon.enable:
        command = (sys.executable, "-m", "pandaserver.daemons.master", "--foreground")
        found.append(Service("daemon", command, SIGTERM, SIGHUP))
    return found


def environment(environ: Mapping[str, str], config: PandaConfig) -> dict[str, str]:
    """Return the environment of the services: what is set stays, what Apache's configuration needs is added."""
    server = config.server
    defaults = {
        "PANDA_SERVER_CONF_SERVERNAME": server.pserverhost or socket.getfqdn(),
        "PANDA_SERVER_CONF_PORT": str(server.pserverporthttp),
        "PANDA_SERVER_CONF_PORT_SSL": str(server.pserverport),
        "PANDA_SERVER_CONF_MIN_WORKERS": "8",
        "PANDA_SERVER_CONF_MAX_WORKERS": str(4 * THREADS_PER_CHILD),
        "PANDA_SERVER_CONF_NUM_WSGI": "4",
        "TZ": "UTC",
    }
    if os.geteuid() != 0:
        defaults["PANDA_NO_ROOT"] = "1"  # whatever account the platform chose is the right one
    return defaults | dict(environ)


@contextmanager
def prepared(environ: Mapping[str, str], config: PandaConfig, files: Files) -> Iterator[None]:
    """Make directories, remove what a former container left behind, and keep a second one out meanwhile."""
    with ExitStack() as stack:
        try:
            for directory in _directories(config, files):
                directory.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((files.run / "container.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clean(environ, config, files)
        except BlockingIOError as error:
            raise ContainerFailed(f"another `panda-admin container run` runs with {files.run}") from error
        except OSError as error:
            raise ContainerFailed(f"directories cannot be prepared: {error}") from error
        yield


def _directories(config: PandaConfig, files: Files) -> Iterator[Path]:
    server = config.server
    yield from (files.run, config.logger.logdir, server.logdir, server.cache_dir / "jedilog", server.schedconfig_dir)
    if server.metrics_dir is not None:
        yield server.metrics_dir


def _clean(environ: Mapping[str, str], config: PandaConfig, files: Files) -> None:
    # Process numbers repeat in containers: Apache would take itself for the one in its old pid file.
    stale = [files.pidfile, status_file(environ, config.logger), *files.run.glob("wsgi.*.sock")]
    if config.server.metrics_dir is not None:
        stale += config.server.metrics_dir.glob("*.db")
    for path in stale:
        path.unlink(missing_ok=True)
    for log, descriptor in ((files.accesses, 1), (files.errors, 2)):
        if log is not None:
            _lead_to(log, descriptor)


def _lead_to(log: Path, descriptor: int) -> None:
    """Make a log of Apache lead to what Apache got as its output; a file of that name is kept beside it."""
    if not log.is_symlink():
        with suppress(FileNotFoundError):
            log.rename(f"{log}.1")
        log.symlink_to(f"/proc/self/fd/{descriptor}")


def rotate(directory: Path, megabytes: int) -> None:
    """Put files of logs aside that have grown, one former file each; their writers begin new ones."""
    for path in directory.glob("panda*.log"):
        with suppress(FileNotFoundError):
            if path.lstat().st_size > megabytes * _MEBIBYTE:
                path.replace(f"{path}.1")


def complaint(environ: Mapping[str, str], config: PandaConfig, patience: float) -> str:
    """Say what is not alive in this container, web server or daemon; nothing if all is well. Asks no database."""
    variables = environment(environ, config)
    problem = _web_complaint(int(variables["PANDA_SERVER_CONF_PORT"]), patience)
    return problem or (_daemon_complaint(environ, config) if config.daemon.enable else "")


def _web_complaint(port: int, patience: float) -> str:
    connection = http.client.HTTPConnection("localhost", port, timeout=patience)
    try:
        connection.request("GET", ALIVE)
        reply = connection.getresponse()
        status, text = reply.status, reply.read(100).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"the web server does not answer at port {port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if (status, text) == (200, "alive=yes") else f"the web server answers {status} {text!r} to {ALIVE}"


def _daemon_complaint(environ: Mapping[str, str], config: PandaConfig) -> str:
    path = status_file(environ, config.logger)
    try:
        master = read_status(path)
    except (OSError, ValueError) as error:
        return f"the status of the daemon cannot be read: {error}"
    now = time.time()
    if master is None:
        return f"the daemon has not written {path}"
    return "" if master.is_beating(now) else f"the daemon is silent: last beat {now - master.written:.0f} s ago"
