"""Whatever pilots, Adder, Watcher and operators do, every range is processed once at most and none is lost."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import event_end
from tests.model.event_machine import EventMachine

LIVES = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> ConnectionSettings:
    made = ConnectionSettings(backend="sqlite", name=str(tmp_path_factory.mktemp("events") / "panda.sqlite3"))
    schema.create_all(made)
    return made


def test_sets_of_ranges_live_as_the_model_says(connection: ConnectionSettings) -> None:
    run_state_machine_as_test(lambda: EventMachine(connection), settings=LIVES)


def test_the_machine_finds_ranges_that_are_not_given_back(
    connection: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_end, "GIVE_BACK", f"{event_end.GIVE_BACK} AND 1 = 0")
    only_search = settings(LIVES, phases=(Phase.generate,), max_examples=100, database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: EventMachine(connection), settings=only_search)
