"""Keys that one process fetched serve the next one, and only if nobody else can have written them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pandaserver.srvcore.errors import ExternalError
from pandaserver.srvcore.key_store import KeyStore
from pandaserver.srvcore.oidc_keys import LIFETIME, OUTAGE, PAUSE, IssuerKeys
from tests.unit.oidc_fixture import DISCOVERY, Issuer

NAME = "https://iam.example.org/"


class World:
    """Processes that share an issuer, a directory and a clock."""

    def __init__(self, directory: Path) -> None:
        self.issuer = Issuer()
        self.store = KeyStore(directory, logging.getLogger("test"), lambda: self.issuer.now)

    def process(self) -> IssuerKeys:
        return IssuerKeys(self.issuer.fetch, lambda: self.issuer.now, self.store)

    @property
    def file(self) -> Path:
        [path] = self.store._directory.iterdir()
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_new_process_asks_nobody(world: World) -> None:
    world.process().find(DISCOVERY, "rsa")
    asked = world.issuer.fetched
    assert world.process().find(DISCOVERY, "rsa")[1] == NAME
    assert world.issuer.fetched == asked


def test_processes_share_what_one_of_them_learns_anew(world: World) -> None:
    first, second = world.process(), world.process()
    first.find(DISCOVERY, "rsa")
    second.find(DISCOVERY, "rsa")
    world.issuer.now += LIFETIME
    first.find(DISCOVERY, "rsa")
    asked = world.issuer.fetched
    second.find(DISCOVERY, "rsa")
    assert world.issuer.fetched == asked


def test_a_process_that_is_started_during_an_outage_has_keys_until_they_are_too_old(world: World) -> None:
    world.process().find(DISCOVERY, "rsa")
    world.issuer.down = True
    world.issuer.now += OUTAGE - PAUSE
    assert world.process().find(DISCOVERY, "rsa")[1] == NAME
    world.issuer.now += PAUSE
    with pytest.raises(ExternalError, match="cannot be had"):
        world.process().find(DISCOVERY, "rsa")


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_what_others_may_write_does_not_count(world: World, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    world.process().find(DISCOVERY, "rsa")
    world.file.chmod(mode)
    world.issuer.down = True
    with pytest.raises(ExternalError, match="cannot be had"):
        world.process().find(DISCOVERY, "rsa")
    assert "others may write it" in caplog.text


OF_ANOTHER = '{"url": "other", "issuer": "x", "jwks": {}, "fetched": 1}'


@pytest.mark.parametrize("text", ["", "[]", '{"issuer": "x"}', OF_ANOTHER])
def test_what_is_no_key_set_of_that_issuer_does_not_count(world: World, text: str) -> None:
    world.process().find(DISCOVERY, "rsa")
    world.file.write_text(text)
    asked = world.issuer.fetched
    assert world.process().find(DISCOVERY, "rsa")[1] == NAME
    assert world.issuer.fetched > asked


def test_a_link_is_not_followed(world: World, tmp_path: Path) -> None:
    world.process().find(DISCOVERY, "rsa")
    target = world.file.rename(tmp_path.parent / "elsewhere.json")
    (tmp_path / target.name).symlink_to(target)
    assert world.store.load(DISCOVERY) is None


def test_nobody_suffers_if_nothing_can_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path / "missing")
    assert world.process().find(DISCOVERY, "rsa")[1] == NAME
    assert "keys are not kept" in caplog.text
