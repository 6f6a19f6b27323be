"""Secrets of users, one at a time; permissions of users; tokens of old pilots; names of proxies."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from pandaserver.srvcore.errors import BadRequest, Conflict
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.proxy_key import ProxyKey
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, query

JANE = "Jane Doe"


def stored(tbuf: TaskBuffer) -> Any:
    return json.loads(tbuf.get_user_secrets(JANE) or "null")


def test_secrets_come_and_go_one_by_one(tbuf: TaskBuffer) -> None:
    tbuf.changeUserSecret(JANE, "a", "1")
    tbuf.changeUserSecret(JANE, "b", "2")
    tbuf.changeUserSecret(JANE, "___file___:c", "ZmlsZQ==")
    tbuf.changeUserSecret(JANE, "a", "3")
    assert stored(tbuf) == {"a": "3", "b": "2", "___file___:c": "ZmlsZQ=="}
    tbuf.changeUserSecret(JANE, "c", None)
    tbuf.changeUserSecret(JANE, "b", None)
    assert stored(tbuf) == {"a": "3"}
    tbuf.changeUserSecret("John Roe", None, None)
    assert stored(tbuf) == {"a": "3"}
    tbuf.changeUserSecret(JANE, None, None)
    assert stored(tbuf) is None


def test_deleting_what_is_not_there_makes_nothing(tbuf: TaskBuffer) -> None:
    tbuf.changeUserSecret(JANE, "a", None)
    assert query(tbuf, "SELECT owner FROM ATLAS_PANDA.Secrets") == []


def test_secrets_set_at_the_same_time_are_all_kept(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    bridges = [LocalBridge(database, OperationSettings(hostname="h")) for _ in range(4)]
    keys = [f"k{n}" for n in range(12)]

    def set_some(n: int) -> None:
        for key in keys[n::4]:
            TaskBuffer(bridges[n]).changeUserSecret(JANE, key, "x")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(set_some, range(4)))
    for bridge in bridges:
        bridge.close()
    assert stored(tbuf) == dict.fromkeys(keys, "x")


def test_what_is_no_object_of_secrets_is_not_overwritten(tbuf: TaskBuffer) -> None:
    for text in ("no JSON", "[1]"):
        tbuf.set_user_secrets(JANE, text)
        with pytest.raises(Conflict):
            tbuf.changeUserSecret(JANE, "a", "1")
        assert tbuf.get_user_secrets(JANE) == text


def test_secrets_have_a_limit(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    from pandaserver.taskbuffer.db_proxy_mods import secret

    monkeypatch.setattr(secret, "TOTAL_LIMIT", 100)
    tbuf.changeUserSecret(JANE, "a", "x" * 50)
    with pytest.raises(BadRequest, match="at most 100"):
        tbuf.changeUserSecret(JANE, "b", "x" * 50)
    with pytest.raises(BadRequest, match="at most 60"):
        tbuf.changeUserSecret("J" * 61, "a", "b")
    assert stored(tbuf) == {"a": "x" * 50}


def test_permissions_are_letters_of_users_who_are_not_banned(tbuf: TaskBuffer) -> None:
    insert(tbuf, "PANDAMETA.users", {"id": 1, "name": JANE, "gridPref": "pk"})
    insert(tbuf, "PANDAMETA.users", {"id": 2, "name": "John Roe", "gridPref": "k", "status": "disabled"})
    insert(tbuf, "PANDAMETA.users", {"id": 3, "name": "Ann", "gridPref": None})
    assert [tbuf.hasPermission(JANE, letter) for letter in "pkt"] == [True, True, False]
    assert not any(tbuf.hasPermission(name, "k") for name in ("John Roe", "Ann", "Nobody", ""))
    assert tbuf.namesWithPermission("k") == [JANE]


def test_an_administrator_sets_the_letters(tbuf: TaskBuffer) -> None:
    for letters in ("pk", "t"):
        tbuf.setPermissions("Robot One", letters, "root")
    assert [tbuf.hasPermission("Robot One", letter) for letter in "pkt"] == [False, False, True]
    tbuf.setPermissions("Robot One", "", "root")
    assert not tbuf.hasPermission("Robot One", "t")
    rows = query(tbuf, "SELECT action, objectID, details FROM ATLAS_PANDA.panda_audit ORDER BY id")
    assert rows[0] == ("setPermissions", "Robot One", '{"letters": "pk"}')


def test_a_pilot_token_is_valid_for_four_days(tbuf: TaskBuffer) -> None:
    made = tbuf.makePilotToken("/CN=Pat", "sched", "wn01")
    assert (made.expires - made.created).days == 4
    assert tbuf.isPilotToken(made.token)
    assert not tbuf.isPilotToken("made up")
    rows = query(tbuf, "SELECT token, owner, schedulerID, hostName FROM ATLAS_PANDA.panda_pilot_tokens")
    assert [row[1:] for row in rows] == [("/CN=Pat", "sched", "wn01")]
    assert made.token not in rows[0][0]


def test_an_expired_token_is_refused_and_forgotten(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from pandaserver.taskbuffer.db_proxy_mods import pilot_token

    monkeypatch.setattr(pilot_token, "LIFETIME", timedelta(days=-1))
    old = tbuf.makePilotToken("/CN=Pat", "sched", None)
    assert not tbuf.isPilotToken(old.token)
    monkeypatch.undo()
    tbuf.makePilotToken("/CN=Pat", "sched", None)
    assert len(query(tbuf, "SELECT token FROM ATLAS_PANDA.panda_pilot_tokens")) == 1


def test_the_last_name_of_a_proxy_counts_until_it_ends(tbuf: TaskBuffer) -> None:
    dn, proxy = "/DC=org/CN=Jane Doe", "/DC=org/CN=Jane Doe/CN=1234/CN=proxy"
    soon, past = datetime(2099, 1, 1), datetime(2001, 1, 1)
    for name in ("old", "new"):
        tbuf.registerProxyKey(proxy, ProxyKey(name, soon, "ui", "myproxy.example"))
    tbuf.registerProxyKey("/CN=John Roe", ProxyKey("ended", past, "ui", "myproxy.example"))
    found = tbuf.getProxyKeys([dn, proxy, "/CN=John Roe", "/CN=Nobody"])
    assert found == dict.fromkeys((dn, proxy), ProxyKey("new", soon, "ui", "myproxy.example"))
    assert len(query(tbuf, "SELECT id FROM ATLAS_PANDAMETA.proxyKey")) == 2
