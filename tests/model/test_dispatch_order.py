"""Jobs leave in the order that shares, priorities and age say, whatever the tree, the jobs and the requests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from tests.model.dispatch_order import World, dispatched, expected, worlds

RUNS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> ConnectionSettings:
    made = ConnectionSettings(backend="sqlite", name=str(tmp_path_factory.mktemp("order") / "panda.sqlite3"))
    schema.create_all(made)
    return made


@pytest.fixture(autouse=True)
def no_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)


def test_jobs_leave_in_the_order_of_the_reference(connection: ConnectionSettings) -> None:
    @RUNS
    @given(worlds())
    def check(world: World) -> None:
        schema.empty_all(connection)
        assert dispatched(connection, world) == expected(world)

    check()


def test_the_property_finds_a_wrong_order(connection: ConnectionSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "BY_PRIORITY", "currentPriority, PandaID")

    @settings(RUNS, phases=(Phase.generate,), database=None)
    @given(worlds())
    def check(world: World) -> None:
        schema.empty_all(connection)
        assert dispatched(connection, world) == expected(world)

    with pytest.raises(AssertionError):
        check()
