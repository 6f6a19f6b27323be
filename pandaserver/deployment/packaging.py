"""What ``setup.py`` hands to pip: files below the prefix, with the values of production."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pandaserver.deployment.files import FILES
from pandaserver.deployment.site import Site
from pandaserver.deployment.template import INSTALLED, SITE

#: Where the rendered files lie until they are packed, below the checkout.
_BUILT: Final = "build/deployment"


def data_files() -> list[tuple[str, list[str]]]:
    """Return the directories below the prefix, each with its files, relative to the checkout."""
    found: dict[str, list[str]] = {}
    for file in FILES:
        written = file.write(Site(), SITE / _BUILT)
        found.setdefault(file.directory, []).append(str(written.relative_to(SITE)))
    templates = SITE / "templates"
    for path in sorted(path for path in templates.rglob("*") if path.is_file()):
        directory = Path(INSTALLED, path.relative_to(templates)).parent
        found.setdefault(str(directory), []).append(str(path.relative_to(SITE)))
    return list(found.items())
