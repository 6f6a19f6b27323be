"""What a database connection and the operations on it need to know; it reaches the child in the first frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Canonical schema prefix -> name of the setting that maps it.
SCHEMA_SETTINGS: Final[dict[str, str]] = {
    "ATLAS_PANDA": "schemaPANDA",
    "ATLAS_PANDAARCH": "schemaPANDAARCH",
    "ATLAS_PANDAMETA": "schemaMETA",
    "ATLAS_DEFT": "schemaDEFT",
}

DEFAULT_SCHEMAS: Final[dict[str, str]] = {name: name for name in SCHEMA_SETTINGS}


class Secret(str):
    """Text whose printed form hides it, so that it cannot reach a log by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"

    __str__ = __repr__

    def reveal(self) -> str:
        """Return the text itself."""
        return str.__str__(self)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reveal(),)


NO_PASSWORD: Final = Secret("")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where the database is and how long one call may take. ``backend`` is sqlite, postgres, mysql or oracle."""

    backend: str
    name: str  # database; the path of the file for sqlite; the service name or DSN alias for oracle
    host: str = ""
    port: int = 0  # 0: the driver's default
    user: str = ""
    password: Secret = NO_PASSWORD
    schemas: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_SCHEMAS))
    timeout: float = 60.0  # seconds that one call may take at most
    dump_sql: bool = False


@dataclass(frozen=True, slots=True)
class OperationSettings:
    """Values of the configuration that operations consult; the same for every call of a process."""

    hostname: str = "localhost"  # this machine, written as modificationHost and history host
    record_statuschange: bool = True  # write JOBS_STATUSLOG
    push_messages: bool = False  # write outgoing message rows for jobs that ask for it
    mail_users: bool = False  # write outgoing message rows for users whose jobs end
    pilot_secrets_owner: str = "pilot secrets"
    sandbox_hostname: str = ""
    main_vo: str = "atlas"  # VO of jobs whose owner names none
