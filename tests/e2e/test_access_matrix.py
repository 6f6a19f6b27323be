"""Certificates, proxies and attributes of VOMS at every level, and at every request that looks at whose it is.

The same rows as in ``tests/api/test_access_matrix.py``, through a real Apache: with our module, and with mod_gridsite.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.api.access_callers import FORGERY
from tests.api.access_places import PLACES, Place, rows_of
from tests.api.access_row import Row
from tests.api.access_verdicts import Found, Verdict, expected, judged
from tests.api.access_wire import sent
from tests.api.access_world import BERND, JANES_DN, OWNER_OF_PILOTS, PETRA, World, fill, lay_files
from tests.chaos.web_rig import directory
from tests.e2e.grid_credentials import Credential, attribute_certificate, proxy
from tests.e2e.grid_rig import GROUP_VO, PILOT_VO, VO, GridRig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: What Apache with our module does not let in at all: no answer, status 0. mod_gridsite lets it in, or we refuse it.
TURNED_AWAY = "turned away"


@dataclass(slots=True)
class Person:
    """A caller with a credential in a file, and one connection that is kept."""

    name: str
    kind: str
    credential: Credential | None = None
    headers: dict[str, str] = field(default_factory=dict)
    plain: bool = False  # over http
    line: http.client.HTTPConnection | None = None

    def ask(self, rig: GridRig, place: Place, row: Row, world: World) -> Found:
        """Ask, and return what became of it; status 0 if Apache does not talk to such a caller."""
        request = sent(place.route, place.door, row)
        headers = {"Content-Type": request.content_type, **self.headers}
        line = self.line = self.line or self._connection(rig)
        try:
            line.request(request.method, request.path, request.body, headers)
            reply = line.getresponse()
            status, body = reply.status, reply.read()
        except (ssl.SSLError, ConnectionError, http.client.HTTPException) as error:
            self.line, status, body = None, 0, str(error).encode()
        return Found(status, body, None, world.changes(), request.body)

    def _connection(self, rig: GridRig) -> http.client.HTTPConnection:
        if self.plain:
            return http.client.HTTPConnection("localhost", rig.options.port, timeout=30)
        context = ssl.create_default_context(cafile=str(rig.authorities))
        if self.credential is not None:
            file = rig.layout.work / "caller.pem"
            file.write_bytes(self.credential.text())
            context.load_cert_chain(file)
        return http.client.HTTPSConnection("localhost", rig.options.tls_port, context=context, timeout=30)


class AccessRig(GridRig):
    """The instance with everybody's things in it."""

    def __init__(self, home: Path, *, gridsite: bool) -> None:
        self.files = [home / "keys", home / "proxies"]
        settings: dict[str, object] = {
            "keyDir": self.files[0],
            "proxy_dir": self.files[1],
            "sandboxHostname": "cache.test",
        }
        settings["pilot_vos"] = PILOT_VO
        settings["token_cache_config"] = home / "clients.json"
        super().__init__(home, gridsite=gridsite, server=settings)

    def _write_configuration(self, connection: ConnectionSettings) -> None:
        for path in self.files:
            path.mkdir()
        super()._write_configuration(connection)

    def populate(self) -> World:
        """Store what the rows speak of; nobody has asked for anything yet that the server would remember."""
        with self.task_buffer() as tbuf:
            fill(tbuf)
        cache = self.layout.home / "cache"
        lay_files(cache, self.files[0], self.files[1], self.layout.home / "clients.json")
        self.account.give(self.layout.home)
        assert self.connection is not None
        return World(Path(self.connection.name), cache)


MEMBER = f"/{PILOT_VO}/Role=NULL/Capability=NULL", PILOT_VO

OURS, GRIDSITE = "our module", "mod_gridsite"


@pytest.fixture(scope="module", params=[OURS, GRIDSITE])
def rig(request: pytest.FixtureRequest) -> Iterator[AccessRig]:
    with directory() as home, (made := AccessRig(home / "var", gridsite=request.param == GRIDSITE)):
        yield made


@pytest.fixture(scope="module")
def world(rig: AccessRig) -> Iterator[World]:
    made = rig.populate()
    yield made
    made.close()


def _voms(rig: GridRig, owner: Credential, fqan: str, vo: str = VO, **changes: Any) -> Credential:
    """Return a proxy with an attribute, by the server and for the holder that stand in it, if they are others."""
    server: Credential = changes.pop("server", rig.voms)
    holder: Credential = changes.pop("holder", owner)
    return proxy(owner, attributes=[attribute_certificate(server, holder.certificate, vo, [fqan], **changes)])


