"""``panda-admin render``: the deployment files for one site."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from pandaserver.deployment import apache, httpd_modules
from pandaserver.deployment.files import take_into_use, write_all
from pandaserver.deployment.site import THREADS_PER_CHILD, Site
from pandaserver.deployment.template import SITE

_PRODUCTION: Final = Site()
_PATH: Final = click.Path(path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])


def _option(name: str, help_text: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(name, help=help_text, show_default=True, **attributes)


@click.command()
@_option("--out", "Directory to write etc/panda, etc/rc.d/init.d and etc/systemd/system into.", type=_PATH)
@_option("--install", "Also give each .rpmnew its name, where nothing has that name yet.", is_flag=True)
@_option("--prefix", "The virtual environment, and PANDA_HOME.  [default: this environment]", type=_PATH)
@_option("--user", "Service account.", default=_PRODUCTION.user)
@_option("--group", "Its group.", default=_PRODUCTION.group)
@_option("--home", "Its home.  [default: /home/USER]", type=_PATH)
@_option("--server-name", "Name of the server in URLs.  [default: full name of this machine]")
@_option("--port", "Port of http.", default=_PRODUCTION.port)
@_option("--tls-port", "Port of https.", default=_PRODUCTION.tls_port)
@_option("--min-workers", "Connections ready at any time.", default=_PRODUCTION.min_workers)
@_option("--max-workers", "Connections at most; for event a multiple of 32.", default=_PRODUCTION.max_workers)
@_option("--num-wsgi", "Processes that run the application.", default=_PRODUCTION.num_wsgi)
@_option("--logdir", "Logs.", type=_PATH, default=_PRODUCTION.logdir)
@_option("--rundir", "Pid files and sockets.", type=_PATH, default=_PRODUCTION.rundir)
@_option("--cachedir", "Uploaded files.  [default: LOGDIR/pandacache]", type=_PATH)
@_option("--schedconfig", "Descriptions of queues.", type=_PATH, default=_PRODUCTION.schedconfig)
@_option("--cric", "Snapshots of site data.", type=_PATH, default=_PRODUCTION.cric)
@_option("--trf", "Payload scripts.", type=_PATH, default=_PRODUCTION.trf)
@_option("--auth", "Token issuers and policies.  [default: PREFIX/etc/panda/auth]", type=_PATH)
@_option("--hostcert", "Certificate of https.", type=_PATH, default=_PRODUCTION.hostcert)
@_option("--hostkey", "Its key.", type=_PATH, default=_PRODUCTION.hostkey)
@_option("--certificates", "CAs of clients, by hash.", type=_PATH, default=_PRODUCTION.certificates)
@_option("--mpm", "How Apache works.", type=click.Choice(["event", "prefork"]), default=_PRODUCTION.mpm)
@_option("--proxies", "Build and load the module that lets Apache accept proxy certificates.", is_flag=True)
@_option("--gridsite", "Load mod_gridsite in place of it.", is_flag=True)
@_option("--schema-blocks", "Under systemd, an older schema keeps the services from starting.", is_flag=True)
def render(out: Path | None, install: bool, **options: Any) -> None:
    """Write every deployment file for a site; Apache and mod_wsgi are those of this machine.

    Files of an administrator, which have no .rpmnew, are never changed.
    """
    site = _site(**options)
    directory = (out or site.prefix).absolute()
    try:
        written = write_all(site, directory)
        written += take_into_use(directory, site.group) if install else []
    except (OSError, LookupError) as error:
        raise click.ClickException(str(error)) from error
    for path in written:
        click.echo(path)


def _site(
    prefix: Path | None, home: Path | None, server_name: str | None, proxies: bool, user: str, **options: Any
) -> Site:
    if options["mpm"] == "event" and options["max_workers"] % THREADS_PER_CHILD:
        raise click.UsageError(f"--max-workers: the event MPM needs a multiple of {THREADS_PER_CHILD}")
    if proxies and options["gridsite"]:
        raise click.UsageError("--proxies and --gridsite: Apache can have one of them")
    environment = (prefix or Path(sys.prefix)).absolute()
    here = environment == Path(sys.prefix)
    try:
        httpd, modules = apache.httpd(), apache.modules()
        mod_wsgi = apache.mod_wsgi() if here else None
        target = httpd_modules.directory(environment)
        module = httpd_modules.build(httpd_modules.PROXIES, target) if proxies else None
    except OSError as error:
        raise click.ClickException(f"{error}; install it first, its path is part of the files") from error
    if options["gridsite"] and not (modules / "mod_gridsite.so").exists():
        raise click.ClickException(f"{modules}/mod_gridsite.so is missing; install mod_gridsite first")
    _build_modules(environment)
    return Site(
        prefix=environment,
        user=user,
        home=home or Path("/home", user),
        server_name=server_name or socket.getfqdn(),
        httpd=httpd,
        modules=modules,
        mod_wsgi=mod_wsgi,
        site=SITE if here else None,
        proxy_module=module,
        httpd_notifies=(modules / "mod_systemd.so").exists(),
        **options,
    )


def _build_modules(environment: Path) -> None:
    if not (environment / "bin" / "python").exists():
        click.echo(f"{environment} is not here: render there too, so that Apache gets our modules", err=True)
        return
    try:
        httpd_modules.ensure(environment)
    except OSError as error:
        message = f"Apache does without our modules, so restarts and slow senders can fail requests: {error}"
        click.echo(message, err=True)
