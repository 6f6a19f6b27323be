"""Keys of token issuers in files: what one process has fetched serves the others, and those that are started later."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandaserver.srvcore.oidc_keys import MAX_DOCUMENT


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """The name of an issuer, its keys by number, and how many seconds ago it gave them."""

    issuer: str
    jwks: dict[str, dict[str, Any]]
    age: float


class KeyStore:
    """One file for each issuer, in a directory that only the service account can write into.

    A server that is restarted while an issuer is away goes on with what it knew. Files of other accounts, and those
    that others may write, are passed over. What cannot be kept is logged, and fails nobody's request.
    """

    def __init__(self, directory: Path, logger: logging.Logger, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._logger = logger
        self._clock = clock

    def load(self, config_url: str) -> KeptKeys | None:
        """Return what is kept of the issuer with that discovery document, if anything is."""
        try:
            found = json.loads(_read_own(self._path(config_url)))
            kept = KeptKeys(found["issuer"], found["jwks"], self._clock() - found["fetched"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            self._logger.warning(f"keys that were kept are not used issuer={config_url} reason={problem}")
            return None
        return kept if found["url"] == config_url and kept.age >= 0 else None

    def save(self, config_url: str, issuer: str, jwks: dict[str, dict[str, Any]]) -> None:
        """Keep what an issuer has just said."""
        content = {"url": config_url, "issuer": issuer, "jwks": jwks, "fetched": self._clock()}
        path = self._path(config_url)
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._directory, prefix=f".{path.name}.", delete=False) as file:
                json.dump(content, file)
            Path(file.name).replace(path)
        except OSError as problem:
            self._logger.warning(f"keys are not kept issuer={config_url} reason={problem}")

    def _path(self, config_url: str) -> Path:
        return self._directory / f"oidc_keys_{hashlib.sha256(config_url.encode()).hexdigest()[:32]}.json"


def _read_own(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{path} belongs to another account, or others may write it")
        return file.read(2 * MAX_DOCUMENT)
