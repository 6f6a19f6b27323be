"""Many pilots ask at the same moment, through real web processes: every job is handed out once."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlencode

import pytest

from pandaserver.testing.development_issuer import VO
from tests.chaos.web_cycles import User, books, submission
from tests.chaos.web_rig import Rig, directory, postgres, url_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

JOBS = 320
CONNECTIONS = 16


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        database = request.param
        if database == "postgresql":
            database = url_of(stack.enter_context(postgres(home)))
        yield stack.enter_context(Rig(home / "var", database, daemon=False))


class Greedy(threading.Thread):
    """A connection that stays open and asks for jobs until there are none."""

    def __init__(self, rig: Rig, n_jobs: int, begin: threading.Barrier) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection(rig.options.host, rig.options.port, timeout=60)
        token = rig.token("Robot Pilot", f"{VO}/pilot")
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Origin": f"{VO}.pilot",
            "Accept": "application/json" if n_jobs else "",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        wanted = {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "n"}
        self._body = urlencode(wanted | ({"nJobs": n_jobs} if n_jobs else {}))
        self._begin = begin
        self.given: list[int] = []
        self.last = ""

    def run(self) -> None:
        self._begin.wait()
        while given := self._ask():
            self.given += given

    def _ask(self) -> list[int]:
        self._connection.request("POST", "/server/panda/getJob", self._body, self._headers)
        with self._connection.getresponse() as reply:
            self.last = f"{reply.status} {reply.read().decode()}"
        return ids_of(self.last.partition(" ")[2])


def ids_of(text: str) -> list[int]:
    """Return the jobs of a reply in either form."""
    if text.startswith("{"):
        return [int(job["PandaID"]) for job in json.loads(text).get("jobs", [])]
    return [int(pid) for pid in parse_qs(text).get("PandaID", [])]


def web_processes_that_gave_jobs(rig: Rig) -> set[str]:
    log = (rig.layout.log / "panda-Entry.log").read_text()
    return set(re.findall(r"PID=(\d+) getJob .* bytes=\d{3}", log))


@pytest.mark.parametrize("n_jobs", [0, 7])
def test_every_job_is_handed_out_once(rig: Rig, n_jobs: int) -> None:
    tag = f"bulk{n_jobs}"
    stored = User(rig).submit(submission(JOBS, tag))
    begin = threading.Barrier(CONNECTIONS)
    pilots = [Greedy(rig, n_jobs, begin) for _ in range(CONNECTIONS)]
    for pilot in pilots:
        pilot.start()
    for pilot in pilots:
        pilot.join()
    given = [panda_id for pilot in pilots for panda_id in pilot.given]
    assert {pilot.last[:20] for pilot in pilots} <= {"200 StatusCode=20", '200 {"StatusCode": 20'[:20]}
    assert sorted(given) == sorted(stored)
    if n_jobs == 0:  # else few requests are enough, and one process may have served them all
        assert len(web_processes_that_gave_jobs(rig)) == rig.options.web_processes
    assert sum(bool(pilot.given) for pilot in pilots) > CONNECTIONS / 2
    assert set(books(rig, tag).steps.values()) == {("defined", "activated", "sent")}
