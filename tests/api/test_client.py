"""Our own client against a server on a real socket: both interfaces, credentials, and lost answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from pandaserver.api.registry import REGISTRY, Door
from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.userinterface import Client as client_module
from pandaserver.userinterface.Client import Client, Connection, Credentials, Refused
from pandaserver.userinterface.client_historical import Historical
from pandaserver.userinterface.client_v1 import METHODS, QUESTIONS, TEXTS
from pandaserver.userinterface.obsolete_requests import OBSOLETE
from tests.api.callers import USER
from tests.api.conftest import MakeClient
from tests.api.test_page_of_methods import HISTORICAL, V1
from tests.factories import make_job

NOBODY = 987654321

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class Served:
    """A server on a socket, what it was sent, and what it shall answer instead of what it would."""

    url: str = ""
    seen: list[Mapping[str, Any]] = field(default_factory=list)
    instead: list[tuple[str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    after: bool = False  # whether the request is served, and only its answer replaced

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)

    def keys(self) -> list[str | None]:
        return [environ.get("HTTP_IDEMPOTENCY_KEY") for environ in self.seen]


@pytest.fixture
def served(make_client: MakeClient, tbuf: TaskBuffer) -> Iterator[Served]:
    import pandaserver.taskbuffer.Utils
    import pandaserver.userinterface.UserIF  # noqa: F401  declare their requests

    state = Served()
    application: Wsgi = make_client(tbuf=tbuf).application

    def signed_in(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        state.seen.append(environ)
        if not state.instead:
            return application({**environ, **USER}, start_response)
        if state.after:
            list(application({**environ, **USER}, lambda *_: None))
        status, headers, body = state.instead.pop(0)
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    server = make_server("127.0.0.1", 0, signed_in)
    state.url = f"http://127.0.0.1:{server.port}/server/panda"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


# ---- what is offered -------------------------------------------------------------------------------------------------


def test_there_is_a_function_for_every_historical_method_that_is_supported() -> None:
    wanted = {row[0] for row in HISTORICAL} - OBSOLETE.keys() - {"reportWorkerStats"}
    assert [name for name in sorted(wanted) if not hasattr(Client, name)] == []
    own = {name for name in vars(Historical)} | {"v1", "of_environment"}
    offered = {name for name in dir(Client) if not name.startswith("_")} - own
    assert [name for name in sorted(offered) if REGISTRY.find(Door.LEGACY, name) is None] == []


def test_every_method_of_v1_is_offered_with_its_verb() -> None:
    offered = {
        f"{module}/{name}": verb
        for module, verbs in METHODS.items()
        for verb, names in verbs.items()
        for name in names.split()
    }
    wanted = {name: "POST" if verb == "ANY" else verb for name, verb, *_ in V1}
    assert {name: offered.get(name) for name in wanted} == wanted
    assert (QUESTIONS | TEXTS) - offered.keys() == set()


def test_the_module_has_the_functions_for_the_server_of_the_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANDA_URL_SSL", served.url)
    client_module._default.cache_clear()
    assert client_module.isAlive() == (0, "alive=yes")
    assert client_module.v1.system.is_alive() is None
    client_module._default.cache_clear()
    with pytest.raises(AttributeError, match="has no function killEverything"):
        _ = client_module.killEverything


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_jobs_are_submitted_described_and_killed(served: Served) -> None:
    panda = served.client()
    status, ((job_id, _, rest),) = panda.submitJobs([make_job()])
    assert (status, rest) == (0, {"jobsetID": None})
    status, (known, unknown) = panda.getJobStatus([job_id, NOBODY])
    assert (status, known.PandaID, known.jobName, len(known.Files), unknown) == (0, job_id, "test.job", 3, None)
    assert isinstance(known, JobSpec)
    assert panda.getFullJobStatus([job_id])[1][0].jobParameters == "-i x"
    assert panda.killJobs([job_id, NOBODY], code=9) == (0, [True, False])


def test_the_same_at_v1(served: Served) -> None:
    jobs = served.client().v1.job
    from pandaserver.taskbuffer.client_jobs import job_as_state

    ((job_id, _, _),) = jobs.submit(jobs=json.dumps([job_as_state(make_job())]))
    assert jobs.get_description(job_ids=[job_id])[0]["PandaID"] == job_id
    assert jobs.get_status(job_ids=[job_id, NOBODY])[1] == {"status": "unknown", "command": "tobekilled"}
    assert jobs.generate_offline_execution_script(job_id=job_id).startswith("#!/bin/sh")
    assert jobs.kill(job_ids=[job_id]) == [True]


def test_a_refusal_is_told_in_either_way(served: Served) -> None:
    panda, long = served.client(), make_job(jobName="x" * 300)
    assert panda.submitJobs([long]) == (255, "ERROR: job 0: jobName is 300 characters, at most 256")
    status, (code, message) = panda.killTask(1)
    assert (status, code, "the task layer is not installed" in message) == (0, False, True)
    with pytest.raises(Refused, match="task/kill: the task layer is not installed") as refused:
        panda.v1.task.kill(task_id=1)
    assert refused.value.data == 1
    with pytest.raises(AttributeError, match="module job has no method kil; it has"):
        panda.v1.job.kil()
    with pytest.raises(AttributeError, match="there is no module jobs"):
        _ = panda.v1.jobs


def test_a_file_is_uploaded_whole(served: Served, tmp_path: Path) -> None:
    (tmp_path / "sources.1.tar.gz").write_bytes(bytes(range(256)) * 10)
    assert served.client().putFile(tmp_path / "sources.1.tar.gz") == (0, "True")
    assert (tmp_path / "cache" / "sources.1.tar.gz").read_bytes() == bytes(range(256)) * 10
    assert served.client().putFile(tmp_path / "none")[0] == 255


# ---- answers that are lost, and credentials --------------------------------------------------------------------------


def test_a_change_whose_answer_was_lost_is_made_once(served: Served) -> None:
    panda = served.client()
    panda.connection._wait = 0.0
    served.instead, served.after = [("502 Bad Gateway", [], b"")], True
    status, ((job_id, *_),) = panda.submitJobs([make_job()])
    first, second = served.keys()
    assert (status, first is not None, first == second) == (0, True, True)
    assert panda.getJobStatus([job_id + 1]) == (0, [None])
    panda.submitJobs([make_job()])
    assert served.keys()[-1] not in (first, None)


def test_a_question_is_asked_twice_without_a_key(served: Served) -> None:
    panda = served.client()
    served.instead = [("503 Service Unavailable", [("Retry-After", "0")], b"busy")]
    assert panda.getJobStatus([NOBODY]) == (0, [None])
    assert served.keys() == [None, None]


def test_a_server_that_stays_away_is_asked_no_third_time(served: Served) -> None:
    panda = served.client()
    served.instead = [("503 Service Unavailable", [("Retry-After", "0")], b"busy")] * 3
    assert panda.getJobStatus([NOBODY]) == (255, "busy")
    assert len(served.seen) == 2


def test_nobody_waits_longer_than_the_time_limit(served: Served) -> None:
    panda = served.client(timeout=20)
    served.instead = [("503 Service Unavailable", [("Retry-After", "600")], b"busy")]
    assert panda.getJobStatus([NOBODY]) == (255, "busy")
    assert len(served.seen) == 1


def test_a_redirection_is_not_followed(served: Served) -> None:
    panda = served.client(token="secret", vo="testvo")
    served.instead = [("302 Found", [("Location", "http://127.0.0.1:1/")], b"elsewhere")]
    assert panda.getSiteSpecs() == (255, "elsewhere")
    assert served.seen[0]["HTTP_AUTHORIZATION"] == "Bearer secret"
    assert served.seen[0]["HTTP_ORIGIN"] == "testvo"


def test_a_server_that_is_not_there_is_an_error() -> None:
    panda = Client("http://127.0.0.1:1")
    panda.connection._wait = 0.0
    assert panda.killJobs([1])[0] == 255
    with pytest.raises(ExternalError, match="/api/v1/job/kill"):
        panda.v1.job.kill(job_ids=[1])
    with pytest.raises(ExternalError, match="must be http"):
        Client("panda.example.org")


def test_an_answer_of_another_form_runs_nothing(served: Served, tmp_path: Path) -> None:
    evil = f"cos\nsystem\n(S'touch {tmp_path}/hit'\ntR.".encode()
    served.instead = [("200 OK", [], evil)]
    assert served.client().getJobStatus([1]) == (255, evil.decode())
    assert not (tmp_path / "hit").exists()


def test_credentials_are_those_that_the_stock_client_would_take() -> None:
    token = {"PANDA_AUTH": "oidc", "PANDA_AUTH_ID_TOKEN": "t", "PANDA_AUTH_VO": "vo:role"}
    assert Credentials.of_environment(token) == Credentials(token="t", vo="vo:role")
    assert Credentials.of_environment({**token, "PANDA_AUTH": "x509", "X509_USER_PROXY": "/p"}).certificate == Path(
        "/p"
    )
    pair = {"X509_USER_CERT": "/c", "X509_USER_KEY": "/k"}
    assert Credentials.of_environment(pair) == Credentials(Path("/c"), Path("/k"))
    assert Credentials.of_environment({}) == Credentials()
    with pytest.raises(ExternalError, match="set PANDA_URL_SSL"):
        Connection.of_environment({})
    with pytest.raises(ExternalError, match="cannot use"):
        Client("https://127.0.0.1:1", certificate=Path("/nowhere"))


def test_a_kill_whose_answer_was_lost_is_answered_as_the_first(served: Served) -> None:
    panda = served.client()
    panda.connection._wait = 0.0
    _, ((job_id, *_),) = panda.submitJobs([make_job()])
    served.instead, served.after = [("504 Gateway Timeout", [], b"")], True
    assert panda.killJobs([job_id]) == (0, [True])  # a second kill finds no job, and would say False
    assert panda.killJobs([job_id]) == (0, [False])
