"""`pip install` of a newer version over a configuration that somebody edited."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import installation

#: What an administrator renames and edits.
EDITED = ("panda_common.cfg", "panda_server.cfg", "panda_server-httpd.conf", "panda_server.sysconfig")


@pytest.fixture(scope="module")
def prefix() -> Iterator[Path]:
    """An environment with the second version installed over the edited files of the first."""
    with tempfile.TemporaryDirectory(prefix="panda-e2e-") as name:
        packages = Path(name, "packages")
        older, newer = (installation.wheel(packages, version, change) for version, change in RELEASES)
        made = installation.environment(Path(name, "panda"))
        installation.install(made, older)
        for file in EDITED:
            path = made / "etc" / "panda" / file
            path.with_name(f"{file}.rpmnew").rename(path)
            path.write_text(path.read_text().replace("atlpan", "edited").replace("logdir = /var", "logdir = /edited"))
        installation.install(made, newer)
        yield made


def with_another_setting(source: Path) -> None:
    template = source / "templates" / "panda_common.cfg.rpmnew"
    template.write_text(template.read_text() + "\n[logger]\n\n# Something that nobody knew before.\n#novelty = 1\n")


RELEASES = (("98.1", None), ("98.2", with_another_setting))


def printed(prefix: Path, *command: str) -> tuple[int, str]:
    """Run a program of the environment, and return exit code and output."""
    done = subprocess.run(
        [prefix / "bin" / command[0], *command[1:]], cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout


def test_the_newer_version_is_installed(prefix: Path) -> None:
    version = printed(prefix, "python", "-c", "import pandaserver; print(pandaserver.__version__)")
    assert version == (0, "98.2\n")


def test_the_edits_are_kept(prefix: Path) -> None:
    texts = {name: (prefix / "etc" / "panda" / name).read_text() for name in EDITED}
    assert [name for name, text in texts.items() if "edited" not in text] == []
    assert "novelty" not in texts["panda_common.cfg"]


def test_the_new_files_lie_beside_them(prefix: Path) -> None:
    texts = {name: (prefix / "etc" / "panda" / f"{name}.rpmnew").read_text() for name in EDITED}
    assert [name for name, text in texts.items() if "edited" in text] == []
    assert "novelty" in texts["panda_common.cfg"]


def test_a_command_says_what_is_new(prefix: Path) -> None:
    code, text = printed(prefix, "panda-admin", "config-diff")
    assert code == 1
    assert "new setting [logger] novelty, by default 1: Something that nobody knew before.\n" in text
    assert "panda_server.cfg: " not in text, "nothing is new in it"


def test_pip_makes_the_init_scripts_executable(prefix: Path) -> None:
    scripts = prefix / "etc" / "rc.d" / "init.d"
    runnable = {path.name for path in scripts.iterdir() if os.access(path, os.X_OK)}
    assert runnable == {"panda_server", "panda_httpd", "panda_daemon"}
