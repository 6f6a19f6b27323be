"""Names of proxies at a MyProxy server: registered by users, told to users and to pilots."""

from __future__ import annotations

import pickle

import pytest
from werkzeug.test import Client

from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer.requests import Acquired
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import LIMITED, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import LEGACY, joes_job, sites, with_json

KEY = {"credname": "jane", "origin": "ui.example", "myproxy": "myproxy.example"}
END = {"SSL_CLIENT_V_END": "Jan  2 03:04:05 2099 GMT"}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


def test_what_a_user_registered_is_told_again(server: Client) -> None:
    assert pickle.loads(server.get(LEGACY + "getProxyKey", environ_overrides=USER).data) == {}
    assert server.post(LEGACY + "registerProxyKey", data=KEY, environ_overrides=USER | END).text == "True"
    told = pickle.loads(server.get(LEGACY + "getProxyKey", environ_overrides=USER).data)
    assert told == {**KEY, "expires": "2099-01-02 03:04:05"}


@pytest.mark.parametrize("caller", [USER, USER | {"SSL_CLIENT_V_END": "soon"}])
def test_nothing_is_kept_without_the_end_of_the_certificate(server: Client, caller: dict[str, str]) -> None:
    assert server.post(LEGACY + "registerProxyKey", data=KEY, environ_overrides=caller).text == ""
    assert pickle.loads(server.get(LEGACY + "getProxyKey", environ_overrides=USER).data) == {}


def test_limited_proxies_register_nothing(server: Client) -> None:
    assert server.post(LEGACY + "registerProxyKey", data=KEY, environ_overrides=LIMITED | END).text == "False"


def test_a_job_is_not_lost_with_the_name_of_a_proxy(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> None:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    task_buffer.answers |= {
        "getJobs": Acquired((joes_job(),)),
        "loadSites": sites(),
        "getProxyKeys": Unavailable("the database is away"),
    }
    reply = with_json(make_client(), "getJob", siteName="TEST_PQ", getProxyKey="True")
    assert (reply["PandaID"], reply["credname"], reply["myproxy"]) == (9000001, "", "")
