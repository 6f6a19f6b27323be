"""Requests of Utils: alive, identity, files."""

from __future__ import annotations

import gzip
import io
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import LIMITED, PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

LEGACY, V1 = "/server/panda/", "/api/v1/"
CONTENT = gzip.compress(b"a small sandbox")
CHECKSUM = struct.unpack("<II", CONTENT[-8:])[0]


def upload(client: Client, url: str, name: str, content: bytes = CONTENT, **overrides: Any) -> Any:
    return client.post(url, data={"file": (io.BytesIO(content), name)}, environ_overrides=overrides or USER)


def put(client: Client, name: str, content: bytes = CONTENT) -> Any:
    return upload(client, LEGACY + "putFile", name, content)


@pytest.fixture
def cache(settings: ServerSettings) -> Path:
    return settings.cache_dir


@pytest.fixture
def stored(task_buffer: FakeTaskBuffer) -> FakeTaskBuffer:
    task_buffer.answers["insertSandboxFileInfo"] = True
    return task_buffer


def test_is_alive_is_the_literal_text(client: Client) -> None:
    reply = client.get(LEGACY + "isAlive")
    assert (reply.status_code, reply.text, reply.mimetype) == (200, "alive=yes", "text/plain")


def test_is_alive_at_v1_is_an_envelope(client: Client) -> None:
    assert client.get(V1 + "system/is_alive").json == {"success": True, "message": "alive=yes", "data": None}


