"""Where Apache and its modules are on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

_MODULE_DIRECTORIES: Final = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")


def httpd() -> Path:
    """Return the program: ``apache2`` where Debian ships it, else ``httpd``."""
    name = "apache2" if Path("/etc/debian_version").exists() else "httpd"
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not found:
        raise FileNotFoundError(f"{name} is not installed")
    return Path(found)


def modules() -> Path:
    """Return the directory of Apache's modules."""
    for directory in map(Path, _MODULE_DIRECTORIES):
        if (directory / "mod_ssl.so").exists():
            return directory
    raise FileNotFoundError(f"Apache's modules, mod_ssl among them, are in none of {', '.join(_MODULE_DIRECTORIES)}")


def mod_wsgi() -> Path:
    """Return the module that pip built for this Python."""
    package = importlib.util.find_spec("mod_wsgi")
    for directory in (package.submodule_search_locations or []) if package else []:
        if found := sorted(Path(directory).glob("**/mod_wsgi-py*.so")):
            return found[0]
    raise FileNotFoundError("mod_wsgi is not installed beside this Python")
