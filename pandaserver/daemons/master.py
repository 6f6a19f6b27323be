"""The daemon: ``python -m pandaserver.daemons.master --pidfile FILE [--foreground]``."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pandacommon.pandalogger.line_format import LineFormatter
from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.config.settings import DaemonSettings
from pandaserver.daemons.locations import status_file
from pandaserver.daemons.output_files import OutputFiles
from pandaserver.daemons.pidfile import AlreadyRunning, PidFile
from pandaserver.daemons.service_manager import ServiceManager
from pandaserver.daemons.status import StatusFile
from pandaserver.daemons.supervisor import Master


@dataclass(frozen=True, slots=True)
class Account:
    """Who the daemon runs as."""

    name: str
    uid: int
    gid: int


def main(argv: Sequence[str] | None = None) -> int:
    """Read the configuration, become the service account, detach unless told otherwise, and run the master."""
    options = _parser().parse_args(argv)
    try:
        config = read_config()
        if not config.daemon.enable:
            print("The daemon is disabled: enable is not True in [daemon] of panda_server.cfg. Nothing is done.")
            return 0
        account = account_of(config.daemon, os.environ)
        pidfile = _taken(options.pidfile)
    except (ConfigurationError, AlreadyRunning) as error:
        print(f"The daemon does not start: {error}", file=sys.stderr)
        return 1
    if account is not None and pidfile is not None:
        pidfile.give_to(account.uid, account.gid)
    if not options.foreground:
        _detach(pidfile)
    _become(account, config.daemon.umask)
    return _run(config, pidfile)


def read_config() -> PandaConfig:
    """Return the configuration, or raise ConfigurationError if the daemon cannot run with it."""
    config = load(os.environ)
    config.require("server", "daemon", "logger")
    return config


def account_of(daemon: DaemonSettings, environ: Mapping[str, str]) -> Account | None:
    """Return the account to become; None if this process is not root, or is told to stay (``PANDA_NO_ROOT``)."""
    if "PANDA_NO_ROOT" in environ:
        return None
    try:
        account = Account(daemon.uname, pwd.getpwnam(daemon.uname).pw_uid, grp.getgrnam(daemon.gname).gr_gid)
    except KeyError as error:
        raise ConfigurationError(f"uname or gname in [daemon] of panda_server.cfg: {error.args[0]}") from error
    return account if os.geteuid() == 0 else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pandaserver.daemons.master", description="Run scripts periodically.")
    parser.add_argument("-P", "--pidfile", type=Path, help="file that holds the process id while the daemon runs")
    parser.add_argument("--foreground", action="store_true", help="stay attached, as systemd and containers want it")
    return parser


def _taken(path: Path | None) -> PidFile | None:
    if path is None:
        return None
    pidfile = PidFile(path.absolute())
    pidfile.acquire()
    return pidfile


def _become(account: Account | None, umask: int) -> None:
    os.umask(umask)
    if account is not None:
        os.initgroups(account.name, account.gid)
        os.setgid(account.gid)
        os.setuid(account.uid)


def _detach(pidfile: PidFile | None) -> None:
    from daemon import DaemonContext  # only where it is used; systemd hosts need not have it

    # The account stays: with initgroups python-daemon leaves the group as it is, and that would be root's.
    DaemonContext(
        detach_process=True,
        files_preserve=[] if pidfile is None else [pidfile.descriptor],
        stdout=sys.stdout,
        stderr=sys.stderr,
        signal_map={},
    ).open()


def _run(config: PandaConfig, pidfile: PidFile | None) -> int:
    from pandaserver.daemons import worker  # the code of workers, imported as the final user and shared by them all

    log = _logger()
    for file in config.files:
        log.info(f"configuration read file={file}")
    for finding in config.findings:
        log.log(finding.severity.log_level, f"configuration {finding}")
    status = StatusFile(status_file(os.environ, config.logger), log)
    service = ServiceManager(os.environ, log)
    output = OutputFiles()  # one for all, as workers may be forked after the file got another name
    life = partial(worker.live, output=output)
    if pidfile is None:
        return Master(config, read_config, life, log, status, service, output).run()
    pidfile.write()
    try:
        return Master(config, read_config, life, log, status, service, output, pidfile.close).run()
    finally:
        pidfile.remove()


def _logger() -> logging.Logger:
    log = logging.getLogger("PanDA-Daemon-Master")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    return log


if __name__ == "__main__":
    sys.exit(main())