def test_is_alive_answers_a_certificate_while_the_database_is_down(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getBannedUsers"] = Unavailable("the database is down")
    assert client.get(LEGACY + "isAlive", environ_overrides=USER).text == "alive=yes"
    assert task_buffer.calls == []


def test_is_ready_asks_the_database(make_client: MakeClient, tbuf: TaskBuffer) -> None:
    reply = make_client(tbuf=tbuf).get(V1 + "system/is_ready")
    assert (reply.status_code, reply.json) == (200, {"success": True, "message": "ready=yes", "data": None})


def test_is_ready_is_503_without_a_database(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["check_database"] = Unavailable("the database is down")
    reply = client.get(V1 + "system/is_ready")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "10")
    assert not reply.json["success"]


def test_is_ready_has_a_deadline_of_its_own(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["check_database"] = None
    client.get(V1 + "system/is_ready")
    assert task_buffer.limits == [3.0]


def test_get_server_names_host_and_port(client: Client) -> None:
    assert client.get(LEGACY + "getServer").text == "panda.example:25443"


def test_voms_attributes_are_listed_by_name(client: Client) -> None:
    environ = {**PRODUCTION, "GRST_CRED_0": "X509USER 1 2 0 /CN=x"}
    assert client.get(LEGACY + "getVomsAttr", environ_overrides=environ).text == (
        "GRST_CRED_0 : X509USER 1 2 0 /CN=x\nGRST_CRED_AUTH_TOKEN_0 : VOMS /testvo/Role=production\n"
    )


def test_attributes_do_not_contain_credentials(client: Client) -> None:
    reply = client.get(
        LEGACY + "getAttr?colour=red",
        headers={"Authorization": "Bearer secret-token", "Cookie": "secret-cookie"},
        environ_overrides=PRODUCTION,
    )
    assert reply.text.startswith("===== param =====\ncolour = red\n\n====== env ======\n")
    assert "GRST_CRED_AUTH_TOKEN_0 : VOMS /testvo/Role=production\n" in reply.text
    assert "secret" not in reply.text


def test_attributes_at_v1_are_objects(client: Client) -> None:
    data = client.get(V1 + "system/get_attributes?colour=red", environ_overrides=USER).json["data"]
    assert data["parameters"] == {"colour": "red"}
    assert data["environment"]["SSL_CLIENT_S_DN"] == USER["SSL_CLIENT_S_DN"]


def test_user_attributes_show_what_the_server_derives(client: Client) -> None:
    data = client.get(V1 + "system/get_user_attributes", environ_overrides=PRODUCTION).json["data"]
    assert data == {
        "user_dn_raw": "/DC=org/CN=Paula Prod",
        "user_dn_clean": "Paula Prod",
        "fqans": ["/testvo/Role=production"],
        "is_production_user": True,
        "production_working_groups": [],
        "primary_working_group": None,
    }


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_put_file_keeps_the_bytes_and_says_true(client: Client, stored: FakeTaskBuffer, cache: Path) -> None:
    reply = put(client, "sources.1.tar.gz")
    assert (reply.text, reply.mimetype) == ("True", "text/plain")
    assert (cache / "sources.1.tar.gz").read_bytes() == CONTENT


def test_put_file_registers_size_and_checksum(client: Client, stored: FakeTaskBuffer) -> None:
    put(client, "sources.1.tar.gz")
    ((sandbox,),) = stored.called("insertSandboxFileInfo")
    assert (sandbox.user, sandbox.host, sandbox.name, sandbox.size, sandbox.checksum) == (
        "Jane Doe", "panda.example", "sources.1.tar.gz", len(CONTENT), str(CHECKSUM),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["/etc/sources.1", "../../sources.1", "a/../sources.1", "C:/x/sources.1"])
def test_directories_in_a_name_are_dropped(client: Client, stored: FakeTaskBuffer, cache: Path, name: str) -> None:
    assert put(client, name).text == "True"
    assert [path.name for path in cache.iterdir()] == ["sources.1"]


@pytest.mark.parametrize("name", ["..", "a/", ".htaccess", "x\ny", "é" * 128])
def test_a_name_that_cannot_name_a_file_is_refused(client: Client, cache: Path, name: str) -> None:
    assert put(client, name).text.startswith("ERROR : ")
    assert list(cache.iterdir()) == []


def test_an_existing_file_is_kept_and_made_young(client: Client, stored: FakeTaskBuffer, cache: Path) -> None:
    put(client, "sources.1")
    import os

    os.utime(cache / "sources.1", (0, 0))
    assert put(client, "sources.1", b"other content").text == "ERROR : cannot overwrite file sources.1"
    assert (cache / "sources.1").read_bytes() == CONTENT
    assert (cache / "sources.1").stat().st_mtime > time.time() - 60


def test_a_rewritable_file_is_replaced(client: Client, stored: FakeTaskBuffer, cache: Path) -> None:
    put(client, "sources.1.__ow__")
    assert put(client, "sources.1.__ow__", b"new content").text == "True"
    assert (cache / "sources.1.__ow__").read_bytes() == b"new content"


def test_outputs_are_not_registered(client: Client, stored: FakeTaskBuffer) -> None:
    assert put(client, "job.1.out").text == "True"
    assert stored.called("insertSandboxFileInfo") == []


def test_an_upload_that_cannot_be_registered_leaves_nothing(
    client: Client, task_buffer: FakeTaskBuffer, cache: Path
) -> None:
    task_buffer.answers["insertSandboxFileInfo"] = Unavailable("the database is down")
    reply = put(client, "sources.1")
    assert (reply.status_code, reply.text) == (503, "ERROR : the database is down")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "name", "limit"),
    [
        (LEGACY + "putFile", "sources.1", "max_sources_upload"),
        (LEGACY + "putFile", "jobO.1", "max_sandbox_upload"),
        (V1 + "file_server/upload_cache_file", "sources.1", "max_sources_upload"),
        (V1 + "file_server/upload_cache_file", "jobO.1", "max_v1_upload"),
        (V1 + "file_server/upload_cache_file", "job.out", "max_sandbox_upload"),
    ],
)
def test_each_kind_of_name_has_its_limit(
    make_client: MakeClient, stored: FakeTaskBuffer, cache: Path, url: str, name: str, limit: str
) -> None:
    limits = {"max_sources_upload": 9000, "max_sandbox_upload": 9000, "max_v1_upload": 9000} | {limit: 2000}
    client = make_client(**limits)
    assert "ERROR : upload of" in upload(client, url, name, b"x" * 2000).text
    assert list(cache.iterdir()) == []
    assert "ERROR" not in upload(client, url, name, b"x" * 1000).text


def test_an_upload_above_every_limit_is_not_read(make_client: MakeClient, cache: Path) -> None:
    client = make_client(max_sources_upload=100, max_sandbox_upload=100, max_v1_upload=100)
    reply = put(client, "sources.1", b"x" * 200)
    assert reply.text.startswith("ERROR : the body has ")
    assert list(cache.iterdir()) == []


def test_names_of_the_setting_are_compressed_on_arrival(
    make_client: MakeClient, stored: FakeTaskBuffer, cache: Path
) -> None:
    client = make_client(compress_file_names=(r"\.dat$",))
    put(client, "pre.dat", b"plain")
    packed = (cache / "pre.dat").read_bytes()
    ((sandbox,),) = stored.called("insertSandboxFileInfo")
    assert gzip.decompress(packed) == b"plain"
    assert (sandbox.size, sandbox.checksum) == (len(packed), str(struct.unpack("<II", packed[-8:])[0]))


@pytest.mark.parametrize("caller", [{"REMOTE_ADDR": "127.0.0.1"}, LIMITED])
def test_put_file_wants_a_full_credential(client: Client, cache: Path, caller: dict[str, str]) -> None:
    assert upload(client, LEGACY + "putFile", "sources.1", **caller).text == "False"
    assert list(cache.iterdir()) == []


