"""The daemon script panda_activeusers_query: whose delegated proxies are to be kept fresh."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.scripts import panda_activeusers_query
from pandaserver.daemons.scripts.panda_activeusers_query import refresh_all
from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert

LOGGER = logging.getLogger("active-users-test")
LOG = LogWrapper(LOGGER, None)


class Cache:
    """A proxy cache that has no luck with some."""

    def __init__(self, *unlucky: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.unlucky = unlucky

    def refresh(self, identity: str, role: str) -> None:
        self.asked.append((identity, role))
        if identity in self.unlucky:
            raise ExternalError("no credential")


def put_users(tbuf: TaskBuffer, *users: tuple[str, str | None, str | None, str | None]) -> None:
    rows = [
        {"id": 9000 + n, "name": name, "dn": dn, "gridPref": preference, "status": status}
        for n, (name, dn, preference, status) in enumerate(users)
    ]
    insert(tbuf, "PANDAMETA.users", *rows)


def test_identities_are_distinct_permitted_and_not_banned(tbuf: TaskBuffer) -> None:
    put_users(
        tbuf,
        ("Zoe", "/CN=Zoe", "p", None),
        ("Jane", "/CN=Jane", "kps", None),
        ("Jane Doe", "/CN=Jane", "p", "enabled"),
        ("Joe", "/CN=Joe", "ks", None),
        ("Jim", "/CN=Jim", None, None),
        ("Kim", "/CN=Kim", "P", None),
        ("Bad", "/CN=Bad", "p", "disabled"),
        ("Nobody", None, "p", None),
    )
    assert tbuf.identitiesWithPermission("p") == ["/CN=Jane", "/CN=Zoe"]


def test_every_identity_is_asked_for_in_every_role_whatever_fails() -> None:
    cache = Cache("/CN=A")
    assert refresh_all(LOG, cache, ["/CN=A", "/CN=B"], ["vo", "vo:/vo/Role=pilot"]) == ["/CN=A"]
    assert cache.asked == [(identity, role) for identity in ("/CN=A", "/CN=B") for role in ("vo", "vo:/vo/Role=pilot")]


def test_the_script_says_that_there_is_no_proxy_cache(
    tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panda_activeusers_query, "_log", LOGGER)
    put_users(tbuf, ("Jane", "/CN=Jane", "p", None))
    panda_activeusers_query.main(tbuf=tbuf)
    assert "1 users ask for delegated proxies, and none was refreshed" in caplog.text


def test_a_proxy_cache_is_asked_for_the_configured_roles(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ServerSettings(proxy_cache_roles=("vo:/vo/Role=a", "vo:/vo/Role=b"))
    monkeypatch.setattr(panda_activeusers_query, "configuration", lambda: SimpleNamespace(server=server))
    put_users(tbuf, ("Jane", "/CN=Jane", "p", None))
    cache = Cache()
    panda_activeusers_query.main(tbuf=tbuf, proxy_cache=cache)
    assert cache.asked == [("/CN=Jane", "vo:/vo/Role=a"), ("/CN=Jane", "vo:/vo/Role=b")]
