"""What callers could read or change: jobs, secrets, credentials, files and instances of several people.

The whole is remembered once. After each request ``World.changes`` tells what is different, and puts it back.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pandaserver.srvcore.credential_files import proxy_name
from pandaserver.taskbuffer.db_proxy_mods.proxy_key import ProxyKey
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.crowd import insert
from tests.factories import make_job

JANE, OTTO, BERND, PETRA = "Jane Doe", "Otto Other", "Bernd Banned", "Petra Permitted"
JANES_DN: Final = "/DC=org/DC=test/CN=jdoe/CN=Jane Doe"
OWNER_OF_PILOTS: Final = "/DC=org/DC=test/CN=pfactory/CN=Paul Pilotowner"

QUEUE, OTHER_QUEUE = "TEST_PQ", "OTHER_PQ"
TASK, TASK_OF_PRODUCTION = 77, 78

#: PandaIDs. All are Jane's, but the one of a working group and the one of production.
WAITING, RUNNING, ELSEWHERE, OF_GROUP, MANAGED, FINISHED, NEXT = 101, 102, 103, 104, 105, 106, 107

HARVESTER: Final = "janes-harvester"
COMMAND: Final = 5
WORKER, FOREIGN_WORKER = 11, 12

CHECKPOINT: Final = "hpo_cp_77_3"

#: What Petra asked the machines.
ASKED: Final = "0123456789abcdef0123456789abcdef"

#: What nobody may see who is not told so by ``access_rows``: name -> text.
MARKS: Final[Mapping[str, str]] = {
    "secret": "janes-secret-value",
    "pilot secret": "secret-value-of-pilots",
    "parameters": "--parameters-of-janes-job",
    "metadata": "metadata-of-janes-job",
    "key": "text-of-the-private-key",
    "proxy": "text-of-janes-proxy",
    "access token": "text-of-an-access-token",
    "token key": "tokenKey",  # the name in the reply; the key is another one each day
    "credential name": "janes-credential",
    "sandbox": "sources.jane.tar.gz",
    "command": "command-to-janes-harvester",
    "log": "line-of-a-log",
    "banned": "Zoe Excluded",
    "permitted": "Quinn Granted",
    "search": "what-petra-found-in-the-logs",
}

#: Parts of tables that a test looks at by themselves.
PROBES: Final[Mapping[str, str]] = {
    "janes secrets": f"SELECT data FROM Secrets WHERE owner = '{JANE}'",
    "owner of instance": f"SELECT owner FROM Harvester_Instances WHERE harvester_ID = '{HARVESTER}'",
    "janes key": f"SELECT * FROM ProxyKey WHERE DN = '{JANES_DN}'",
    "managed jobs": "SELECT COUNT(*) FROM jobsActive4 WHERE prodSourceLabel = 'managed'",
    "jobs in janes name": f"SELECT COUNT(*) FROM jobsActive4 WHERE prodUserName = '{JANE}'",
    "worker": f"SELECT pilotStatus FROM Harvester_Workers WHERE workerID = {WORKER}",
    "foreign worker": f"SELECT pilotStatus FROM Harvester_Workers WHERE workerID = {FOREIGN_WORKER}",
    **{
        f"job {pid}": " UNION ALL ".join(
            f"SELECT jobStatus, commandToPilot, specialHandling, taskBufferErrorCode, supErrorCode FROM {table} "
            f"WHERE PandaID = {pid}"
            for table in ("jobsDefined4", "jobsActive4", "jobsArchived4")
        )
        for pid in (WAITING, RUNNING, ELSEWHERE, OF_GROUP, MANAGED, FINISHED, NEXT)
    },
}

AUDIT: Final = "panda_audit"


@operation(timeout=60)
def put_job_for_access_test(tx: Transaction, panda_id: int, status: str, attributes: Mapping[str, Any]) -> None:
    """Store one job with a number of our choice, its files, parameters and metadata."""
    job = make_job(**{"prodUserID": JANES_DN, "prodUserName": JANE, "jediTaskID": TASK, **attributes})
    job.jobStatus = status
    job.creationTime = job.modificationTime = job.stateChangeTime = job.prodDBUpdateTime = tx.now()
    columns = {name: getattr(job, name) for name in JOB_COLUMNS if getattr(job, name) is not None}
    tx.insert(f"ATLAS_PANDA.{HOME[JobStatus(status)]}", [{**columns, "PandaID": panda_id}])
    tx.insert("ATLAS_PANDA.jobParamsTable", [{"PandaID": panda_id, "jobParameters": MARKS["parameters"]}])
    tx.insert(
        "ATLAS_PANDA.metaTable", [{"PandaID": panda_id, "metadata": MARKS["metadata"], "modificationTime": tx.now()}]
    )
    files = [{name: getattr(file, name) for name in FILE_ATTRIBUTES} for file in job.Files]
    given = {"PandaID": panda_id, "fsize": 0, "status": "ready"}
    tx.insert("ATLAS_PANDA.filesTable4", [{**f, **given, "row_ID": panda_id * 10 + n} for n, f in enumerate(files)])


def fill(tbuf: TaskBuffer) -> None:
    """Store everything that the rows of ``access_rows`` speak of."""
    queue = {"status": "online", "type": "unified"}
    tbuf.storeQueues({QUEUE: {**queue, "dn": OWNER_OF_PILOTS, "harvester": HARVESTER}, OTHER_QUEUE: queue})
    managed: dict[str, Any] = {"prodSourceLabel": "managed", "prodUserID": "/CN=prod", "prodUserName": "prod"}
    managed["jediTaskID"] = TASK_OF_PRODUCTION
    jobs: dict[int, tuple[str, dict[str, Any]]] = {
        WAITING: ("activated", {"specialHandling": "us"}),
        RUNNING: ("running", {}),
        ELSEWHERE: ("running", {"computingSite": OTHER_QUEUE}),
        OF_GROUP: ("running", {**managed, "workingGroup": "AP_higgs"}),
        MANAGED: ("running", managed),
        FINISHED: ("finished", {}),
        NEXT: ("activated", {**managed, "jediTaskID": None}),
    }
    for panda_id, (status, attributes) in jobs.items():
        tbuf.caller.call(put_job_for_access_test, (panda_id, status, attributes), {})
    tbuf.changeUserSecret(JANE, "mine", MARKS["secret"])
    tbuf.changeUserSecret("pilot secrets", "ours", MARKS["pilot secret"])
    users = [
        {"id": 9001, "name": BERND, "status": "disabled"},
        {"id": 9004, "name": MARKS["banned"], "status": "disabled"},
        {"id": 9002, "name": PETRA, "gridPref": "pktl"},
        {"id": 9003, "name": JANE},
        {"id": 9005, "name": MARKS["permitted"], "gridPref": "k"},
    ]
    for user in users:
        insert(tbuf, "PANDAMETA.users", user)
    insert(tbuf, "PANDA.Harvester_Instances", {"harvester_ID": HARVESTER, "owner": JANE})
    command = {"command": MARKS["command"], "params": "{}", "ack_requested": 1, "status": "new"}
    instance = {"harvester_ID": HARVESTER, "creation_date": "now", "status_date": "now"}
    insert(tbuf, "PANDA.Harvester_Commands", {"command_id": COMMAND, **command, **instance})
    for number, site in ((WORKER, QUEUE), (FOREIGN_WORKER, OTHER_QUEUE)):
        worker = {"harvesterID": HARVESTER, "workerID": number, "status": "running", "computingSite": site}
        insert(tbuf, "PANDA.Harvester_Workers", {**worker, "lastUpdate": "now"})
    tbuf.registerProxyKey(JANES_DN, ProxyKey(MARKS["credential name"], dt.datetime(2099, 1, 1), "here", "myproxy"))
    about = {"request_id": ASKED, "request_type": "grep", "created_at": "now"}
    told = {"parameters": json.dumps({"requester": PETRA}), "expected_machines": '["node1"]'}
    insert(tbuf, "PANDA.Async_Requests", about | told)
    answer = {"request_id": ASKED, "machine_name": "node1", "status": "done", "result": MARKS["search"]}
    insert(tbuf, "PANDA.Async_Results", answer)
    insert(tbuf, "PANDA.Machine_Heartbeat", {"machine_name": "node1", "service_name": "web", "last_seen": "now"})
    row = {"userName": JANE, "hostName": "cache.test", "fileName": MARKS["sandbox"], "fileSize": 100, "checkSum": "7"}
    insert(tbuf, "PANDAMETA.userCacheUsage", {**row, "creationTime": "now", "modificationTime": "now"})


def lay_files(cache: Path, keys: Path, proxies: Path, tokens: Path) -> None:
    """Write the files that requests hand out."""
    (cache / MARKS["sandbox"]).write_bytes(b"a sandbox that jobs need")
    (cache / CHECKPOINT).write_text("a checkpoint of janes jobs")
    (cache / "a.log").write_text(MARKS["log"])
    (cache / "a.log").chmod(0o664)
    (keys / "public").write_text("public")
    (keys / "private").write_text(MARKS["key"])
    (proxies / proxy_name(JANES_DN, "")).write_text(MARKS["proxy"])
    (proxies / proxy_name(PETRA, "")).write_text("a proxy of the caller's own")
    client = {"client_id": "c", "secret": "s", "endpoint": "https://issuer.example.org/token", "use_token_key": False}
    tokens.write_text(json.dumps({"pilots": client}))


class World:
    """A SQLite database and a directory of files, whose changes are told and taken back."""

    def __init__(self, database: Path, cache: Path) -> None:
        self._line = sqlite3.connect(database, isolation_level=None, timeout=30)
        self._copy = sqlite3.connect(":memory:")
        self._cache = cache
        self._line.backup(self._copy)
        self._kept = {path: (path.read_bytes(), path.stat()) for path in self._paths()}
        self._version = self._data_version()
        self._state = dict(self._digests())
        self._files = self._listing()

    def changes(self) -> frozenset[str]:
        """Return which tables, probes and files differ from the beginning, and put them back."""
        version, found = self._data_version(), set[str]()
        if version != self._version:
            now = dict(self._digests())
            found = {name for name in now if now[name] != self._state[name]}
            self._copy.backup(self._line)
            self._version = self._data_version()
        listing = self._listing()
        if listing != self._files:
            found |= {f"file {path.name}" for path in listing.keys() ^ self._files.keys()}
            same = listing.keys() & self._files.keys()
            found |= {f"file {path.name}" for path in same if listing[path] != self._files[path]}
            found |= {f"content of {path.name}" for path in self._kept if not self._is_kept(path)}
            self._put_files_back()
        return frozenset(found)

    def close(self) -> None:
        """Close what was opened."""
        self._line.close()
        self._copy.close()

    def _data_version(self) -> int:
        """Return a number that changes when somebody else commits."""
        version: int = self._line.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _digests(self) -> Iterator[tuple[str, str]]:
        tables = [row[0] for row in self._line.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name, sql in ({table: f'SELECT * FROM "{table}"' for table in tables} | dict(PROBES)).items():
            rows = sorted(map(repr, self._line.execute(sql)))
            yield name, hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def _paths(self) -> list[Path]:
        return [path for path in self._cache.rglob("*") if path.is_file()]

    def _listing(self) -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in self._paths()}

    def _is_kept(self, path: Path) -> bool:
        return path.exists() and path.read_bytes() == self._kept[path][0]

    def _put_files_back(self) -> None:
        for entry in self._cache.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for path, (content, status) in self._kept.items():
            path.write_bytes(content)
            path.chmod(status.st_mode & 0o777)
            os.chown(path, status.st_uid, status.st_gid)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._files = self._listing()
