"""Directories, their rights and their space; and the files about tokens."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pandaserver.config.values import TokenAuth
from pandaserver.daemons.locations import lock_directory
from pandaserver.deployment import httpd_modules
from pandaserver.health.account import READ, READ_FILE, WRITE, CannotTell, accounts, allowed
from pandaserver.health.httpd_conf import HttpdConf
from pandaserver.health.result import Result, failure, ok, skipped, warning
from pandaserver.health.scene import Scene
from pandaserver.srvcore.oidc_config import SUFFIX, load_auth_config

MB: Final = 2**20
#: Free space below which somebody should look, and below which it is too late.
LITTLE: Final = 1024 * MB
TOO_LITTLE: Final = 100 * MB

#: Directives that name files of Apache.
APACHE: Final = ("WSGISocketPrefix", "PidFile")


def directories(scene: Scene) -> Iterator[Result]:
    """Every directory exists, and the service account may write there."""
    found = accounts(scene)
    if len(found) > 1:
        names = " and ".join(f"{one.user}:{one.group}" for one in found)
        yield warning(f"daemon and Apache run as {names}, and share files", "let them run as one account")
    wanted = used_directories(scene)
    for path, purpose in wanted.items():
        if not os.path.isdir(path):
            yield failure(f"{path} ({purpose}) is no directory", f"mkdir -p {path}, for the service account")
    existing = {path: purpose for path, purpose in wanted.items() if os.path.isdir(path)}
    # Apache makes its sockets and its pid file before it becomes the account, which then only has to get there.
    modes = {path: READ if purpose in APACHE else WRITE for path, purpose in existing.items()}
    try:
        rights = allowed(found[0], modes)
    except CannotTell as problem:
        yield failure(str(problem))
        return
    for path in [path for path, may in rights.items() if not may]:
        what = "read" if modes[path] == READ else "written"
        yield failure(f"{path} ({existing[path]}) cannot be {what} by {_account(scene)}", f"chown or chmod {path}")
    if existing and all(rights.values()):
        yield ok(f"{len(existing)} can be used by {_account(scene)}")


def disk(scene: Scene) -> Iterator[Result]:
    """There is space in the directories."""
    seen: dict[int, Path] = {}
    for path in used_directories(scene):
        if os.path.isdir(path):
            seen.setdefault(path.stat().st_dev, path)
    for path in seen.values():
        found = os.statvfs(path)
        free, inodes = found.f_bavail * found.f_frsize, found.f_favail
        message = f"{free // MB} MB and {inodes} files are free at {path}"
        no_files = found.f_files > 0 and inodes < 1000  # some file systems do not count them
        if free < TOO_LITTLE or no_files:
            yield failure(message, "remove something, or make the file system larger")
        else:
            yield warning(message) if free < LITTLE else ok(message)


def modules(scene: Scene) -> Iterator[Result]:
    """Our modules for Apache are where its configuration looks for them; it does without those that are not."""
    conf = HttpdConf.find(scene.environ)
    if conf.path is None:
        yield skipped("there is no readable configuration of Apache")
        return
    for name in httpd_modules.ALWAYS:
        found = conf.paths(f"LoadModule {name.removeprefix('mod_')}_module")
        if not found:
            yield warning(f"{conf.path} does not load {name}", "see panda-admin config-diff")
        for path in found:
            missing = warning(f"{path} does not exist", "panda-admin render builds it, then restart Apache")
            yield ok(str(path)) if path.exists() else missing


def tokens(scene: Scene) -> Iterator[Result]:
    """The files that say which tokens count can be read, and say it."""
    server = scene.config.server
    if server.token_authType is not TokenAuth.oidc:
        yield skipped("tokens are not accepted: token_authType is not oidc")
        return
    files = sorted(server.auth_config.glob(f"*{SUFFIX}"))
    wanted = {server.auth_config: READ} | dict.fromkeys(files, READ_FILE)
    try:
        for path, may in allowed(accounts(scene)[0], wanted).items():
            if not may:
                yield failure(f"{path} cannot be read by {_account(scene)}", f"chmod {path}")
    except CannotTell as problem:
        yield failure(str(problem))
    listener = _Listener()
    found = load_auth_config(server.auth_config, server.auth_policies, listener.logger)
    for complaint in listener.complaints:
        yield failure(complaint)
    if found.clients:
        yield ok(f"clients of {', '.join(sorted({client.vo for client in found.clients}))}")


def used_directories(scene: Scene) -> dict[Path, str]:
    """Return what the service account writes to, and what for."""
    server, logger = scene.config.server, scene.config.logger
    found = {
        logger.logdir: "logs",
        server.logdir: "logs",
        server.cache_dir: "uploaded files",
        server.schedconfig_dir: "queue descriptions",
        lock_directory(scene.environ, logger).parent: "locks",
    }
    if server.metrics_dir is not None:
        found[server.metrics_dir] = "metrics"
    if server.backend == "sqlite" and Path(server.dbname).is_absolute():
        found[Path(server.dbname).parent] = "database"
    for directive in APACHE:
        for path in HttpdConf.find(scene.environ).paths(directive):
            found.setdefault(path.parent, directive)
    return found


def _account(scene: Scene) -> str:
    return accounts(scene)[0].user if os.geteuid() == 0 else f"this account (uid {os.geteuid()})"


class _Listener(logging.Handler):
    """Collects what a reader of files says to its log."""

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []
        self.logger = logging.Logger("doctor")  # not a registered one: nobody else gets it
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.complaints.append(record.getMessage())
