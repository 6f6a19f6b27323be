"""The builtin pilot says what the stock pilot would say."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pandaserver.testing.pilot import FakePilot, Outcome, adler32
from pandaserver.testing.pilot_transport import Unreachable, patiently, read_reply

JOB = {
    "StatusCode": "0",
    "PandaID": "4711",
    "attemptNr": "1",
    "transformation": "http://localhost/trf/run.sh",
    "jobPars": "out.txt 'two words'",
    "inFiles": "in.txt",
    "outFiles": "out.txt,log.tgz",
    "logFile": "log.tgz",
    "logGUID": "5f0c1b1e-0d4e-4b5c-9d58-0f6a4a1f0001",
}


class Server:
    """Answers as a server would and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.command = "NULL"

    def __call__(self, method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((method, parameters))
        return {"StatusCode": "20"} if method == "getJob" else {"StatusCode": "0", "command": self.command}

    @property
    def states(self) -> list[str]:
        return [parameters["state"] for method, parameters in self.asked if method == "updateJob"]

    @property
    def final(self) -> Mapping[str, Any]:
        return self.asked[-1][1]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Callable[..., Outcome]:
    """Run JOB with a payload script; its input lies in the store."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "in.txt").write_text("data")

    def execute(script: str, heartbeat: float = 30.0, **changes: str) -> Outcome:
        def download(url: str, target: Path) -> None:
            if not url.endswith("/run.sh"):
                raise PermissionError(f"{url} answered 404")
            target.write_text(f"#!/bin/sh\n{script}\n")

        pilot = FakePilot(
            server, download, queue="TEST_PQ", work=tmp_path / "work", store=tmp_path / "store", heartbeat=heartbeat
        )
        return pilot.execute(JOB | changes)

    return execute


def test_a_good_payload_is_reported_step_by_step(run: Callable[..., Outcome], server: Server) -> None:
    run('echo "$2" > "$1"')
    assert server.states == ["starting", "running", "finished"]


def test_the_report_describes_outputs_and_log(run: Callable[..., Outcome], server: Server, tmp_path: Path) -> None:
    run('printf "%s" "$2" > "$1"')
    report = json.loads(server.final["xml"])
    assert report.keys() == {"out.txt", "log.tgz"}
    assert report["out.txt"]["adler32"] == adler32(b"two words")
    assert report["out.txt"]["fsize"] == 9
    assert report["log.tgz"]["guid"] == JOB["logGUID"]
    assert Path(report["out.txt"]["surl"]).read_text() == "two words"


def test_the_log_has_what_the_payload_said(run: Callable[..., Outcome], tmp_path: Path) -> None:
    run('echo hello; touch "$1"')
    with tarfile.open(tmp_path / "store" / "log.tgz") as log:
        member = log.extractfile("tarball_PandaJob_4711/payload.stdout")
        assert member is not None
        assert member.read() == b"hello\n"


def test_the_payload_finds_its_input(run: Callable[..., Outcome]) -> None:
    assert run('cat in.txt > "$1"').error == 0


def test_the_exit_code_of_a_payload_is_reported(run: Callable[..., Outcome], server: Server) -> None:
    run("exit 3")
    assert (server.final["state"], server.final["transExitCode"], server.final["pilotErrorCode"]) == ("failed", 3, 1305)


def test_a_failed_job_still_has_its_log(run: Callable[..., Outcome], server: Server) -> None:
    run("exit 3")
    assert json.loads(server.final["xml"]).keys() == {"log.tgz"}


def test_a_missing_output_fails_the_job(run: Callable[..., Outcome]) -> None:
    assert run("true").error == 1165


def test_a_missing_input_fails_the_job(run: Callable[..., Outcome]) -> None:
    assert run("true", inFiles="nowhere.txt").error == 1099


def test_a_missing_script_fails_the_job(run: Callable[..., Outcome]) -> None:
    assert run("true", transformation="http://localhost/trf/other.sh").error == 1149


def test_a_kill_by_the_server_ends_the_payload(run: Callable[..., Outcome], server: Server) -> None:
    server.command = "tobekilled"
    assert run("sleep 60", heartbeat=0.01).error == 1144


def test_no_job_is_none(server: Server, tmp_path: Path) -> None:
    pilot = FakePilot(server, lambda url, target: None, queue="TEST_PQ", work=tmp_path, store=tmp_path)
    assert pilot.get_job() is None


def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    def refuse(method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"StatusCode": "60"}

    pilot = FakePilot(refuse, lambda url, target: None, queue="TEST_PQ", work=tmp_path, store=tmp_path)
    with pytest.raises(PermissionError, match="60"):
        pilot.get_job()


def test_replies_are_read_as_the_stock_pilot_reads_them() -> None:
    assert read_reply(b"StatusCode=0&jobPars=a+b&empty=") == {"StatusCode": "0", "jobPars": "a b"}
    assert read_reply(b'{"StatusCode": 0}') == {"StatusCode": 0}


def test_a_lost_network_is_asked_again() -> None:
    answers = iter([Unreachable("down"), Unreachable("down"), {"StatusCode": "0"}])

    def ask(method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = next(answers)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    assert patiently(ask, give_up_after=60, pause=0.0)("updateJob", {}) == {"StatusCode": "0"}


def test_a_network_that_stays_lost_is_given_up() -> None:
    def ask(method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Unreachable("down")

    with pytest.raises(Unreachable):
        patiently(ask, give_up_after=0.0, pause=0.1)("updateJob", {})
