"""Every request of harvesters is answered as its golden pairs say, to each generation in its own bytes."""

from __future__ import annotations

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import REGISTRY
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import harvester_pairs
from tests.api.conftest import MakeClient

#: Where the requests of harvesters and their statistics are declared.
MODULES = (
    "pandaserver.jobdispatcher.worker_requests",
    "pandaserver.jobdispatcher.harvester_requests",
    "pandaserver.jobdispatcher.harvester_command_requests",
    "pandaserver.userinterface.statistics_requests",
)

#: Requests that are declared elsewhere and that harvesters call, too.
SHARED = (
    "/server/panda/getJob",
    "/server/panda/updateJobsInBulk",
    "/server/panda/checkJobStatus",
    "/server/panda/getResourceTypes",
    "/server/panda/isAlive",
    "/api/v1/pilot/acquire_jobs",
    "/api/v1/pilot/update_jobs_bulk",
    "/api/v1/job/get_status",
    "/api/v1/metaconfig/get_resource_types",
    "/api/v1/system/is_alive",
)


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.taskbuffer.Utils
    import pandaserver.userinterface.UserIF  # noqa: F401  declare their requests

    return make_client(tbuf=tbuf)


@pytest.mark.parametrize("pair", harvester_pairs.all_pairs(), ids=str)
def test_a_harvester_gets_the_golden_reply(pair: harvester_pairs.Pair, server: Client, tbuf: TaskBuffer) -> None:
    jobs = harvester_pairs.prepare(pair, tbuf)
    harvester_pairs.check(pair, harvester_pairs.send(server, pair, jobs), jobs, tbuf)


def test_every_request_of_harvesters_has_golden_pairs_at_each_of_its_doors(server: Client) -> None:
    own = [route for route in REGISTRY if route.handler.__module__ in MODULES]
    doors = [f"/server/panda/{route.legacy}" for route in own if route.legacy]
    doors += [f"/api/v1/{route.v1}" for route in own if route.v1]
    assert {*doors, *SHARED} - {*harvester_pairs.paths()} == set()
