"""The configuration files of a development instance: what differs from the defaults, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, Secret
from pandaserver.testing.account import Account
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.layout import Layout

_BACKENDS: Final = {"postgresql": "postgres", "postgres": "postgres", "mysql": "mysql", "mariadb": "mysql"}


def write(
    layout: Layout,
    account: Account,
    connection: ConnectionSettings,
    *,
    host: str,
    port: int,
    tls_port: int,
    daemons: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write ``panda_server.cfg`` and ``panda_common.cfg``. They hold a password, so they are the account's alone."""
    server = {
        "logdir": layout.log,
        "cache_dir": layout.cache,
        "schedconfig_dir": layout.schedconfig,
        "metrics_dir": layout.metrics,
        "backend": connection.backend,
        "dbhost": connection.host,
        "dbport": connection.port,
        "dbuser": connection.user,
        "dbpasswd": connection.password.reveal(),
        "dbname": connection.name,
        "pserverhost": host,
        "pserverport": tls_port,
        "pserverporthttp": port,
        "main_vo": VO,
        "token_authType": "oidc",
        "auth_config": layout.auth,
    }
    daemon = {
        "enable": True,
        "uname": account.user,
        "gname": account.group,
        "package": "pandaserver.daemons.scripts",
        "n_proc": 2,
        "stop_timeout": 10,
        "config": json.dumps(daemons, indent=2).replace("\n", "\n    "),
    }
    logger = {"logdir": layout.log, "log_level": "DEBUG"}
    _write_sections(layout, "panda_server.cfg", {"server": server, "daemon": daemon})
    _write_sections(layout, "panda_common.cfg", {"logger": logger})


def _write_sections(layout: Layout, name: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {str(value).replace('%', '%%')}" for key, value in values.items()), ""]
    path = layout.etc / name
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines))


def connection_of_url(url: str) -> ConnectionSettings:
    """Read ``postgresql://user:password@host:port/name`` (also mysql, mariadb) or ``sqlite:///path``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return ConnectionSettings(backend="sqlite", name=f"/{unquote(parts.path).lstrip('/')}")
    if parts.scheme not in _BACKENDS or not parts.path.strip("/"):
        raise ValueError("DB_URL is none of postgresql|mysql|mariadb://USER:PASSWORD@HOST:PORT/NAME, sqlite:///PATH")
    return ConnectionSettings(
        backend=_BACKENDS[parts.scheme],
        name=unquote(parts.path.strip("/")),
        host=parts.hostname or "localhost",
        port=parts.port or 0,
        user=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
    )
