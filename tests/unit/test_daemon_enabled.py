"""What init scripts and systemd learn about the daemon before they start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pandaserver.deployment import daemon_enabled


@pytest.mark.parametrize(
    ("daemon", "code"),
    [
        ("enable = False", daemon_enabled.DISABLED),
        ("", daemon_enabled.DISABLED),
        ('enable = True\nconfig = {"dummy_test": {"period": 60}}', 0),
        ("enable = perhaps", 0),  # for the daemon to report
    ],
)
def test_only_a_sound_configuration_says_no(
    daemon: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc = tmp_path / "etc" / "panda"
    etc.mkdir(parents=True)
    (etc / "panda_server.cfg").write_text(f"[server]\n[daemon]\n{daemon}\n")
    monkeypatch.setenv("PANDA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert daemon_enabled.main() == code
