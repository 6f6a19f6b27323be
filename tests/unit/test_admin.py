"""``panda-admin`` as a whole: what an administrator sees whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pandaserver.admin.main import main


@pytest.mark.parametrize("command", ["queue list", "share list", "schema check", "script dummy_test"])
def test_a_mistake_in_the_configuration_is_told_in_words(tmp_path: Path, command: str) -> None:
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").write_text("[server]\nbackend = sqlite\ndbname = /x\ndbtimeout = soon\n")
    done = CliRunner().invoke(main, command.split(), env={"PANDA_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "panda_server.cfg:4: error: [server] dbtimeout: 'soon' is not a whole number" in done.output
    assert "panda-admin check-config" in done.output
