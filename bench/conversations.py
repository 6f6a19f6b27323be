"""What clients say: each conversation is a sequence of units, and each unit asks and checks until it is done.

A unit is mostly one request; a whole cycle of a job is four.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlencode

from bench import shapes
from pandaserver.taskbuffer.WrappedPickle import dump_for_clients
from pandaserver.testing.development_issuer import VO

Unit = Generator[bytes, bytes, None]
Conversation = Iterator[Unit]
#: Makes the conversation of one connection: arguments of the task, its number, the number of all of them.
Maker = Callable[[Mapping[str, Any], int, int], Conversation]

_GIVEN: Final = re.compile(rb"(?:^|&)(PandaID|attemptNr|outFiles)=([^&]*)")
_STORED: Final = b"(lp0\n("  # how the pickle of a list begins that has something in it
_LEVEL: Final = 1  # of compression: quick, because it is the client's time


class Refused(Exception):
    """A reply that is not the expected one."""


def expect(reply: bytes, beginning: bytes) -> None:
    """Raise Refused unless the reply begins so."""
    if not reply.startswith(beginning):
        raise Refused(reply[:100].decode(errors="replace"))


# ---- requests as bytes


def get(path: str) -> bytes:
    """Return a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n".encode()


def pilot_post(method: str, parameters: Mapping[str, Any], token: str) -> bytes:
    """Return a request as the stock pilot makes it: gzipped JSON, which no header admits."""
    body = gzip.compress(json.dumps(parameters).encode(), _LEVEL)
    head = (
        f"POST /server/panda/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "User-Agent: pilot/3.11.5.1 (Python 3.11.2; Linux x86_64)\r\nAccept-Encoding: identity\r\n"
        f"Authorization: Bearer {token}\r\nOrigin: {VO}.pilot\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def submission(queue: str, jobs: int, token: str) -> bytes:
    """Return a submission as historical clients make it: a form with a pickle of protocol 0."""
    specs = [shapes.client_job(queue, number) for number in range(jobs)]
    body = urlencode({"jobs": dump_for_clients(specs).decode("latin-1")}).encode()
    head = (
        "POST /server/panda/submitJobs HTTP/1.1\r\nHost: localhost\r\nUser-Agent: panda-client/1.5.80\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nAuthorization: Bearer {token}\r\nOrigin: {VO}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _ask(request: bytes, beginning: bytes) -> Unit:
    expect((yield request), beginning)


def turn(values: list[Any], number: int, count: int) -> list[Any]:
    """Return the values as the connection of that number uses them: all in turn, each beginning somewhere else."""
    start = len(values) * number // count
    return values[start:] + values[:start]


def mine(values: list[Any], number: int, count: int) -> list[Any]:
    """Return the values that only the connection of that number uses."""
    return values[number::count]


# ---- conversations


def pages(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Read a page again and again."""
    del number, count
    request, beginning = get(arguments["path"]), arguments["beginning"].encode()
    return (_ask(request, beginning) for _ in itertools.count())


def acquiring(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Ask for jobs, at one queue after the other."""
    queues = turn(arguments["queues"], number, count)
    requests = [pilot_post("getJob", shapes.wanted(queue), arguments["token"]) for queue in queues]
    return (_ask(request, b"StatusCode=0&") for request in itertools.cycle(requests))


def heartbeats(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Report for running jobs in turn."""
    queue, attempt = arguments["queue"], arguments["attempt"]
    reports = (shapes.heartbeat(panda_id, queue, attempt) for panda_id in mine(arguments["ids"], number, count))
    requests = [pilot_post("updateJob", report, arguments["token"]) for report in reports]
    return (_ask(request, b"StatusCode=0&command=NULL") for request in itertools.cycle(requests))


def endings(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Report the end of each running job, once."""
    queue, attempt, lfns = arguments["queue"], arguments["attempt"], arguments["lfns"]
    requests = []
    for panda_id in mine(arguments["ids"], number, count):
        report = report_of([f"{lfn}.{panda_id}" for lfn in lfns])
        requests.append(pilot_post("updateJob", shapes.final(panda_id, queue, attempt, report), arguments["token"]))
    return (_ask(request, b"StatusCode=0&command=NULL") for request in requests)


def submissions(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Submit the same jobs again and again, on each connection as another user."""
    del count
    tokens = arguments["tokens"]
    request = submission(arguments["queue"], arguments["jobs"], tokens[number % len(tokens)])
    return (_submit(request) for _ in itertools.count())


def cycles(arguments: Mapping[str, Any], number: int, count: int) -> Conversation:
    """Carry jobs from submission to their last report."""
    del count
    queue, tokens = arguments["queue"], arguments["tokens"]
    request = submission(queue, 1, tokens[number % len(tokens)])
    wanted = pilot_post("getJob", shapes.wanted(queue), arguments["token"])
    return (_cycle(request, wanted, queue, arguments["token"]) for _ in itertools.count())


def _submit(request: bytes) -> Unit:
    expect((yield request), _STORED)


def _cycle(submit: bytes, wanted: bytes, queue: str, token: str) -> Unit:
    expect((yield submit), _STORED)
    reply = yield wanted
    expect(reply, b"StatusCode=0&")
    given = {key.decode(): unquote(value.decode()) for key, value in _GIVEN.findall(reply)}
    panda_id, attempt = int(given["PandaID"]), int(given["attemptNr"])
    expect((yield pilot_post("updateJob", shapes.heartbeat(panda_id, queue, attempt), token)), b"StatusCode=0&")
    ending = shapes.final(panda_id, queue, attempt, report_of(given["outFiles"].split(",")))
    expect((yield pilot_post("updateJob", ending, token)), b"StatusCode=0&command=NULL")


def report_of(lfns: list[str]) -> str:
    """Return an output report as text."""
    return json.dumps({lfn: shapes.entry(lfn) for lfn in lfns})


CONVERSATIONS: Final[Mapping[str, Maker]] = {
    "pages": pages,
    "acquiring": acquiring,
    "heartbeats": heartbeats,
    "endings": endings,
    "submissions": submissions,
    "cycles": cycles,
}
