"""Finding the plug-in of a VO."""

from __future__ import annotations

from pathlib import Path

import pytest

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.plugins import plugin_class, plugin_for
from pandaserver.config.values import PluginEntry

ATLAS = PluginEntry("atlas", "collections", "OrderedDict")
ATLAS_TOP = PluginEntry("atlas", "collections", "Counter", "top")
ANY = PluginEntry("any", "collections", "UserDict")


@pytest.mark.parametrize(
    ("vo", "group", "name"),
    [
        ("atlas", "top", "Counter"),
        ("atlas", "higgs", "OrderedDict"),
        ("atlas", None, "OrderedDict"),
        ("other", "top", "UserDict"),
    ],
)
def test_the_closest_entry_is_chosen(vo: str, group: str | None, name: str) -> None:
    found = plugin_for([ANY, ATLAS_TOP, ATLAS], vo, group)
    assert found is not None
    assert found.__name__ == name


def test_without_a_catch_all_a_vo_may_have_none() -> None:
    assert plugin_for([ATLAS], "other") is None


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (PluginEntry("a", "no.such.module", "C"), "no.such.module does not import"),
        (PluginEntry("a", "collections", "NoSuchClass"), "has no class NoSuchClass"),
        (PluginEntry("a", "collections", "abc"), "has no class abc"),
    ],
)
def test_an_entry_that_leads_nowhere_says_why(entry: PluginEntry, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        plugin_class(entry)


def test_a_plugin_that_fails_in_its_own_way_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        plugin_class(PluginEntry("a", "broken_plugin", "C"))
