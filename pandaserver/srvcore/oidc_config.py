"""The files that say which tokens count: one JSON file per VO, or per VO and role."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SUFFIX: Final = "_auth_config.json"
_REQUIRED: Final = ("audience", "client_id", "oidc_config_url", "vo")


@dataclass(frozen=True, slots=True)
class Client:
    """One OIDC client that users of a VO sign in with."""

    vo: str
    role: str | None  # None: the file is for all members
    fallback: str  # VO, perhaps with a role, for requests that name none
    client_id: str
    audience: str
    config_url: str
    secondary_ids: frozenset[str] = frozenset()
    robot_ids: frozenset[str] = frozenset()
    group_claim: str = "groups"
    auto_roles: tuple[str, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """Client identifiers by which a token may show that it belongs here."""
        return self.secondary_ids | self.robot_ids | {self.client_id}

    @property
    def audiences(self) -> frozenset[str]:
        """Values one of which a token's ``aud`` must contain."""
        return self.secondary_ids | {self.client_id, self.audience}


@dataclass(frozen=True, slots=True)
class Policy:
    """Members of a group in the token act with this role."""

    group: str  # as it stands in the token
    role: str


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """All clients, and for each VO its policies in the order in which they are tried."""

    clients: tuple[Client, ...]
    policies: Mapping[str, tuple[Policy, ...]]


def split_vo(name: str) -> tuple[str, str | None]:
    """Return VO and role of ``vo``, ``vo:role`` or ``vo.role``. A VO that begins with ``vo.`` keeps its dots."""
    vo, colon, role = name.partition(":")
    if not colon and not name.startswith("vo."):
        head, dot, tail = name.rpartition(".")
        vo, role = (head, tail) if dot else (name, "")
    return vo, role or None


def load_auth_config(directory: Path, policy_file: Path | None, logger: logging.Logger) -> AuthConfig:
    """Read all files of the directory. A bad one is logged and left out; the others stay in force."""
    clients: list[Client] = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            clients.append(_client(path.name.removesuffix(SUFFIX), json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, TypeError) as problem:
            logger.error("%s is skipped, so its tokens are refused: %s", path, problem)
    if not clients:
        logger.warning("no usable *%s in %s: every token is refused", SUFFIX, directory)
    clients.sort(key=lambda client: client.role is not None)  # members before roles, where the first match wins
    policies = _derived(clients)
    if policy_file is not None:
        try:
            policies |= _explicit(json.loads(policy_file.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as problem:
            logger.error("%s is skipped, the names of the files in %s decide: %s", policy_file, directory, problem)
    return AuthConfig(tuple(clients), policies)


def _client(name: str, content: Any) -> Client:
    if not isinstance(content, dict):
        raise ValueError("it must contain a JSON object")
    missing = [key for key in _REQUIRED if not isinstance(content.get(key), str) or not content[key]]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be text")
    vo, role = split_vo(name)
    return Client(
        vo=vo,
        role=role,
        fallback=content["vo"],
        client_id=content["client_id"],
        audience=content["audience"],
        config_url=content["oidc_config_url"],
        secondary_ids=frozenset(_words(content.get("secondary_ids"))),
        robot_ids=frozenset(_words(content.get("robot_ids"))),
        group_claim="wlcg.groups" if content.get("jwt_profile") == "wlcg" else "groups",
        auto_roles=tuple(_words(content.get("auto_roles"))),
    )


def _words(value: Any) -> list[str]:
    """Return the words of a list or of a comma list."""
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{value!r} must be a list of texts")
    return [word.strip() for word in words if word.strip()]


def _derived(clients: Iterable[Client]) -> dict[str, tuple[Policy, ...]]:
    policies: dict[str, tuple[Policy, ...]] = {}
    for client in clients:
        # The group that lets somebody in is the VO itself; with a role in the name of the file, it stands for it.
        policies[client.vo] = (*policies.get(client.vo, ()), Policy(client.vo, client.role or "user"))
    return policies


def _explicit(content: Any) -> dict[str, tuple[Policy, ...]]:
    if not isinstance(content, dict):
        raise ValueError("it must contain a JSON object")
    try:
        return {vo: tuple(Policy(group, what["role"]) for group, what in rows) for vo, rows in content.items()}
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"each VO must have a list of [group, {{group, role}}]: {problem!r}") from problem
