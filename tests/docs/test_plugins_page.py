"""The page for authors of plug-ins: its example is a plug-in, and its tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pandaserver.config.panda_config import load

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/plugins.md").read_text("utf-8")


def write_example(directory: Path) -> None:
    for name, text in re.findall(r"```python (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (directory / name).write_text(text, "utf-8")


def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    write_example(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_configuration_of_the_example_is_valid(tmp_path: Path) -> None:
    found = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "panda_server.cfg").write_text(found[1] + "backend = sqlite\ndbname = /x\n")
    config = load({}, [tmp_path])
    assert config.findings == ()
    assert [entry.vo for entry in config.server.adder_plugins] == ["snow", "any"]
    assert config.server.setupper_plugins[0].class_name == "SnowSetupper"
