"""Apache for one instance, in the foreground, under the template that is shipped."""

from __future__ import annotations

import glob
import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandaserver
from pandaserver.testing.account import Account, program
from pandaserver.testing.layout import Layout

TEMPLATE: Final = "panda_server-httpd.conf.rpmnew"
#: The directory that holds the package; what production calls site-packages.
SITE: Final = Path(pandaserver.__file__).resolve().parent.parent
_PLACEHOLDER: Final = re.compile(r"@@(\w+)@@")
_MODULE_DIRECTORIES: Final = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")
#: As the template sets it for the event MPM; the maximum has to be a multiple.
_THREADS_PER_CHILD: Final = 32


def configure(layout: Layout, account: Account) -> Path:
    """Write the configuration of the instance and return its path."""
    values = {
        "user": account.user,
        "group": account.group,
        "home": str(layout.work),
        "modules": str(_modules()),
        "mpm": "event",
        "venv": sys.prefix,
        "mod_wsgi": str(_mod_wsgi()),
        "site": str(SITE),
        "logdir": str(layout.log),
        "rundir": str(layout.run),
        "cachedir": str(layout.cache),
        "schedconfig": str(layout.schedconfig),
        "cric": str(layout.cric),
        "trf": str(layout.trf),
        "auth": str(layout.auth),
        "hostcert": str(layout.hostcert),
        "hostkey": str(layout.hostkey),
        "certificates": str(layout.ca / "certificates"),
    }
    path = layout.etc / TEMPLATE.removesuffix(".rpmnew")
    path.write_text(rendered(shipped(TEMPLATE), values))
    return path


def environment(host: str, port: int, tls_port: int, *, processes: int, connections: int = 128) -> dict[str, str]:
    """Return the variables that the template reads."""
    most = max(connections // _THREADS_PER_CHILD, 1) * _THREADS_PER_CHILD
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
    return [program("apache2") if Path("/etc/debian_version").exists() else program("httpd"),
            "-f", str(configuration), "-DFOREGROUND"]  # fmt: skip


def rendered(template: str, values: Mapping[str, str]) -> str:
    """Replace the words between double @ signs; one without a value is an error."""

    def value(found: re.Match[str]) -> str:
        return values[found[1]]

    return _PLACEHOLDER.sub(value, template)


def shipped(name: str) -> str:
    """Return a file of ``templates/``, from the checkout or from where pip put it."""
    for directory in (SITE / "templates", Path(sys.prefix, "etc", "panda")):
        if (directory / name).exists():
            return (directory / name).read_text()
    raise FileNotFoundError(f"{name} is neither in {SITE / 'templates'} nor in {sys.prefix}/etc/panda")


def _modules() -> Path:
    for directory in map(Path, _MODULE_DIRECTORIES):
        if (directory / "mod_ssl.so").exists():
            return directory
    raise FileNotFoundError(f"Apache's modules are in none of {', '.join(_MODULE_DIRECTORIES)}")


def _mod_wsgi() -> Path:
    package = importlib.util.find_spec("mod_wsgi")
    for directory in (package.submodule_search_locations or []) if package else []:
        if found := sorted(glob.glob(f"{directory}/**/mod_wsgi-py*.so", recursive=True)):
            return Path(found[0])
    raise FileNotFoundError(f"mod_wsgi is not installed in {sys.prefix}")
