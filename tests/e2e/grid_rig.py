"""An instance that trusts a CA and a VOMS server of the grid, and callers with certificates of theirs."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from pandaserver.deployment import httpd_modules
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing import apache
from tests.chaos.web_rig import Answer, Rig
from tests.e2e.grid_credentials import Authority, Credential, dn

VO = "testvo"
GROUP_VO = "atlas"  # the one whose working groups act for their members
PILOT_VO = "pilotsvo"  # all of whose members may run pilots, where a test says so


class GridRig(Rig):
    """Apache with our module for proxies, or with mod_gridsite in its place; ``server`` are further settings."""

    def __init__(self, directory: Path, *, gridsite: bool = False, server: Mapping[str, object] | None = None) -> None:
        self.authority = Authority()
        self.voms = self.authority.certify("/DC=org/DC=test/CN=voms.test")
        self.gridsite = gridsite
        self._vomsdir = directory / "vomsdir"
        certificates = directory / "ca" / "certificates"
        trusted = {"vomsdir": self._vomsdir, "ca_certificates": certificates}
        super().__init__(directory, "sqlite", daemon=False, server={**trusted, **(server or {})})

    def _write_credentials(self) -> None:
        super()._write_credentials()
        for vo in (VO, GROUP_VO, PILOT_VO):
            lsc = self._vomsdir / vo / "voms.test.lsc"
            lsc.parent.mkdir(parents=True, exist_ok=True)
            lsc.write_text(f"{dn(self.voms.certificate.subject)}\n{dn(self.authority.certificate.subject)}\n")
        text = self.authority.certificate.public_bytes(serialization.Encoding.PEM)
        command = ["openssl", "x509", "-noout", "-subject_hash"]
        name = subprocess.run(command, input=text, check=True, capture_output=True).stdout.decode().strip()
        (self.layout.ca / "certificates" / f"{name}.0").write_bytes(text)

    def _write_configuration(self, connection: ConnectionSettings) -> None:
        module = httpd_modules.build(httpd_modules.PROXIES, self.layout.home / "modules") if not self.gridsite else None
        super()._write_configuration(connection)
        apache.configure(self.layout, self.account, module, gridsite=self.gridsite)
        self.account.give(self.layout.home)

    def ask_with(self, credential: Credential, path: str = "/server/panda/getAttr", **headers: str) -> Answer:
        """Ask over https with a certificate; status 0 if Apache refuses it."""
        file = self.layout.work / "credential.pem"
        file.write_bytes(credential.text())
        context = ssl.create_default_context(cafile=str(self.authorities))
        context.load_cert_chain(file)
        line = http.client.HTTPSConnection("localhost", self.options.tls_port, context=context, timeout=30)
        try:
            line.request("GET", path, headers=headers)
            reply = line.getresponse()
            return Answer(reply.status, reply.read().decode())
        except (ssl.SSLError, ConnectionError) as error:
            return Answer(0, str(error))
        finally:
            line.close()
