"""``make run``: an instance in the foreground, and what to do with it."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pandaserver.srvcore.errors import PandaError
from pandaserver.testing.account import Account, service_account
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance, InstanceFailed, Options
from pandaserver.testing.sample_site import QUEUE
from pandaserver.testing.servers import ServerNotStarted

#: Where an instance goes whose directory the service account cannot reach.
_REACHABLE_HOME: Final = Path("/var/lib/panda-dev")
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL: Final = 0.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what ``make`` passes on."""
    parser.add_argument("--port", type=int, default=25080, help="http (make: PORT)")
    parser.add_argument("--tls-port", type=int, default=25443, help="https (make: TLS_PORT)")
    parser.add_argument("--dir", type=Path, default=Path("var"), help="directory of everything (make: DIR)")
    parser.add_argument("--daemon", choices=("on", "off"), default="on", help="(make: DAEMON)")
    parser.add_argument("--db", choices=("sqlite", "postgresql", "mariadb"), default="sqlite", help="(make: DB)")
    parser.add_argument("--db-url", default="", help="a database that exists (make: DB_URL)")


def instance_options(arguments: argparse.Namespace) -> Options:
    """Return the options of the instance that the command line asks for."""
    return Options(
        directory=reachable(arguments.dir.absolute(), service_account()),
        port=arguments.port,
        tls_port=arguments.tls_port,
        database=arguments.db_url or arguments.db,
        daemon=arguments.daemon == "on",
    )


def reachable(directory: Path, account: Account) -> Path:
    """Return the directory, or another one if the account cannot get there."""
    if account.can_reach(directory):
        return directory
    instead = _REACHABLE_HOME / f"{directory.name}-{zlib.crc32(str(directory).encode()):08x}"
    print(f"account {account.user} cannot reach {directory}: the instance lives in {instead}")
    return instead


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn every signal that ends a program into KeyboardInterrupt, and hold them back once we are stopping."""
    for number in _ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", flush=True)


def hold_back_signals() -> None:
    """Ignore further signals, so that an impatient second Ctrl-C does not leave processes behind."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def welcome(instance: Instance) -> str:
    """Return what a newcomer needs to know."""
    home, admin = shlex.quote(str(instance.layout.home)), f"{sys.prefix}/bin/panda-admin"
    return f"""
The PanDA server is running.

  http        {instance.http}/server/panda
  https       {instance.https}/server/panda
  queue       {QUEUE}
  database    {instance.options.database.split("://")[0]}
  logs        {instance.layout.log}
  CA          {instance.authorities}

Try it:

  curl {instance.http}/server/panda/isAlive

With a token, here with the production role:

  TOKEN=$({admin} token --name 'Jane Doe' --group {VO}/production --dir {home})
  curl --cacert {instance.authorities} -H "Authorization: Bearer $TOKEN" -H 'Origin: {VO}.production' \\
       {instance.https}/server/panda/getAttr

With a certificate:

  {admin} certificate --cn 'Jane Doe' --out jane.pem --dir {home}
  curl --cacert {instance.authorities} --cert jane.pem {instance.https}/server/panda/getAttr

Ctrl-C stops everything.
"""


def main() -> None:
    """Run an instance until somebody ends it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_options(parser)
    arguments = parser.parse_args()
    try:
        with ended_by_signals(), Instance(instance_options(arguments)) as instance:
            print(welcome(instance), flush=True)
            try:
                while True:
                    instance.check()
                    time.sleep(_POLL)
            finally:
                hold_back_signals()
    except (InstanceFailed, ServerNotStarted, PandaError, ValueError, FileNotFoundError) as failure:
        sys.exit(f"make run: {failure}")


if __name__ == "__main__":
    main()
