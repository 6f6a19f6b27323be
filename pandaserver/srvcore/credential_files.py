"""Key pairs and delegated proxies as files that an operator, or a service beside this one, keeps in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote

from pandaserver.srvcore.errors import NotFound
from pandaserver.srvcore.principal import bare_dn

#: Bytes that such a file may have; keys and proxies have a few thousand.
LARGEST: Final = 2**20

_LONGEST_NAME: Final = 255  # bytes, as file systems count

#: Characters of a DN that its file name keeps.
_KEPT: Final = " =,:@()"


def read_key(directory: Path | None, name: str) -> str:
    """Return the key in the file of that name; directories in the name do not count. NotFound: there is none."""
    if directory is None:
        raise NotFound("this server has no key pairs: keyDir is not set")
    base = name.rpartition("/")[2]
    if not base or base.startswith(".") or "\0" in base or len(base.encode(errors="replace")) > _LONGEST_NAME:
        raise NotFound(f"{base[:100]!r} is no name of a key")
    return _content(directory / base, f"key {base}")


def read_proxy(directory: Path | None, dn: str, role: str) -> str:
    """Return the delegated proxy of that identity and VOMS role ("" for none) in PEM. NotFound: there is none."""
    if directory is None:
        raise NotFound("this server has no delegated proxies: proxy_dir is not set")
    what = f"proxy of {dn}" + (f" with role {role}" if role else "")
    name = proxy_name(dn, role)
    if len(name) > _LONGEST_NAME:
        raise NotFound(f"there is no {what}")
    return _content(directory / name, what)


def proxy_name(dn: str, role: str) -> str:
    """Return the name of the file with a proxy: DN without marks of proxies, ``+role`` if any, ``.pem``, %-quoted."""
    owner = quote(bare_dn(dn, keep_proxy=False, strip_digits=True), safe=_KEPT)
    return f"{owner}+{quote(role, safe=_KEPT)}.pem" if role else f"{owner}.pem"


def _content(path: Path, what: str) -> str:
    try:
        if not path.is_file():
            raise NotFound(f"there is no {what}")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if not data or len(data) > LARGEST:
            raise NotFound(f"the file of {what} is empty or larger than {LARGEST} bytes")
        return data.decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise NotFound(
            f"the file of {what} cannot be read: {getattr(problem, 'strerror', None) or 'not text'}"
        ) from problem
