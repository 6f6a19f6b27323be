"""Apache for one instance, in the foreground, under the template that is shipped."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pandaserver.deployment import apache, httpd_modules
from pandaserver.deployment.site import THREADS_PER_CHILD, Site
from pandaserver.deployment.template import SITE, rendered, shipped
from pandaserver.testing.account import Account
from pandaserver.testing.layout import Layout

TEMPLATE: Final = "panda_server-httpd.conf.rpmnew"


def configure(layout: Layout, account: Account, proxy_module: Path | None = None, *, gridsite: bool = False) -> Path:
    """Write the configuration of the instance and return its path."""
    path = layout.etc / TEMPLATE.removesuffix(".rpmnew")
    with suppress(OSError):  # an installation that we may only read has them already, or does without
        httpd_modules.ensure(Path(sys.prefix))
    values = replace(site(layout, account), proxy_module=proxy_module, gridsite=gridsite).values()
    path.write_text(rendered(shipped(TEMPLATE), values))
    return path


def site(layout: Layout, account: Account) -> Site:
    """Return where everything of the instance is, in the words of the deployment."""
    return Site(
        prefix=layout.home,
        user=account.user,
        group=account.group,
        home=layout.work,
        logdir=layout.log,
        rundir=layout.run,
        cachedir=layout.cache,
        schedconfig=layout.schedconfig,
        cric=layout.cric,
        trf=layout.trf,
        auth=layout.auth,
        hostcert=layout.hostcert,
        hostkey=layout.hostkey,
        certificates=layout.ca / "certificates",
        httpd=apache.httpd(),
        modules=apache.modules(),
        mod_wsgi=apache.mod_wsgi(),
        venv=Path(sys.prefix),
        site=SITE,
    )


def environment(host: str, port: int, tls_port: int, *, processes: int, connections: int = 128) -> dict[str, str]:
    """Return the variables that the template reads."""
    most = max(connections // THREADS_PER_CHILD, 1) * THREADS_PER_CHILD
    return {
        "PANDA_SERVER_CONF_SERVERNAME": host,
        "PANDA_SERVER_CONF_PORT": str(port),
        "PANDA_SERVER_CONF_PORT_SSL": str(tls_port),
        "PANDA_SERVER_CONF_MIN_WORKERS": "8",
        "PANDA_SERVER_CONF_MAX_WORKERS": str(most),
        "PANDA_SERVER_CONF_NUM_WSGI": str(processes),
    }


def command(configuration: Path) -> list[str]:
    """Return how to run Apache as a child that does not detach."""
    return [str(apache.httpd()), "-f", str(configuration), "-DFOREGROUND"]
