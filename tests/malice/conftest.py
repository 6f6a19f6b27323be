"""The application on a database of each kind, with somebody's job in it, and a watch on what is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from pandaserver.api.registry import REGISTRY
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import default_site
from pandaserver.config.settings import ServerSettings
from pandaserver.server.application import Application
from pandaserver.server.callers import Callers
from pandaserver.taskbuffer import OraDBProxy as proxy_module
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods import idempotency
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.api.callers import FakeServices
from tests.db.conftest import database, databases
from tests.factories import make_job

__all__ = ["database", "databases"]

QUEUE = "TEST_PQ"


@dataclass
class Target:
    """A server to be attacked."""

    client: Client
    tbuf: TaskBuffer
    settings: ServerSettings
    victim: int  # PandaID of a job of somebody who takes no part
    is_sqlite: bool
    writes: list[int] = field(default_factory=list)  # rows changed by each transaction that was kept
    bugs: list[str] = field(default_factory=list)  # lines of the log about what nobody foresaw

    def files(self) -> set[str]:
        """Return what lies in the directory of uploads."""
        return {str(path) for path in self.settings.cache_dir.rglob("*")}


class _Watched(Transaction):
    current: _Watched | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.undone = 0
        _Watched.current = self

    def change(self, sql: str, /, **binds: Any) -> int:
        count = super().change(sql, **binds)
        if sql is idempotency.FORGET:  # the row that this transaction had reserved for a key
            self.undone += 2 * count
        return count


class _Bugs(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@pytest.fixture
def target(database: ConnectionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.taskbuffer.Utils
    import pandaserver.userinterface.UserIF  # noqa: F401

    cache = tmp_path / "cache"
    cache.mkdir()
    settings = ServerSettings(
        cache_dir=cache, logdir=tmp_path, pserverhost="panda.example", max_user_rate=0, max_address_rate=0
    )
    bridge = LocalBridge(database, OperationSettings(hostname="testhost"))
    tbuf = TaskBuffer(bridge)
    tbuf.storeQueues({QUEUE: {"status": "online", "type": "unified"}})
    victim = Submitter(dn="/DC=org/CN=Vicky Victim", name="Vicky Victim")
    job = tbuf.storeJobs(Submission([make_job(jobName="victim")], victim, nothing_to_prepare={"any": True})).jobs[0]
    logger = logging.getLogger("tests.malice")
    application = Application(
        REGISTRY,
        settings,
        tbuf,
        SiteMapper(tbuf.loadSites, default_site(settings)),
        FakeServices(),
        Callers((), None, tbuf.getBannedUsers, logger),
        logger=logger,
        pilot_logger=logging.getLogger("tests.pilots"),
    )
    made = Target(Client(application, TestResponse), tbuf, settings, job.PandaID, database.backend == "sqlite")
    handler = _Bugs(made.bugs)
    logger.addHandler(handler)
    monkeypatch.setattr(proxy_module, "Transaction", _Watched)
    monkeypatch.setattr(proxy_module.OraDBProxy, "_commit", _watched_commit(made.writes))
    yield made
    logger.removeHandler(handler)
    bridge.close()


def _watched_commit(writes: list[int]) -> Callable[..., None]:
    commit = proxy_module.OraDBProxy._commit

    def watched(self: Any, session: Any, operation: Any) -> None:
        commit(self, session, operation)
        if _Watched.current is not None and (left := _Watched.current.changes - _Watched.current.undone):
            writes.append(left)

    return watched
