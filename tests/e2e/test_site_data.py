"""Site data as pilots fetch it: over plain http from Apache, directly or through a caching proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any

import pytest

from pandaserver.testing.instance import Instance
from pandaserver.testing.sample_site import QUEUE, QUEUE_DATA

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

    def get(name: str, **headers: str) -> Reply:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(f"{instance.http}/cache/schedconfig/{name}", headers=names)
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
