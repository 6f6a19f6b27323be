"""Answers are cut off and processes killed while clients submit with keys: no job twice, and none lost."""

from __future__ import annotations

import pickle
import random
import threading
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPException
from time import monotonic, sleep
from urllib.parse import urlencode

import pytest

from pandaserver.testing.development_issuer import VO
from pandaserver.testing.tcp_proxy import TcpProxy
from tests.chaos.web_cycles import User, books, submission, text_of
from tests.chaos.web_rig import Rig, directory, kill_all, postgres, url_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CLIENTS = 6
#: Part of the answers that are cut off, and the bytes within which that happens; whole answers have about 400.
LOST, WITHIN = 0.4, 400
#: Submissions between two kills.
PAUSE = 60
#: Seconds after which a client gives up.
PATIENCE = 60.0


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        database = request.param
        if database == "postgresql":
            database = url_of(stack.enter_context(postgres(home)))
        yield stack.enter_context(Rig(home / "var", database, daemon=False))


class HistoricalUser(User):
    """The same through the historical door, in forms, with pickled replies."""

    def __init__(self, rig: Rig, name: str, url: str) -> None:
        super().__init__(rig, name, url)
        self._form_url = f"{url}/server/panda/submitJobs"
        self._form_headers = {"Authorization": f"Bearer {rig.token(name)}", "Origin": VO}

    def submit(self, jobs: str, key: str = "", *, seconds: float = PATIENCE) -> list[int]:
        """Submit jobs and return their PandaIDs, asking again until there is a whole answer."""
        deadline = monotonic() + seconds
        body, headers = urlencode({"jobs": jobs}).encode(), self._form_headers | {"Idempotency-Key": key}
        while True:
            status, reply = _fetch(urllib.request.Request(self._form_url, body, headers))
            if status == HTTPStatus.OK:
                return [row[0] for row in pickle.loads(reply)]
            assert monotonic() < deadline, f"{status}: {reply[:300]!r}"
            self.retries += 1
            sleep(0.05)


def _fetch(request: urllib.request.Request) -> tuple[int, bytes]:
    """Return status and reply; status 0 without a whole reply."""
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, text_of(error).encode()
    except (OSError, HTTPException) as error:
        return 0, str(error).encode()


class Killer:
    """Kills a web process or a database child whenever so many submissions were answered."""

    def __init__(self, rig: Rig, rng: random.Random) -> None:
        self._rig, self._rng = rig, rng
        self._answered, self._lock = 0, threading.Lock()
        self.killed: Counter[str] = Counter()

    def answered(self) -> None:
        """Count an answer, and maybe kill."""
        with self._lock:
            self._answered += 1
            if self._answered % PAUSE:
                return
            kind = self._rng.choice(["web_processes", "database_children"])
            victims = getattr(self._rig, kind)()
            if victims:
                kill_all([self._rng.choice(victims)])
                self.killed[kind] += 1


def submit_all(rig: Rig, tag: str, count: int) -> None:
    """Let clients submit so many jobs, each under a key of its own, and compare their books with the database."""
    rng = random.Random(tag)
    killer = Killer(rig, rng)
    with TcpProxy(rig.options.host, rig.options.port) as line:
        line.lose_replies(LOST, WITHIN, rng)
        url = f"http://{rig.options.host}:{line.port}"
        users = [(HistoricalUser if n % 2 else User)(rig, f"User {n}", url) for n in range(CLIENTS)]

        def work(n: int) -> Mapping[str, list[int]]:
            mine: dict[str, list[int]] = {}
            for number in range(n, count, CLIENTS):
                name = f"{tag}.{number}"
                mine[f"{name}.0"] = users[n].submit(submission(1, name), str(uuid.uuid4()), seconds=PATIENCE)
                killer.answered()
            return mine

        with ThreadPoolExecutor(CLIENTS) as pool:
            known = {name: ids for part in pool.map(work, range(CLIENTS)) for name, ids in part.items()}
    stored = [(entry.name, panda_id) for panda_id, rows in books(rig, tag).rows.items() for entry in rows]
    assert sorted(stored) == sorted((name, ids[0]) for name, ids in known.items())
    assert len(stored) == count
    assert line.lost > LOST * count / 2  # else nothing was tried
    assert sum(user.retries for user in users) > LOST * count / 3
    assert killer.killed.total() >= count / PAUSE / 2


def test_a_thousand_submissions(rig: Rig) -> None:
    submit_all(rig, "thousand", 1000)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_submissions(rig: Rig) -> None:
    submit_all(rig, "myriad", 10_000)
