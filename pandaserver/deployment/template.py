"""The shipped templates, and putting values into them."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: The directory that holds the package; what production calls site-packages.
SITE: Final = Path(__file__).resolve().parents[2]
#: Where pip puts the templates as they are, below the prefix.
INSTALLED: Final = "share/panda/templates"

_PLACEHOLDER: Final = re.compile(r"@@(\w+)@@")


def rendered(template: str, values: Mapping[str, str]) -> str:
    """Replace the words between double @ signs; one without a value is an error."""

    def value(found: re.Match[str]) -> str:
        return values[found[1]]

    return _PLACEHOLDER.sub(value, template)


def with_settings(text: str, settings: Mapping[str, Mapping[str, str]]) -> str:
    """Return a configuration file in which the settings of each section have other values; comments stay."""
    left = {(section, key): value for section, keys in settings.items() for key, value in keys.items()}
    section, lines = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key = line.removeprefix("#").partition(" = ")[0]
        if " = " in line and (section, key) in left:
            line = f"{key} = {left.pop((section, key)).replace('%', '%%')}"
        lines.append(line)
    if left:
        raise KeyError(f"not in the template: {sorted(left)}")
    return "\n".join(lines) + "\n"


def shipped(name: str) -> str:
    """Return a template, from the checkout or from where pip put it."""
    places = (SITE / "templates", Path(sysconfig.get_path("data"), INSTALLED))
    for directory in places:
        if (directory / name).is_file():
            return (directory / name).read_text("utf-8")
    raise FileNotFoundError(f"{name} is neither in {places[0]} nor in {places[1]}")
