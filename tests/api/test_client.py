"""Our own client against a server on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from werkzeug.serving import make_server

from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.userinterface.Client import Client
from tests.api.callers import USER
from tests.api.conftest import MakeClient
from tests.factories import make_job

NOBODY = 987654321

Wsgi = Callable[[Mapping[str, Any], Any], Iterable[bytes]]


@pytest.fixture
def panda(make_client: MakeClient, tbuf: TaskBuffer) -> Iterator[Client]:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    application: Wsgi = make_client(tbuf=tbuf).application

    def signed_in(environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        return application({**environ, **USER}, start_response)

    server = make_server("127.0.0.1", 0, signed_in)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Client(f"http://127.0.0.1:{server.port}/")
    server.shutdown()
    thread.join()
    server.server_close()


def test_jobs_are_submitted_described_and_killed(panda: Client) -> None:
    ((job_id, _, _),) = panda.submitJobs([make_job()], idempotency_key="k")
    assert panda.submitJobs([make_job()], idempotency_key="k")[0][0] == job_id
    known, unknown = panda.getJobStatus([job_id, NOBODY])
    assert known is not None
    assert (known["PandaID"], unknown) == (job_id, None)
    assert panda.killJobs([job_id, NOBODY], code=9) == [True, False]


def test_a_refusal_is_an_error_with_the_reason(panda: Client) -> None:
    with pytest.raises(ExternalError, match="job/submit: job 0: jobName is 300 characters, at most 256"):
        panda.submitJobs([make_job(jobName="x" * 300)])


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ExternalError, match="job/kill: "):
        Client("http://127.0.0.1:1").killJobs([1])
