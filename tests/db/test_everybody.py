"""Everybody who writes jobs does so at once: no job is lost or doubled, whatever wins."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.everybody import Everybody

SECONDS = 3.0


@pytest.mark.slow
def test_jobs_survive_everybody(
    tbuf: TaskBuffer,
    database: ConnectionSettings,
    requires: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    requires("row_locks")
    caplog.set_level(logging.CRITICAL)
    everybody = Everybody(database)
    tbuf.storeQueues({"TEST_PQ": {"status": "online", "type": "unified", "maxrss": 32000, "corecount": 8}})
    everybody.submit(tbuf)
    monkeypatch.setattr(OraDBProxy, "_run_once", everybody.count_lost_races())
    everybody.act(SECONDS, everybody.everyone())
    print(everybody.acted, *everybody.lost.most_common(), sep="\n")  # with -s: who did how much, and lost which race
    everybody.tidy_up(tbuf)
    assert everybody.acted.keys() == {name for name, _ in everybody.everyone()}
    assert everybody.problems(tbuf) == []
