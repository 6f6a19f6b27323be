"""Who calls in tests, and fakes of what the application is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pandaserver.srvcore.access_tokens import AccessTokens

#: Environments of requests, as the web server would make them. Use as ``client.post(url, environ_overrides=USER)``.
USER = {"SSL_CLIENT_S_DN": "/DC=org/CN=Jane Doe"}
LIMITED = {"SSL_CLIENT_S_DN": "/DC=org/CN=Jane Doe/CN=limited proxy"}
PILOT = {"SSL_CLIENT_S_DN": "/DC=org/CN=Pat Pilot", "GRST_CRED_AUTH_TOKEN_0": "VOMS /testvo/Role=pilot"}
PRODUCTION = {"SSL_CLIENT_S_DN": "/DC=org/CN=Paula Prod", "GRST_CRED_AUTH_TOKEN_0": "VOMS /testvo/Role=production"}


class FakeTaskBuffer:
    """Every method returns what ``answers`` has for it, or raises it if it is an exception; nobody is banned."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {"getBannedUsers": frozenset()} | answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.limits: list[float] = []

    def within(self, seconds: float) -> FakeTaskBuffer:
        self.limits.append(seconds)
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

        return call

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args, _ in self.calls if called == name]


class FakeServices:
    """Remembers which jobs the Setupper was told about."""

    def __init__(self) -> None:
        self.nudged: list[int] = []
        self.setupper_plugins: Mapping[str, type[Any]] = {}
        self.access_tokens = AccessTokens(None)

    def nudge_setupper(self, ids: Sequence[int]) -> None:
        self.nudged.extend(ids)