def test_put_file_without_a_file_names_it(client: Client) -> None:
    assert client.post(LEGACY + "putFile", environ_overrides=USER).text == (
        "ERROR : Argument error: missing a required argument: 'file'"
    )


def test_a_text_is_not_a_file(client: Client) -> None:
    reply = client.post(LEGACY + "putFile", data={"file": "text"}, environ_overrides=USER)
    assert reply.text == "ERROR : Type error: 'file' must be of type Upload, got str."


def test_a_cut_off_upload_is_refused(client: Client, cache: Path) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="sources.1"\r\n\r\nhalf of the'
    reply = client.post(
        LEGACY + "putFile", data=body, content_type="multipart/form-data; boundary=x", environ_overrides=USER
    )
    assert reply.text.startswith("ERROR : the multipart body cannot be read at 'file'")
    assert list(cache.iterdir()) == []


# ---- files that are there --------------------------------------------------------------------------------------------


def test_touch_makes_a_file_young(client: Client, cache: Path) -> None:
    import os

    (cache / "a").touch()
    os.utime(cache / "a", (0, 0))
    assert client.post(LEGACY + "touchFile", data={"filename": "x/a"}, environ_overrides=USER).text == "True"
    assert (cache / "a").stat().st_mtime > time.time() - 60


def test_touch_of_a_missing_file_is_false(client: Client) -> None:
    assert client.post(LEGACY + "touchFile", data={"filename": "a"}, environ_overrides=USER).text == "False"
    reply = client.post(V1 + "file_server/touch_cache_file", json={"file_name": "a"}, environ_overrides=USER)
    assert reply.json == {"success": False, "message": "there is no file a", "data": None}


def test_delete_keeps_the_file(client: Client, cache: Path) -> None:
    (cache / "a").touch()
    assert client.post(LEGACY + "deleteFile", data={"file": "a"}, environ_overrides=USER).text == "True"
    assert (cache / "a").exists()


@pytest.mark.parametrize("size", [7, "7"])
def test_a_known_sandbox_is_found(client: Client, task_buffer: FakeTaskBuffer, size: object) -> None:
    task_buffer.answers["checkSandboxFile"] = ("host.example", "sources.1")
    data = {"fileSize": size, "checkSum": 12}
    assert client.post(LEGACY + "checkSandboxFile", data=data, environ_overrides=USER).text == (
        "FOUND:host.example:sources.1"
    )
    assert task_buffer.called("checkSandboxFile") == [("Jane Doe", 7, "12")]


@pytest.mark.parametrize("checksum", [12, "12"])
def test_v1_says_found_in_the_message(client: Client, task_buffer: FakeTaskBuffer, checksum: object) -> None:
    task_buffer.answers["checkSandboxFile"] = ("host.example", "sources.1")
    reply = client.post(
        V1 + "file_server/validate_cache_file",
        json={"file_size": 7, "checksum": checksum},
        environ_overrides=USER,
    )
    assert reply.json == {"success": True, "message": "FOUND:host.example:sources.1", "data": None}


def test_an_unknown_sandbox_is_not_found(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["checkSandboxFile"] = None
    data = {"fileSize": 7, "checkSum": 12}
    assert client.post(LEGACY + "checkSandboxFile", data=data, environ_overrides=USER).text == "NOTFOUND"


def test_a_sandbox_is_found_by_its_content(make_client: MakeClient, tbuf: TaskBuffer) -> None:
    client = make_client(tbuf=tbuf)
    put(client, "sources.1")
    found = client.post(
        LEGACY + "checkSandboxFile", data={"fileSize": len(CONTENT), "checkSum": CHECKSUM}, environ_overrides=USER
    )
    assert found.text == "FOUND:panda.example:sources.1"


def test_a_sandbox_is_its_owners_only(make_client: MakeClient, tbuf: TaskBuffer) -> None:
    client = make_client(tbuf=tbuf)
    put(client, "sources.1")
    data = {"fileSize": len(CONTENT), "checkSum": CHECKSUM}
    assert client.post(LEGACY + "checkSandboxFile", data=data, environ_overrides=PRODUCTION).text == "NOTFOUND"


def test_registering_twice_warns(make_client: MakeClient, tbuf: TaskBuffer) -> None:
    client = make_client(tbuf=tbuf, sandboxHostname="front.example")
    data = {"userName": "Jane Doe", "fileName": "sources.1", "fileSize": "7", "checkSum": "12"}
    texts = [
        client.post(LEGACY + "insertSandboxFileInfo", data=data, environ_overrides=PRODUCTION).text for _ in range(2)
    ]
    assert texts == ["OK", "WARNING: file exist"]
