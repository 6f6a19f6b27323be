"""A server for the stock client, and users of each release of it with each kind of credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pandaserver.testing import sample_job
from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.testing.stock_client import ClientJob, Outcome, StockClient
from pandaserver.testing.stock_client_release import FORMER, NEWEST, Release, fetched
from tests.e2e.device_issuer import DeviceIssuer
from tests.e2e.grid_credentials import Credential, attribute_certificate, proxy
from tests.e2e.grid_rig import VO, GridRig

#: The VO whose members have tokens.
TOKEN_VO: Final = "tokenvo"

CERTIFICATE, TOKEN = "certificate", "token"
WITHOUT_CURL: Final = "without curl"
COMBINATIONS: Final = [(release, kind) for release in (NEWEST, FORMER) for kind in (CERTIFICATE, TOKEN)]

_LINES: Final = {NEWEST: "newest", FORMER: "former"}


class ClientRig(GridRig):
    """A server that takes certificates and proxies of the grid, and tokens of an issuer elsewhere."""

    issuer: DeviceIssuer

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        #: For what must not be there twice.
        self.numbers = count(1)

    def environment(self) -> dict[str, str]:
        return super().environment() | {"SSL_CERT_FILE": str(self.authorities)}

    def _write_credentials(self) -> None:
        super()._write_credentials()
        groups = [TOKEN_VO, f"{TOKEN_VO}/production"]
        self.issuer = DeviceIssuer("panda-client", groups, DevelopmentCA(self.layout.ca), self.layout.issuer)
        self._stack.enter_context(self.issuer)
        for name in (TOKEN_VO, f"{TOKEN_VO}.production"):
            (self.layout.auth / f"{name}_auth_config.json").write_text(json.dumps(self.issuer.entry(name)))
        sample_job.publish_scripts(self.layout.trf / "user")


@dataclass(frozen=True)
class User:
    """Somebody with a release of the client. ``production`` is what the role takes: more of the environment."""

    rig: ClientRig
    release: Release
    kind: str
    name: str
    client: StockClient
    production: Mapping[str, str]
    directory: Path  # of one's own
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def speaks_v1(self) -> bool:
        return self.release.version == NEWEST

    @property
    def nickname(self) -> str:
        """What the VO calls this user."""
        return self.name.lower().replace(" ", "")

    @cached_property
    def functions(self) -> set[str]:
        """What this release offers."""
        return set(self.client.functions())

    def call(self, function: str, *arguments: Any, as_production: bool = False, **keywords: Any) -> Outcome:
        """Call a function of the library and return how it ended, which must not be with a traceback."""
        environment = self.production if as_production else {}
        outcome = self.client.call(function, *arguments, environment=environment, **keywords)
        assert not outcome.raised, outcome.raised
        assert "Traceback" not in outcome.printed, outcome.printed
        return outcome

    def ask(self, function: str, *arguments: Any, as_production: bool = False, **keywords: Any) -> Any:
        """Call a function that must go well, and return its data."""
        outcome = self.call(function, *arguments, as_production=as_production, **keywords)
        assert isinstance(outcome.returned, list), outcome
        assert outcome.returned[0] == 0, outcome
        return outcome.returned[1]

    def new_job(self, **attributes: Any) -> ClientJob:
        """Return a job to submit."""
        base = f"{self.rig.http}/trf/user"
        return {**sample_job.counting_job(base, 1, tag=uuid4().hex[:8], with_input=False), **attributes}

    def submitted(self, **attributes: Any) -> int:
        """Submit a job and return its PandaID."""
        return int(self.ask("submitJobs", {"jobs": [self.new_job(**attributes)]})[0][0])


class Users:
    """Everybody who was there already, by release and kind of credentials."""

    def __init__(self, rig: ClientRig, directory: Path) -> None:
        self.rig, self._directory = rig, directory
        self._known: dict[tuple[str, str], User] = {}

    def of(self, version: str, kind: str) -> User:
        """Return the user of that release with that kind of credentials; one with a token signs in now."""
        if (version, kind) not in self._known:
            self._known[version, kind] = self._new(version, kind, f"{kind} {_LINES[version]}".title())
        return self._known[version, kind]

    def without_curl(self) -> User:
        """Return a user of the former release where the library is told not to run curl, but to use Python's own."""
        if (FORMER, WITHOUT_CURL) not in self._known:
            user = self._new(FORMER, TOKEN, "Python Only", PANDA_USE_NATIVE_HTTPLIB="1")
            self._known[FORMER, WITHOUT_CURL] = user
        return self._known[FORMER, WITHOUT_CURL]

    def close(self) -> None:
        """End their processes."""
        for user in self._known.values():
            user.client.close()

    def _new(self, version: str, kind: str, name: str, **variables: str) -> User:
        release = fetched(version)
        home = self._directory / name.replace(" ", "-")
        home.mkdir()
        variables |= {"PANDA_CONFIG_ROOT": str(home / "config"), "HOME": str(home), "TMPDIR": str(home)}
        (home / "config").mkdir()
        if kind == CERTIFICATE:
            owner = self.rig.authority.certify(f"/DC=org/DC=test/CN={name}")
            production = {"X509_USER_PROXY": str(written(home / "proxy", self.with_role(owner, "production")))}
            production["PANDA_AUTH"] = "x509"
            certificate = written(home / "certificate.pem", owner)
            client = StockClient(self.rig, certificate=certificate, python=release.python, variables=variables)
            plain = {"X509_USER_PROXY": str(written(home / "plain-proxy", proxy(owner))), "PANDA_AUTH": "x509"}
            return User(self.rig, release, kind, name, client, production, home, {"proxy": plain})
        client = StockClient(self.rig, origin=TOKEN_VO, python=release.python, variables=variables)
        user = User(self.rig, release, kind, name, client, {"PANDA_AUTH_VO": f"{TOKEN_VO}.production"}, home)
        self.rig.issuer.user = name
        user.call("hello")
        return user

    def with_role(self, owner: Credential, role: str) -> Credential:
        """Return a proxy with a role in the VO."""
        fqan = f"/{VO}/Role={role}/Capability=NULL"
        attributes = attribute_certificate(self.rig.voms, owner.certificate, VO, [fqan])
        return proxy(owner, attributes=[attributes])


def written(path: Path, credential: Credential) -> Path:
    """Write a credential as clients expect it: nobody else can read it."""
    path.touch(mode=0o600)
    path.write_bytes(credential.text())
    return path