@pytest.fixture(scope="module")
def people(rig: AccessRig) -> Iterator[list[Person]]:
    certify = rig.authority.certify
    jane, otto = certify(JANES_DN), certify("/DC=org/DC=test/CN=otto/CN=Otto Other")
    pat, paula, gina = (certify(f"/DC=org/DC=test/CN={name}") for name in ("Pat Pilot", "Paula Prod", "Gina Group"))
    bernd = certify(f"/DC=org/DC=test/CN=bernd/CN={BERND}")
    production = f"/{VO}/Role=production/Capability=NULL"
    bearer = {"Authorization": f"Bearer {rig.token('Paula Prod', f'{VO}/production')}", "Origin": f"{VO}.production"}
    found = [
        Person("anonymous", "anonymous"),
        Person("anonymous with forged headers", "anonymous", headers=FORGERY),
        Person("anonymous over http", "anonymous", plain=True),
        Person("anonymous with forged headers over http", "anonymous", headers=FORGERY, plain=True),
        Person("owner", "owner", jane),
        Person("owner by a proxy", "proxy", proxy(jane)),
        Person("owner by a proxy of a proxy", "proxy", proxy(proxy(jane))),
        Person("owner by another certificate", "twin", certify("/DC=org/O=Other/CN=jdoe/CN=Jane Doe")),
        Person("limited proxy of the owner", "limited", proxy(jane, limited=True)),
        Person("proxy of a limited proxy of the owner", "limited", proxy(proxy(jane, limited=True))),
        Person("other user", "other", otto),
        Person("other user with forged headers", "other", proxy(otto), headers=FORGERY),
        Person("user with grants", "permitted", certify(f"/DC=org/DC=test/CN={PETRA}")),
        Person("owner of pilots of a queue", "pilotowner", certify(OWNER_OF_PILOTS)),
        Person("pilot", "pilot", _voms(rig, pat, f"/{VO}/Role=pilot/Capability=NULL")),
        Person("member of a VO whose members run pilots", "pilotmember", _voms(rig, otto, *MEMBER)),
        Person("production", "production", _voms(rig, paula, production)),
        Person("production by a proxy of its proxy", "production", proxy(_voms(rig, paula, production))),
        Person("production by a token", "production", headers=bearer),
        Person("production of a working group", "group", _voms(rig, gina, "/atlas/higgs/Role=production", GROUP_VO)),
        Person("member of the VO", "other", _voms(rig, otto, f"/{VO}/Role=NULL/Capability=NULL")),
        Person("banned user", "nobody", bernd),
        Person("banned user by a proxy", "nobody", proxy(bernd)),
        Person("banned user by a limited proxy", "nobody", proxy(bernd, limited=True)),
        Person("banned user with the production role", "nobody", _voms(rig, bernd, production)),
        Person("owner with a token that is none", "nobody", jane, {"Authorization": "Bearer x.y.z", "Origin": VO}),
        Person("expired certificate", TURNED_AWAY, certify(JANES_DN, expired=True)),
        Person("proxy signed by somebody else", TURNED_AWAY, proxy(jane, forged=True)),
    ]
    # mod_gridsite takes proxies of the first generation, and OpenSSL knows none.
    found += [
        Person("owner by an old proxy", "proxy" if rig.gridsite else TURNED_AWAY, proxy(jane, legacy=True)),
        Person("old limited proxy", "limited" if rig.gridsite else TURNED_AWAY, proxy(jane, legacy=True, limited=True)),
    ]
    found += [
        Person(f"other user with {what}", "other", credential)
        for what, credential in {
            "attributes of somebody else": _voms(rig, otto, production, holder=paula),
            "attributes by an unknown server": _voms(rig, otto, production, server=certify("/DC=org/CN=evil.test")),
            "attributes that ended": _voms(rig, otto, production, expired=True),
        }.items()
    ]
    yield found
    for one in found:
        if one.line is not None:
            one.line.close()


def cells() -> Iterator[tuple[Place, list[Row]]]:
    """Yield the requests that look at whose it is, and one for each level."""
    seen = set[tuple[object, str]]()
    for place in PLACES:
        own = [row for row in rows_of(place.route) if row.who and row.shows != "access token"]  # needs an issuer
        if not own and (place.door, place.level) not in seen:
            own = rows_of(place.route)[:1]
        if own:
            seen.add((place.door, place.level))
            yield place, own


CELLS = list(cells())


def test_every_level_is_asked_for() -> None:
    assert {(place.door, place.level) for place, _ in CELLS} == {(place.door, place.level) for place in PLACES}


@pytest.mark.parametrize(("place", "rows"), CELLS, ids=[str(place) for place, _ in CELLS])
def test_a_request_does_for_each_caller_what_the_pages_say(
    rig: AccessRig, world: World, people: list[Person], place: Place, rows: list[Row]
) -> None:
    wrong = []
    for row in rows:
        for person in people:
            if not row.speaks_of(person.kind):
                continue
            found = person.ask(rig, place, row, world)
            problem = _problem(place, row, person, found)
            if problem:
                wrong.append(f"{row.what or place.name} by {person.name}: {problem}\n    {found}")
    assert not wrong, "\n".join(["", *wrong])


def _problem(place: Place, row: Row, person: Person, found: Found) -> str:
    if person.kind == TURNED_AWAY:
        if found.status == 0:
            return ""
        return judged(row, Verdict.unknown_caller, found, place.door)
    verdict = expected(row, place.level, "owner" if person.kind == "proxy" else person.kind)
    return judged(row, verdict, found, place.door)
