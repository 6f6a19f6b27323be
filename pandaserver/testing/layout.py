"""Where everything of one instance lies: one directory, nothing outside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: A path of a Unix socket has 107 characters; the longest name that we or a database append has this many.
_SOCKET_NAME: Final = len("/db/postgresql/.s.PGSQL.65535")
_LONGEST: Final = 107 - _SOCKET_NAME


@dataclass(frozen=True, slots=True)
class Layout:
    """The directory of an instance. ``home`` is its PANDA_HOME."""

    home: Path

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.home / "etc" / "panda"

    @property
    def auth(self) -> Path:
        """What the token issuer publishes; served as /auth/."""
        return self.home / "auth"

    @property
    def ca(self) -> Path:
        """The development CA."""
        return self.home / "ca"

    @property
    def issuer(self) -> Path:
        """The private key of the token issuer."""
        return self.home / "issuer"

    @property
    def hostcert(self) -> Path:
        """Certificate of https."""
        return self.ca / "hostcert.pem"

    @property
    def hostkey(self) -> Path:
        """Key of https."""
        return self.ca / "hostkey.pem"

    @property
    def log(self) -> Path:
        """All logs."""
        return self.home / "log"

    @property
    def run(self) -> Path:
        """Sockets and pid files."""
        return self.home / "run"

    @property
    def cache(self) -> Path:
        """Uploaded files; served as /cache/."""
        return self.home / "cache"

    @property
    def schedconfig(self) -> Path:
        """Queues as pilots read them; served as /cache/schedconfig/."""
        return self.home / "schedconfig"

    @property
    def cric(self) -> Path:
        """Snapshots of site data; served as /cric/."""
        return self.home / "cric"

    @property
    def trf(self) -> Path:
        """Payload scripts; served as /trf/."""
        return self.home / "trf"

    @property
    def database(self) -> Path:
        """The SQLite file, or the data directory of a database server."""
        return self.home / "db"

    @property
    def metrics(self) -> Path:
        """What the web processes count."""
        return self.home / "metrics"

    @property
    def work(self) -> Path:
        """Home and working directory of the service account; pilots work below it."""
        return self.home / "work"

    @property
    def facts(self) -> Path:
        """What other commands need to know about the instance."""
        return self.home / "instance.json"

    @property
    def lock(self) -> Path:
        """Held while the instance runs."""
        return self.home / "instance.lock"

    def create(self) -> None:
        """Make the directories, or say why that is impossible."""
        if len(str(self.home)) > _LONGEST:
            raise ValueError(f"{self.home} is too long for the sockets below it: at most {_LONGEST} characters (DIR)")
        for directory in (
            self.etc,
            self.auth,
            self.ca,
            self.issuer,
            self.log,
            self.run,
            self.cache / "jedilog",
            self.schedconfig,
            self.cric,
            self.trf,
            self.database,
            self.metrics,
            self.work,
        ):
            directory.mkdir(parents=True, exist_ok=True)
        for private in (self.issuer, self.database, self.etc):  # key, data, the password of the database
            private.chmod(0o700)
