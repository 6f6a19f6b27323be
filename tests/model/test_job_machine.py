"""Whatever the actors do and in whatever order, no job is lost, doubled or untold."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pandaserver.srvcore.errors import DuplicateKey
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import job_move
from pandaserver.taskbuffer.states import ACTIVE, DEFINED
from tests.model.job_machine import JobMachine

LIVES = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> ConnectionSettings:
    made = ConnectionSettings(backend="sqlite", name=str(tmp_path_factory.mktemp("machine") / "panda.sqlite3"))
    schema.create_all(made)
    return made


def test_jobs_live_as_the_model_says(connection: ConnectionSettings) -> None:
    run_state_machine_as_test(lambda: JobMachine(connection), settings=LIVES)


@pytest.mark.parametrize("table", [DEFINED, ACTIVE])
def test_the_machine_finds_a_missing_delete(
    connection: ConnectionSettings, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setitem(job_move.DELETE_JOBS, table, f"{job_move.DELETE_JOBS[table]} AND 1 = 0")
    only_search = settings(LIVES, phases=(Phase.generate,), database=None)
    # The database itself refuses a second row if the same step moves the job that was left behind once more.
    with pytest.raises((AssertionError, DuplicateKey), match=r"not where the model has them|UNIQUE"):
        run_state_machine_as_test(lambda: JobMachine(connection), settings=only_search)


def test_the_machine_finds_a_step_that_is_not_told(
    connection: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(job_move.HISTORY, ACTIVE, f"{job_move.HISTORY[ACTIVE].replace('WHERE', 'WHERE 1 = 0 AND')}")
    only_search = settings(LIVES, phases=(Phase.generate,), database=None)
    with pytest.raises(AssertionError, match="tells another story"):
        run_state_machine_as_test(lambda: JobMachine(connection), settings=only_search)
