"""The order of dispatch on every database, by a few of the random runs of tests/model."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from tests.model.dispatch_order import World, dispatched, expected, worlds

FEW = settings(
    max_examples=10, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)


def test_jobs_leave_in_the_order_of_the_reference(
    database: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)

    @FEW
    @given(worlds())
    def check(world: World) -> None:
        schema.empty_all(database)
        assert dispatched(database, world) == expected(world)

    check()
