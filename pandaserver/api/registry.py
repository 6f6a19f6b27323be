"""Requests: declared once, where they are implemented, and found by their path.

A declaration is the route, the access rule, the parameters, the encoding and the documentation of a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from pandaserver.api.answering import Encoder, Response, answer_error, envelope_answer
from pandaserver.api.casting import Upload
from pandaserver.api.parameters import (
    AlsoText,
    AtLeast,
    AtMost,
    Door,
    Lenient,
    MaxLength,
    Signature,
    Wire,
    comma_separated,
    words,
)
from pandaserver.srvcore.errors import (
    Forbidden,
    KeyReused,
    NotAuthenticated,
    PandaError,
    RequestError,
    StillAtWork,
    TooManyRequests,
)
from pandaserver.srvcore.principal import Principal

if TYPE_CHECKING:
    from pandaserver.config.settings import ServerSettings
    from pandaserver.srvcore.access_tokens import AccessTokens
    from pandaserver.taskbuffer.SiteSpec import SiteSpec
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

__all__ = [
    "AlsoText",
    "AtLeast",
    "AtMost",
    "Auth",
    "Call",
    "Door",
    "Lenient",
    "MaxLength",
    "Registry",
    "Route",
    "Upload",
    "Wire",
    "comma_separated",
    "request",
    "words",
]


class Auth(Enum):
    """Who may call a request. There is no default: every request states one."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"  # has a DN
    USER = "user"  # has a DN, not of a limited proxy
    PILOT = "pilot"  # pilot or production role
    PRODUCTION = "production"  # production role, no limited proxy


class Sites(Protocol):
    """What handlers ask about queues; ``SiteMapper`` is one."""

    @property
    def sites(self) -> Mapping[str, SiteSpec]:
        """All queues by name."""

    def get(self, name: str | None) -> SiteSpec:
        """Return a queue, or the default one for an unknown name."""

    def check(self, name: str | None) -> bool:
        """Return whether there is such a queue."""


class Services(Protocol):
    """What the entry point made for handlers besides the task buffer."""

    @property
    def setupper_plugins(self) -> Mapping[str, type[Any]]:
        """Setupper plug-in class by VO, "any" for the rest, as the configuration names them."""

    @property
    def access_tokens(self) -> AccessTokens:
        """Access tokens of the clients of this server."""

    def nudge_setupper(self, ids: Sequence[int]) -> None:
        """Tell the Setupper child of this process about new jobs. Only a hint: losing it costs a delay."""


@dataclass(slots=True)
class Call:
    """One request while it is being served: who asks, through which door, and what the handler may use."""

    task_buffer: TaskBuffer
    sites: Sites
    settings: ServerSettings
    principal: Principal
    door: Door
    services: Services
    accepts_json: bool = False
    remote_host: str = ""
    deadline: float = 0.0  # instant of the monotonic clock
    request_id: str = ""
    content_length: int = 0  # bytes of the body as the client sent it
    environ: Mapping[str, Any] = field(default_factory=dict)

    def remaining(self) -> float:
        """Return the seconds until the deadline, never less than zero."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class Route:
    """One request as declared."""

    handler: Callable[..., Any]
    v1: str | None  # module/method
    legacy: str | None
    method: Literal["GET", "POST", "ANY"]  # at v1; the historical door takes both
    auth: Auth
    auth_v1: Auth
    answer: Encoder
    signature: Signature
    body_limit: Callable[[ServerSettings], int] | None  # bytes of an upload; None: as for sandboxes
    refused: Callable[[str], Any] | None  # message -> what the historical door answers to Forbidden
    failed: Callable[[str], Any] | None  # message -> what it answers to any other RequestError
    failed_v1: Callable[[str], Any] | None  # the same at v1
    needs_database: bool  # whether it is pointless to serve without one
    heavy: bool = False  # whether only so many of its kind are served at once
    takes_upload: bool = field(init=False)  # whether a file comes with the request

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_upload", any(Upload in p.kind.bases for p in self.signature.parameters))

    def auth_at(self, door: Door) -> Auth:
        """Return the access rule of one door."""
        return self.auth_v1 if door is Door.V1 else self.auth

    def encoder_at(self, door: Door) -> Encoder:
        """Return how one door's replies are written."""
        return envelope_answer if door is Door.V1 else self.answer

    @property
    def doc(self) -> str:
        """The handler's documentation."""
        return self.handler.__doc__ or ""

    def answer_error(self, error: PandaError, door: Door, accepts_json: bool) -> Response:
        """Return the reply to an error that was raised on purpose."""
        if door is Door.LEGACY:
            own = self.refused if isinstance(error, Forbidden) else self.failed
        else:
            own = None if isinstance(error, Forbidden) else self.failed_v1
        if own is not None and isinstance(error, RequestError) and not isinstance(error, _SAME_FOR_ALL):
            return self.encoder_at(door).result(own(error.message), accepts_json)
        return answer_error(error, self.encoder_at(door), accepts_json)


