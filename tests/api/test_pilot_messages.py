"""Heartbeats of many pilots that arrive shuffled, twice or never, alone or in bulk, against a model of what they do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import stack_a, with_json
from tests.db.completion import history, job_of, reports, tables_of
from tests.db.crowd import put_jobs

MANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

KILL = "kill"


class Message(NamedTuple):
    """What one pilot says; ``attempt`` 1 is right."""

    pilot: int
    state: str
    attempt: int = 1


@dataclass
class Job:
    """What the model knows of a job: the rules of heartbeats in a few lines."""

    status: str = "sent"
    lived: list[str] = field(default_factory=list)
    report: str = ""
    killed: bool = False

    def hear(self, message: Message) -> str:
        """Return the command that the pilot must be told."""
        is_final = message.state in ("finished", "failed")
        if message.attempt != 1 or self.status == "cancelled":
            return "tobekilled"
        if self.report and is_final:
            return "alreadydone"
        if not self.report:
            if is_final:
                self.report = message.state
                self.become("holding")
            elif message.state == "running" or self.status == "sent":
                self.become(message.state)
        return "tobekilled" if self.killed else "NULL"

    def kill(self) -> None:
        """Only a running job waits for its pilot, and is told once."""
        if self.status != "running" and not self.killed:
            self.become("cancelled")
        self.killed = True

    def become(self, status: str) -> None:
        if self.status != status:
            self.status = status
            self.lived.append(status)


@st.composite
def lives(draw: st.DrawFn) -> list[list[Message]]:
    """Draw what arrives of the messages of a few pilots, in pieces of one request each."""
    sent: list[Message] = []
    for pilot in range(draw(st.integers(1, 4))):
        honest = ["starting", "running", "running", draw(st.sampled_from(["finished", "failed"]))]
        words = honest + draw(st.lists(st.sampled_from([*honest, "finished", "failed", KILL]), max_size=3))
        for word in words:
            copies = draw(st.sampled_from([0, 1, 1, 1, 2]))
            attempt = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
            sent += [Message(pilot, word, attempt)] * copies
    arrived = draw(st.permutations(sent)) if draw(st.booleans()) else sent
    pieces: list[list[Message]] = []
    while arrived:
        size = 1 if arrived[0].state == KILL else draw(st.integers(1, 5))
        piece = [message for message in arrived[:size] if size == 1 or message.state != KILL]
        pieces.append(piece)
        arrived = [*(message for message in arrived[:size] if message not in piece), *arrived[size:]]
    return [piece for piece in pieces if piece]


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


@MANY
@given(pieces=lives())
def test_every_pilot_is_told_what_the_model_says(
    server: Client, tbuf: TaskBuffer, pieces: Sequence[Sequence[Message]]
) -> None:
    ids = put_jobs(tbuf, 4, "sent", attemptNr=1)
    jobs = [Job() for _ in ids]
    for piece in pieces:
        if piece[0].state == KILL:
            tbuf.killJobs(KillRequest((ids[piece[0].pilot],), Killer(is_system=True)))
            jobs[piece[0].pilot].kill()
            continue
        expected = [{"StatusCode": 0, "command": jobs[message.pilot].hear(message)} for message in piece]
        assert told(server, ids, piece) == expected
    known = {row[0]: row[1:] for row in reports(tbuf)}
    for pid, job in zip(ids, jobs, strict=True):
        assert len(tables_of(tbuf, pid)) == 1
        assert (job_of(tbuf, pid).jobStatus, history(tbuf, pid)) == (job.status, job.lived)
        assert known.get(pid) == ((1, job.report) if job.report else None)


def told(server: Client, ids: Sequence[int], piece: Sequence[Message]) -> list[dict[str, Any]]:
    """Send a piece as its pilots do, or as the harvester that speaks for them; return what each is told."""
    bodies: list[dict[str, Any]] = [
        {"jobId": ids[m.pilot], "state": m.state, "attemptNr": m.attempt, "xml": "{}"} for m in piece
    ]
    if len(bodies) == 1:
        return [with_json(server, "updateJob", **bodies[0])]
    worked, answers = with_json(server, "updateJobsInBulk", jobList=json.dumps(bodies), harvester_id="hv1")
    assert worked
    return [json.loads(answer["content"]) for answer in answers]


#: What a pilot copies from elsewhere, whatever that is.
COPIED = ["attemptNr", "pilotErrorDiag", "exeErrorDiag", "stdout", "pilotLog", "jobMetrics"]


@MANY
@given(body=st.dictionaries(st.sampled_from(COPIED), st.text()))
def test_no_text_in_a_heartbeat_makes_it_fail(server: Client, tbuf: TaskBuffer, body: dict[str, str]) -> None:
    (pid,) = put_jobs(tbuf, 1, "sent", attemptNr=1)
    reply = stack_a(server, "updateJob", {"state": "running", **body, "jobId": str(pid)})
    assert (reply.status_code, reply.text[:12]) == (200, "StatusCode=0")
