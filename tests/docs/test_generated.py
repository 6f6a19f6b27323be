"""Generated files say what the code says, and nothing is left out."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from pandacommon.liveconfigparser.LiveConfigParser import search_path
from pandaserver.config.panda_config import load
from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings
from pandaserver.config.shipped_daemons import SHIPPED_DAEMONS
from pandaserver.config.text import Settings
from pandaserver.config.unused_settings import UNUSED
from pandaserver.config.values import ABOUT
from pandaserver.taskbuffer.states import HOME

ROOT = Path(__file__).resolve().parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generator()


@pytest.mark.parametrize("file", [*GENERATE.GENERATED, *GENERATE.PARTS])
def test_a_generated_file_is_current(file: str) -> None:
    assert (ROOT / file).read_text("utf-8") == GENERATE.generated(file), "run make docs"


def test_an_outdated_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GENERATE, "ROOT", tmp_path)
    monkeypatch.setattr(GENERATE, "GENERATED", {"states.md": "pandaserver.taskbuffer.states_page:states_page"})
    monkeypatch.setattr(GENERATE, "PARTS", {"page.md": "pandaserver.server.access_page:access_table"})
    (tmp_path / "page.md").write_text(f"before\n{GENERATE.BEGIN}old\n{GENERATE.END}after\n")
    assert GENERATE.main(["--check"]) == 1
    assert GENERATE.main([]) == 0
    assert GENERATE.main(["--check"]) == 0
    page = (tmp_path / "page.md").read_text()
    assert (page.startswith("before\n"), page.endswith("after\n"), "`job/kill`" in page) == (True, True, True)


@pytest.mark.parametrize("settings", [ServerSettings, DaemonSettings, LoggerSettings])
def test_every_setting_has_a_row_and_a_sentence(settings: type[Settings]) -> None:
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    for field in fields(settings):
        about = field.metadata[ABOUT]
        assert about.meaning.endswith("."), field.name
        assert about.section or f"| `{about.key or field.name}` |" in page


def test_no_setting_is_declared_both_in_use_and_unused() -> None:
    for settings in (ServerSettings, DaemonSettings, LoggerSettings):
        names = {field.metadata[ABOUT].key or field.name for field in fields(settings)}
        assert not names & UNUSED[settings.SECTION].keys()


def test_every_script_is_in_the_shipped_configuration_and_back() -> None:
    scripts = {path.stem for path in (ROOT / "pandaserver/daemons/scripts").glob("[a-z]*.py")}
    assert {daemon.get("module", name) for name, daemon in SHIPPED_DAEMONS.items()} == scripts


def test_every_state_has_its_paragraph() -> None:
    page = (ROOT / "docs/states.md").read_text("utf-8")
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [*HOME, "Transitions"]


def test_the_shipped_templates_work_once_the_password_is_given(tmp_path: Path) -> None:
    for name in ("panda_server.cfg", "panda_common.cfg"):
        text = (ROOT / f"templates/{name}.rpmnew").read_text("utf-8")
        (tmp_path / name).write_text(text.replace("dbpasswd = FIXME", "dbpasswd = x"))
    assert load({}, [tmp_path]).findings == ()


def test_an_unedited_template_asks_for_the_password(tmp_path: Path) -> None:
    (tmp_path / "panda_server.cfg").write_text((ROOT / "templates/panda_server.cfg.rpmnew").read_text("utf-8"))
    assert [finding.key for finding in load({}, [tmp_path]).findings] == ["dbpasswd"]


def test_what_a_template_comments_out_is_the_default(tmp_path: Path) -> None:
    text = (ROOT / "templates/panda_server.cfg.rpmnew").read_text("utf-8").replace("= FIXME", "= x")
    (tmp_path / "panda_server.cfg").write_text(text)
    before = load({}, [tmp_path])
    (tmp_path / "panda_server.cfg").write_text(re.sub(r"(?m)^#(\w+ = [^<\n]+)$", r"\1", text))
    after = load({}, [tmp_path])
    assert len(after.sources) > len(before.sources) + 20
    assert (after.server, after.daemon, after.findings) == (before.server, before.daemon, ())


def test_the_examples_of_the_configuration_page_are_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    json_map, levels = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("json", "ini"))
    assert json_map is not None
    assert levels is not None
    (tmp_path / "etc/config_json").mkdir(parents=True)
    (tmp_path / "etc/config_json/panda_server_config.json").write_text(json_map[1])
    (tmp_path / "panda_common.cfg").write_text(levels[1])
    config = load({"PANDA_HOME": str(tmp_path), "PANDA_DB_HOST": "db.example.org"}, [tmp_path])
    assert (config.server.dbhost, config.server.dbport, config.daemon.enable) == ("db.example.org", 5432, True)
    assert config.logger.levels == {"DBProxy": "DEBUG"}


def test_the_configuration_page_names_the_directories_in_their_order() -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    listed = re.findall(r"(?m)^\d\. `(.*)`$", page)
    home, panda_home = "~", "$PANDA_HOME"
    assert listed == [str(path) for path in search_path({"HOME": home, "PANDA_HOME": panda_home})]
