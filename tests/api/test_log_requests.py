"""What requests about logs leave on disk, and what requests for credentials leave in the log."""

from __future__ import annotations

import io
import json
import logging
import zlib
from pathlib import Path

import pytest
from werkzeug.test import Client

import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests
from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.access_tokens import AccessTokens
from pandaserver.srvcore.file_cache import FileCache
from tests.api.callers import PRODUCTION, USER, FakeServices, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import LEGACY, V1


@pytest.fixture
def cache(settings: ServerSettings) -> Path:
    return settings.cache_dir


def upload(client: Client, url: str, name: str, content: bytes, caller: dict[str, str] | None = None) -> str:
    data = {"file": (io.BytesIO(content), name)}
    return client.post(url, data=data, environ_overrides=caller or {}).text


def test_increments_of_old_and_new_harvesters_make_one_log(client: Client, cache: Path) -> None:
    name = "hv1__42.log"
    assert upload(client, LEGACY + "updateLog", name, zlib.compress(b"one\n")) == "True"
    upload(client, V1 + "file_server/update_jedi_log", name, zlib.compress(b"two\n"), PRODUCTION)
    reply = upload(client, V1 + "file_server/upload_jedi_log", name, zlib.compress(b"three\n"), PRODUCTION)
    assert json.loads(reply)["data"] == "http://panda.example:25080/cache/hv1__42.log"
    assert (cache / name).read_bytes() == b"one\ntwo\nthree\n"
    assert client.get(LEGACY + f"fetchLog?logName={name}&offset=4").text == " two\nthree\n"


def test_a_whole_log_replaces_another_and_stays_packed(client: Client, cache: Path) -> None:
    for content in (b"first", zlib.compress(b"second")):
        upload(client, LEGACY + "uploadLog", "/some/where/task__1.log.gz", content, USER)
    assert [path.name for path in (cache / "jedilog").iterdir()] == ["task__1.log.gz"]
    assert (cache / "jedilog" / "task__1.log.gz").read_bytes() == zlib.compress(b"second")


def test_a_sandbox_cannot_be_spoiled_through_a_log(client: Client, cache: Path) -> None:
    FileCache(cache).store("sources.x.tar.gz", io.BytesIO(b"sandbox"))
    reply = upload(client, LEGACY + "updateLog", "sources.x.tar.gz", zlib.compress(b"x"))
    assert reply.startswith("ERROR: sources.x.tar.gz is no log")
    assert (cache / "sources.x.tar.gz").read_bytes() == b"sandbox"


def test_a_log_that_is_too_large_is_refused(make_client: MakeClient, cache: Path) -> None:
    client = make_client(max_sandbox_upload=2000)
    reply = upload(client, LEGACY + "updateLog", "a.log", zlib.compress(b"\0" * 100_000))
    assert reply == "ERROR: the log a.log would have more than 2000 bytes"
    assert (cache / "a.log").read_bytes() == b""
    assert "2000" in upload(client, LEGACY + "uploadLog", "a.log", bytes(5000), USER)
    assert not (cache / "jedilog").exists()


def test_a_log_comes_in_pieces_and_whatever_it_contains(
    client: Client, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pandaserver.jobdispatcher import log_requests

    monkeypatch.setattr(log_requests, "LARGEST_PIECE", 4)
    (cache / "a.log").write_bytes(b"one\xfftwo")
    assert client.get(LEGACY + "fetchLog?logName=a.log").text == " one\N{REPLACEMENT CHARACTER}"
    assert client.get(LEGACY + "fetchLog?logName=a.log&offset=4").text == " two"
    assert "must be at least 0" in client.get(LEGACY + "fetchLog?logName=a.log&offset=-1").text


def test_addresses_of_logs_follow_the_configuration(make_client: MakeClient) -> None:
    secure = make_client(disableHTTP=True)
    assert upload(secure, LEGACY + "uploadLog", "a.gz", b"x", USER) == "https://panda.example:25443/cache/jedilog/a.gz"
    other = make_client(pserverhosthttp="plain.example", pserverporthttp=80)
    assert upload(other, LEGACY + "uploadLog", "a.gz", b"x", USER) == "http://plain.example:80/cache/jedilog/a.gz"


def test_no_credential_stands_in_a_log(
    make_client: MakeClient,
    task_buffer: FakeTaskBuffer,
    services: FakeServices,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    config = tmp_path / "clients.json"
    config.write_text('{"c": {"client_id": "i", "secret": "PRIVATE-1", "endpoint": "https://iam.example/token"}}')
    services.access_tokens = AccessTokens(config, fetch=lambda *_, **__: {"access_token": "PRIVATE-2"})
    (tmp_path / "key").write_text("PRIVATE-3")
    task_buffer.answers |= {"hasPermission": True, "changeUserSecret": None, "get_user_secrets": '{"a": "PRIVATE-4"}'}
    client = make_client(keyDir=tmp_path, proxy_dir=tmp_path)
    with caplog.at_level(logging.DEBUG):
        for query in (
            "getKeyPair?publicKeyName=key&privateKeyName=key",
            "get_access_token?client_name=c&token_key=PRIVATE-5",
            "get_token_key?client_name=c",
            "set_user_secret?key=a&value=PRIVATE-6",
            "get_user_secrets",
        ):
            assert "ERROR" not in client.get(LEGACY + query, environ_overrides=USER).text
    assert "handed out" in caplog.text
    assert "PRIVATE" not in caplog.text