#: Errors about callers and keys: no method has words of its own for them.
_SAME_FOR_ALL: Final = NotAuthenticated | TooManyRequests | KeyReused | StillAtWork

F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """All requests by path."""

    def __init__(self) -> None:
        self._routes: dict[tuple[Door, str], Route] = {}

    def request(
        self,
        *,
        v1: str | None,
        legacy: str | None,
        method: Literal["GET", "POST", "ANY"],
        auth: Auth,
        answer: Encoder | None = None,
        auth_v1: Auth | None = None,
        body_limit: Callable[[ServerSettings], int] | None = None,
        refused: Callable[[str], Any] | None = None,
        failed: Callable[[str], Any] | None = None,
        failed_v1: Callable[[str], Any] | None = None,
        needs_database: bool = True,
        heavy: bool = False,
    ) -> Callable[[F], F]:
        """Register the decorated handler under its paths.

        ``auth`` holds at both doors unless ``auth_v1`` differs. ``answer`` writes the historical reply; ``refused`` and
        ``failed`` make that reply's value from an error's message, where the historical method has one of its own, and
        ``failed_v1`` where clients of v1 look for more than a message.
        ``body_limit`` picks the setting that limits an upload, or the body of a request that may be a large one. A
        request that states ``needs_database=False`` is served while the database is down. Of ``heavy`` ones a machine
        serves so many at once as the configuration says.
        """
        if legacy is not None and answer is None:
            raise ValueError(f"{legacy} needs an answer for the historical door")

        def register(handler: F) -> F:
            route = Route(
                handler=handler,
                v1=v1,
                legacy=legacy,
                method=method,
                auth=auth,
                auth_v1=auth_v1 or auth,
                answer=answer or envelope_answer,
                signature=Signature(handler),
                body_limit=body_limit,
                refused=refused,
                failed=failed,
                failed_v1=failed_v1,
                needs_database=needs_database,
                heavy=heavy,
            )
            for door, path in ((Door.V1, v1), (Door.LEGACY, legacy)):
                if path is not None:
                    self._add(door, path, route)
            return handler

        return register

    def _add(self, door: Door, path: str, route: Route) -> None:
        taken = self._routes.setdefault((door, path), route)
        if taken is not route:
            names = [f"{r.handler.__module__}.{r.handler.__qualname__}" for r in (taken, route)]
            raise ValueError(f"{path} is declared twice: by {names[0]} and {names[1]}")

    def find(self, door: Door, path: str) -> Route | None:
        """Return the request with that path at that door, if there is one."""
        return self._routes.get((door, path))

    def __iter__(self) -> Iterator[Route]:
        """Return the requests in the order of their declaration, each once."""
        return iter(dict.fromkeys(self._routes.values()))


#: The requests of this server. A request registers when its module is imported.
REGISTRY: Final = Registry()
request = REGISTRY.request

LEGACY_PREFIX: Final = "/server/panda/"
V1_PREFIXES: Final = ("/api/v1/", "/api/latest/")

#: What harvesters add to the address of a job's server, without a door.
_AT_THE_ROOT: Final = ("/file_server/upload_hpo_checkpoint", "/file_server/delete_hpo_checkpoint")


def locate(path: str) -> tuple[Door, str] | None:
    """Return the door and the name that a path (SCRIPT_NAME + PATH_INFO) addresses; other paths are nobody's."""
    if path.startswith(LEGACY_PREFIX):
        return Door.LEGACY, path.rpartition("/")[2]
    for prefix in V1_PREFIXES:
        if path.startswith(prefix):
            return Door.V1, path.removeprefix(prefix)
    return (Door.V1, path.removeprefix("/")) if path in _AT_THE_ROOT else None


def authorise(route: Route, door: Door, principal: Principal) -> None:
    """Refuse a caller whom the access rule does not admit. Rules about ownership are the operations' own."""
    rule = route.auth_at(door)
    if rule is Auth.ANYONE:
        return
    if principal.is_anonymous:
        raise Forbidden("SSL secure connection is required", status_code=60)
    if principal.is_limited and (rule in (Auth.USER, Auth.PRODUCTION) or door is Door.V1):
        raise Forbidden("SSL secure connection is required: a limited proxy is not enough", status_code=60)
    if rule is Auth.PILOT and not principal.may_run_pilots:
        raise Forbidden("no production/pilot role in VOMS FQANs or non pilot owner", status_code=60)
    if rule is Auth.PRODUCTION and not principal.has_production_role:
        raise Forbidden("production role is required", status_code=60)


def largest_body(settings: ServerSettings) -> int:
    """Return the limit of requests that carry many jobs or reports, for ``body_limit``."""
    return settings.max_request_body


def refuse_anonymous_readers(call: Call) -> None:
    """Refuse callers without credentials who look at jobs, where the configuration asks for some."""
    if call.principal.is_anonymous and not call.settings.anonymous_reads:
        raise Forbidden("SSL secure connection is required", status_code=60)
