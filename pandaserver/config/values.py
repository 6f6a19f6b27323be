"""The types of settings that are more than a number or a text, and how a setting is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Key of the field metadata under which a declaration keeps its facts.
ABOUT: Final = "setting"


class TokenAuth(StrEnum):
    """Which tokens the server accepts beside X.509 certificates."""

    none = "none"
    oidc = "oidc"
    scitokens = "scitokens"


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """One plug-in of a list such as ``atlas:pandaserver.dataservice.AdderAtlasPlugin:AdderAtlasPlugin``."""

    vo: str  # "any" is the catch-all
    module: str
    class_name: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class DaemonSpec:
    """A script that the daemon runs periodically."""

    name: str
    module: str  # full name, to be imported by the workers
    period: int  # seconds from start to start
    arguments: tuple[Any, ...] = ()  # as written in the configuration, so perhaps not text
    timeout: float = 0.0  # seconds after which a run is killed
    sync: bool = False  # only on one machine at a time
    loop: bool = False  # repeat within the period while the script returns True


@dataclass(frozen=True, slots=True)
class About:
    """What the loader, the template and the documents need to know about one setting."""

    meaning: str
    key: str = ""  # spelling in the file, where it is no Python name
    section: str = ""  # where it differs from the section of the class
    heading: str = ""  # begins a group of settings in the documents
    sample: str = ""  # value in the template; none: the setting stands there commented out, with its default
    default_text: str = ""  # how the documents write a default that depends on the machine
    aliases: tuple[str, ...] = ()  # further spellings of the key
    at_least: int | None = None
    unit: str = ""
    words: Mapping[str, str] | None = None  # accepted word -> value
    octal: bool = False  # a number such as 022


def setting(default: T, meaning: str, **about: Any) -> T:
    """Declare a field of a settings class: its default, its meaning in one sentence, and further facts."""
    return field(default=default, metadata={ABOUT: About(meaning, **about)})


def words(*names: str, **spellings: str) -> dict[str, str]:
    """Return the table of accepted words: each name, and other spellings of them."""
    return {name: name for name in names} | spellings
