"""The module that lets Apache accept proxy certificates, built against the Apache of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pandaserver.deployment import httpd_modules

NAME: Final = "mod_panda_proxies"


def build(directory: Path) -> Path:
    """Compile the module into ``directory`` and return its path. Raises OSError with what the compiler said."""
    return httpd_modules.build(NAME, directory)
