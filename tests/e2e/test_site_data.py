"""Site data as pilots fetch it: over plain http from Apache, directly or through a caching proxy."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from pandaserver.deployment.apache import modules
from pandaserver.testing import apache
from pandaserver.testing.instance import Instance
from pandaserver.testing.processes import end
from pandaserver.testing.sample_site import QUEUE, QUEUE_DATA
from tests.e2e.conftest import free_port

pytestmark = pytest.mark.slow

FILES = {
    f"{QUEUE}.all.json": "application/json",
    f"{QUEUE}.pilot.json": "application/json",
    f"{QUEUE}.pilot.pilot": "text/plain",
    "schedconfig.all.json": "application/json",
    "agis_schedconf.json": "application/json",
    "ddmendpoints.json": "application/json",
    "agis_ddmendpoints.json": "application/json",
    "pilot_gdp_config.json": "application/json",
}


PROXY = """
LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
<IfModule !unixd_module>
    LoadModule unixd_module "{modules}/mod_unixd.so"
</IfModule>
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule proxy_module      "{modules}/mod_proxy.so"
LoadModule proxy_http_module "{modules}/mod_proxy_http.so"
LoadModule cache_module      "{modules}/mod_cache.so"
LoadModule cache_disk_module "{modules}/mod_cache_disk.so"
ServerName localhost
ServerRoot "{directory}"
DefaultRuntimeDir "{directory}"
PidFile "{directory}/proxy.pid"
ErrorLog "{directory}/error_log"
Listen {port}
CacheRoot "{directory}/kept"
CacheEnable disk "/"
CacheHeader on
ProxyPass "/" "{server}/"
"""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Message
    body: bytes


Fetch = Callable[..., Reply]


@pytest.fixture(scope="module")
def fetch(instance: Instance) -> Fetch:
    """Fetches a file of a fresh cache as a pilot or a squid does: plain http, nobody's credentials."""
    instance.admin("script", "cache_schedconfig")
    return fetching(instance.http)


@pytest.fixture
def through_proxy(instance: Instance, fetch: Fetch, directory: Path) -> Iterator[Fetch]:
    """Fetches through a caching proxy, whose replies say in X-Cache where they come from."""
    del fetch  # the files are there
    port = free_port()
    configuration = directory / "proxy.conf"
    configuration.write_text(PROXY.format(directory=directory, port=port, server=instance.http, modules=modules()))
    (directory / "kept").mkdir()
    instance.account.give(directory)
    process = subprocess.Popen(
        apache.command(configuration), cwd=directory, start_new_session=True, **instance.account.popen_arguments()
    )
    try:
        ask, deadline = fetching(f"http://localhost:{port}"), time.monotonic() + 30
        while not answers(ask):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield ask
    finally:
        end(process, patience=10)


def answers(ask: Fetch) -> bool:
    try:
        return ask("nothing.json").status == 404
    except urllib.error.URLError:
        return False


def fetching(server: str) -> Fetch:
    def get(name: str, **headers: str) -> Reply:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(f"{server}/cache/schedconfig/{name}", headers=names)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    return get


def describe(instance: Instance, **changes: Any) -> None:
    """Describe the queue anew."""
    path = instance.layout.work / "queue.json"
    path.write_text(json.dumps({**QUEUE_DATA, **changes}))
    path.chmod(0o644)
    instance.admin("queue", "set", str(path))
    instance.admin("script", "cache_schedconfig")


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_a_file_can_be_kept_by_a_proxy(fetch: Fetch, name: str, kind: str) -> None:
    reply = fetch(name)
    assert (reply.status, reply.headers.get_content_type()) == (200, kind)
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    assert reply.headers["ETag"]
    assert reply.headers["Last-Modified"]
    assert int(reply.headers["Content-Length"]) == len(reply.body) > 0
    assert not {"Set-Cookie", "Vary", "Pragma", "Expires"} & set(reply.headers)


@pytest.mark.parametrize("name", [f"{QUEUE}.all.json", f"{QUEUE}.pilot.pilot", "ddmendpoints.json"])
def test_what_has_not_changed_is_not_sent_again(fetch: Fetch, name: str) -> None:
    first = fetch(name)
    for condition in ({"If_None_Match": first.headers["ETag"]}, {"If_Modified_Since": first.headers["Last-Modified"]}):
        again = fetch(name, **condition)
        assert (again.status, again.body) == (304, b"")
        # Apache calls the tag of a file weak while that is younger than a second.
        assert again.headers["ETag"].removeprefix("W/") == first.headers["ETag"].removeprefix("W/")
        assert again.headers["Cache-Control"] == "public, max-age=300"


def test_a_run_without_news_leaves_the_kept_copies_valid(fetch: Fetch, instance: Instance) -> None:
    before = {name: fetch(name).headers["ETag"] for name in FILES}
    instance.admin("script", "cache_schedconfig")
    assert {name: fetch(name, If_None_Match=tag).status for name, tag in before.items()} == dict.fromkeys(FILES, 304)


def test_a_changed_queue_is_sent_to_those_who_know_the_former_one(fetch: Fetch, instance: Instance) -> None:
    name = f"{QUEUE}.all.json"
    former = fetch(name)
    try:
        describe(instance, status="paused")  # as long as before: size alone must not decide
        reply = fetch(name, If_None_Match=former.headers["ETag"])
        assert reply.status == 200
        assert json.loads(reply.body) == {**QUEUE_DATA, "status": "paused"}
        assert json.loads(fetch("schedconfig.all.json").body)[QUEUE]["status"] == "paused"
        assert b"|status=paused|" in fetch(f"{QUEUE}.pilot.pilot").body
    finally:
        describe(instance)


def test_what_is_not_there_is_not_kept(fetch: Fetch) -> None:
    for name in ("NOWHERE.all.json", ".new-x", "../instance.json"):
        reply = fetch(name)
        assert reply.status in (400, 403, 404)
        assert reply.headers["Cache-Control"] is None


def test_nobody_lists_the_directory(fetch: Fetch) -> None:
    assert fetch("").status in (403, 404)


def source(reply: Reply) -> str:
    return str(reply.headers["X-Cache"]).partition(" ")[0]


def test_a_proxy_answers_for_the_server_until_somebody_wants_news(through_proxy: Fetch, instance: Instance) -> None:
    name = f"{QUEUE}.all.json"
    first, second = through_proxy(name), through_proxy(name)
    assert (source(first), source(second)) == ("MISS", "HIT")
    assert second.body == first.body
    assert source(through_proxy(name, Cache_Control="max-age=0")) == "REVALIDATE"  # by a 304 of the server
    try:
        describe(instance, status="paused")
        assert through_proxy(name).body == first.body
        news = through_proxy(name, Cache_Control="max-age=0")
        assert json.loads(news.body)["status"] == "paused"
        assert through_proxy(name).body == news.body
    finally:
        describe(instance)


def test_a_proxy_does_not_keep_what_was_not_there(through_proxy: Fetch) -> None:
    assert [source(through_proxy("NEW_PQ.all.json")) for _ in range(2)] == ["MISS", "MISS"]
