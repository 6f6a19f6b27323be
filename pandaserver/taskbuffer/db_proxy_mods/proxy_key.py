"""Names of credentials that users have left with a MyProxy server, for pilots that fetch proxies there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.srvcore.principal import bare_dn
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Longest texts that the columns take.
DN_LIMIT: Final = 100
NAME_LIMIT: Final = 40
HOST_LIMIT: Final = 80

FORGET_KEY: Final = "DELETE FROM ATLAS_PANDAMETA.proxyKey WHERE DN = :dn"

VALID_KEYS: Final = """
    SELECT DN, credName, expires, origin, myProxy FROM ATLAS_PANDAMETA.proxyKey
    WHERE DN IN (:dns[]) AND expires > CURRENT_TIMESTAMP
    ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class ProxyKey:
    """Where the proxy of a user can be had, and under which name."""

    credname: str
    expires: datetime  # UTC
    origin: str
    myproxy: str


@operation(timeout=30)
def register_proxy_key(tx: Transaction, dn: str, key: ProxyKey) -> None:
    """Keep the name of a user's credential, in place of an earlier one."""
    owner = _owner(dn)
    tx.change(FORGET_KEY, dn=owner)
    row = {
        "id": tx.next_ids("ATLAS_PANDAMETA.PROXYKEY_ID_SEQ", 1)[0],
        "DN": owner,
        "credName": key.credname,
        "created": tx.now(),
        "expires": key.expires,
        "origin": key.origin,
        "myProxy": key.myproxy,
    }
    tx.insert("ATLAS_PANDAMETA.proxyKey", [row])


@operation(timeout=30, repeatable=True)
def get_proxy_keys(tx: Transaction, dns: list[str]) -> dict[str, ProxyKey]:
    """Return by DN what was registered last and is still valid; a DN without it is left out."""
    owners = {dn: _owner(dn) for dn in dns}
    found = {dn: ProxyKey(*rest) for dn, *rest in tx.rows(VALID_KEYS, dns=sorted(set(owners.values())))}
    return {dn: found[owner] for dn, owner in owners.items() if owner in found}


def _owner(dn: str) -> str:
    return bare_dn(dn, keep_proxy=False, strip_digits=True)[:DN_LIMIT]
