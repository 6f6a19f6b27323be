"""What a caller hears who asks too much, at both doors."""

from __future__ import annotations

import gzip
import json
import logging
import pickle
from time import monotonic

import pytest
from werkzeug.test import Client

from pandaserver.config.settings import ServerSettings
from pandaserver.server.heavy_questions import HeavyQuestions
from tests.api.callers import PILOT, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

LEGACY, V1 = "/server/panda/", "/api/v1/"
ADDRESS = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture(autouse=True)
def _requests() -> None:
    import pandaserver.jobdispatcher.JobDispatcher
    import pandaserver.taskbuffer.Utils
    import pandaserver.userinterface.UserIF  # noqa: F401


@pytest.fixture
def limited(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> Client:
    """A server that lets a user and a pilot ask once a second, both after their ten seconds' worth."""
    from pandaserver.taskbuffer.SiteSpec import SiteRows

    task_buffer.answers |= {"loadSites": SiteRows()}
    client = make_client(max_user_rate=1, max_pilot_rate=1)
    for caller in (USER, PILOT):
        for _ in range(11):
            client.get(LEGACY + "isAlive", environ_overrides=caller | ADDRESS)
    return client


def test_v1_answers_429_and_says_when_to_come_again(limited: Client) -> None:
    reply = limited.post(V1 + "job/kill", json={"job_ids": [1]}, environ_overrides=USER | ADDRESS)
    assert (reply.status_code, reply.headers["Retry-After"], reply.json["success"]) == (429, "1", False)
    assert reply.json["message"].startswith("too many requests: you may ask 1 times a second; try again in ")


@pytest.mark.parametrize("method", ["killJobs", "submitJobs", "getJobStatisticsPerSite", "isAlive"])
def test_old_clients_get_a_text_that_is_no_pickle(limited: Client, method: str) -> None:
    reply = limited.post(LEGACY + method, data={"ids": "[1]", "jobs": "[]"}, environ_overrides=USER | ADDRESS)
    assert reply.text.startswith("ERROR : too many requests: you may ask 1 times a second")
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "1")
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(reply.data)


@pytest.mark.parametrize("accept", ["", "application/json"])
def test_a_pilot_is_told_to_try_later(limited: Client, accept: str) -> None:
    fields = {"siteName": "PQ", "jobId": "1", "state": "running"}
    headers = {"Accept": accept}
    reply = limited.post(LEGACY + "getJob", data=fields, environ_overrides=PILOT | ADDRESS, headers=headers)
    told = reply.text
    assert reply.status_code == 429
    assert "StatusCode=10" in told or json.loads(told)["StatusCode"] == 10
    # The pilot's second stack looks at no status and takes any JSON for success: a final heartbeat would be lost.
    reply = limited.post(LEGACY + "updateJob", data=fields, environ_overrides=PILOT | ADDRESS, headers=headers)
    assert reply.text.startswith("StatusCode=10&errorDialog=too+many+requests")


def test_another_caller_from_there_is_served(limited: Client) -> None:
    other = {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"} | ADDRESS
    assert limited.get(LEGACY + "isAlive", environ_overrides=other).text == "alive=yes"


def test_anonymous_callers_are_counted_by_address(make_client: MakeClient) -> None:
    client = make_client(max_address_rate=1)
    texts = [client.get(LEGACY + "isAlive", environ_overrides=ADDRESS).text for _ in range(12)]
    assert texts[:10] == ["alive=yes"] * 10
    assert "your address may ask 1 times a second" in texts[-1]
    elsewhere = {"REMOTE_ADDR": "192.0.2.2"}
    assert client.get(LEGACY + "isAlive", environ_overrides=elsewhere).text == "alive=yes"


def test_heavy_questions_wait_and_are_told_to_come_again(
    make_client: MakeClient, task_buffer: FakeTaskBuffer, settings: ServerSettings
) -> None:
    task_buffer.answers |= {"getFullJobStatus": [None]}
    client = make_client(max_heavy_questions=1)
    url, body = V1 + "job/get_description_incl_archive", {"job_ids": [1]}
    with HeavyQuestions(settings.logdir, 1, logging.getLogger("tests")).turn(monotonic() + 5):
        reply = make_client(max_heavy_questions=1, dbtimeout=1).post(url, json=body, environ_overrides=USER)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "10")
        assert client.get(LEGACY + "isAlive").text == "alive=yes"
    assert client.post(url, json=body, environ_overrides=USER).json["data"] == [None]


# ---- bodies


def test_each_kind_of_request_has_its_limit(make_client: MakeClient) -> None:
    client = make_client(max_small_body=2000, max_request_body=9000)
    long = json.dumps({"job_ids": [1], "x": "y" * 3000}).encode()
    small = "the body has 3025 bytes, and at most 2000 are allowed here"
    reply = client.post(V1 + "job/kill", data=long, content_type="application/json", environ_overrides=USER)
    assert reply.json["message"] == small
    bomb = gzip.compress(b"[" * 10**6)
    for url, limit in (("job/kill", 2000), ("job/submit", 9000)):
        reply = client.post(V1 + url, data=bomb, content_type="application/json", environ_overrides=USER)
        assert reply.json["message"] == f"the body expands to more than the {limit} bytes that are allowed here"
