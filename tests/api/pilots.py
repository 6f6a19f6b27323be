"""A queue, a job and the way a stock pilot sends its requests."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.test import Client, TestResponse

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.SiteSpec import RelationRow, SiteRows
from tests.api.callers import PILOT

GOLDEN = Path(__file__).parents[1] / "golden" / "pilot"

LEGACY, V1 = "/server/panda/", "/api/v1/"


def golden(name: str) -> str:
    return (GOLDEN / name).read_text()


def sites(**queue: Any) -> SiteRows:
    """One queue with one storage."""
    relation = RelationRow(
        "TEST_PQ", "TEST_DISK", "default", "read_lan,write_lan", None, 1, 1, True, True, False, False, False
    )
    data = {"panda_resource": "TEST_PQ", "nickname": "TEST_PQ", "status": "online", "type": "unified", **queue}
    return SiteRows(queues=(("TEST_PQ", json.dumps(data)),), relations=(relation,))


def stack_a(client: Client, method: str, body: Any, caller: dict[str, str] | None = None) -> TestResponse:
    """Send a request as the pilot's own stack does: gzipped JSON without saying so, and no Accept header."""
    text = body if isinstance(body, str) else json.dumps(body)
    return client.post(
        LEGACY + method,
        data=gzip.compress(text.encode()),
        content_type="application/json",
        environ_overrides=PILOT if caller is None else caller,
    )


def with_json(client: Client, method: str, caller: dict[str, str] | None = None, **fields: Any) -> Any:
    """Send a form and ask for JSON, as the pilot's second stack and harvesters do."""
    reply = client.post(
        LEGACY + method,
        data=fields,
        headers={"Accept": "application/json"},
        environ_overrides=PILOT if caller is None else caller,
    )
    return reply.json


def form_of(reply: TestResponse) -> dict[str, str]:
    return dict(parse_qsl(reply.text, keep_blank_values=True, strict_parsing=True))


def v1(client: Client, path: str, caller: dict[str, str] | None = None, **fields: Any) -> Any:
    return client.post(V1 + path, json=fields, environ_overrides=PILOT if caller is None else caller).json


def joes_job() -> JobSpec:
    """The job of the golden reply."""
    job = JobSpec(
        PandaID=9000001,
        prodSourceLabel="user",
        transformation="http://localhost:25080/trf/run.sh",
        jobName="myjob.0001",
        jobDefinitionID=5,
        cloud="TEST",
        computingSite="TEST_PQ",
        jobParameters="--in data.0001.root,data.0002.root",
        attemptNr=1,
        prodUserID="Joe Doe",
        prodUserName="Joe Doe",
        minRamCount=2000,
        maxDiskCount=1000,
        processingType="panda-client",
        currentPriority=1000,
        taskID=77,
        jobsetID=88,
        reqID=88,
        maxWalltime=86400,
        resource_type="SCORE",
    )
    guid = "5f0c1b1e-0d4e-4b5c-9d58-0f6a4a1f000"
    for n, checksum in ((1, "ad:0a1b2c3d"), (2, "ad:1a2b3c4d")):
        job.add_file(
            FileSpec(
                lfn=f"data.000{n}.root",
                type="input",
                dataset="mc.in",
                prodDBlock="mc.in",
                scope="mc",
                GUID=f"{guid}{n + 1}",
                checksum=checksum,
                fsize=n * 2**20,
            )
        )
    for kind, lfn, dataset in (("output", "out.0001.root", "ds"), ("log", "log.0001.tgz", "log")):
        job.add_file(
            FileSpec(
                lfn=f"user.joe.{lfn}",
                type=kind,
                dataset=f"user.joe.{dataset}/",
                destinationDBlock=f"user.joe.{dataset}_sub1",
                destinationSE="TEST_PQ",
                scope="user.joe",
                GUID=f"{guid}1" if kind == "log" else None,
            )
        )
    return job
