"""The WSGI application: route, authenticate, read, bind, call, encode, log. It knows no request by name."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from pandacommon.pandalogger import context
from pandaserver.api.answering import (
    Response,
    answer_bug,
    answer_error,
    is_bug,
    pilot_answer,
    plain_answer,
    unknown_method,
)
from pandaserver.api.casting import Upload
from pandaserver.api.parameters import Bound
from pandaserver.api.reading import Limits, Raw, content_length, read_request
from pandaserver.api.registry import Call, Door, Registry, Route, Services, Sites, authorise, locate
from pandaserver.config.settings import ServerSettings
from pandaserver.server.callers import Callers
from pandaserver.server.heavy_questions import HeavyQuestions
from pandaserver.server.rate_limits import RateLimits
from pandaserver.server.repeated import NOT_KEPT, answer_once, request_digest
from pandaserver.srvcore.errors import BadRequest, PandaError, StorageError
from pandaserver.srvcore.principal import ANONYMOUS, Principal
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.tickets import Ticket, checked_key, owner_of

#: Bytes of forms and JSON that a caller without credentials may send: enough for 5500 identifiers ten times over.
ANONYMOUS_BODY: Final = 2 * 2**20

StartResponse = Callable[[str, list[tuple[str, str]]], object]
#: Learns of each request: its declared name ("" for none), the door, the HTTP status, and the seconds that it took.
Observer = Callable[[str, str, int, float], object]


@dataclass(slots=True)
class Exchange:
    """What is known about one request so far; the log line is made from it, however far the request came."""

    environ: Mapping[str, Any]
    request_id: str
    started: float
    door: Door = Door.LEGACY
    name: str = ""
    principal: Principal = ANONYMOUS
    route: Route | None = None
    raw: Raw | None = None
    bound: Bound | None = None
    problem: str = ""
    needs_a_look: bool = False  # the problem is this machine's

    @property
    def accepts_json(self) -> bool:
        """Whether the caller wants JSON where a historical reply has two forms."""
        return "application/json" in self.environ.get("HTTP_ACCEPT", "")


class Application:
    """Serves the requests of one registry."""

    def __init__(
        self,
        registry: Registry,
        settings: ServerSettings,
        task_buffer: TaskBuffer,
        sites: Sites,
        services: Services,
        callers: Callers,
        *,
        logger: logging.Logger,
        pilot_logger: logging.Logger,
        observe: Observer | None = None,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._task_buffer = task_buffer
        self._sites = sites
        self._services = services
        self._callers = callers
        self._logger = logger
        self._pilot_logger = pilot_logger
        self._observe = observe
        self._rates = RateLimits(settings, logger)
        self._heavy = HeavyQuestions(settings.logdir, settings.max_heavy_questions, logger)

    def close(self) -> None:
        """Give the database connections back, for tests; a web process keeps them until its end."""
        self._task_buffer.close()

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. Whatever happens, there is a reply and one line in the log."""
        exchange = Exchange(environ, secrets.token_hex(8), time.monotonic())
        serving = context.request_id.set(exchange.request_id)
        calling = context.remote_address.set(str(environ.get("REMOTE_ADDR", "")))
        try:
            response = self._respond(exchange)
            self._log(exchange, response)
            if self._observe is not None:
                name = exchange.name if exchange.route is not None else ""
                seconds = time.monotonic() - exchange.started
                self._observe(name, exchange.door.value, response.status.value, seconds)
        finally:
            context.request_id.reset(serving)
            context.remote_address.reset(calling)
            _close_uploads(exchange.raw)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-ID", exchange.request_id),
            *response.headers,
        ]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [response.body]

    def _respond(self, exchange: Exchange) -> Response:
        try:
            return self._serve(exchange)
        except PandaError as error:
            if is_bug(error):
                return self._bug(exchange)
            exchange.problem = f"{error.code}: {error.message}"
            exchange.needs_a_look = isinstance(error, StorageError)
            if isinstance(error, BadRequest):
                self._dump(exchange)
            if exchange.route is not None:
                return exchange.route.answer_error(error, exchange.door, exchange.accepts_json)
            return answer_error(error, plain_answer, exchange.accepts_json)
        except Exception:  # noqa: BLE001  the last resort: a bug must not cost the process
            return self._bug(exchange)

    def _serve(self, exchange: Exchange) -> Response:
        """Walk the straight line; every turn off it is an exception."""
        environ = exchange.environ
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        located = locate(path)
        if located is None:
            exchange.name = path
            return Response(b"not found", status=HTTPStatus.NOT_FOUND)
        exchange.door, exchange.name = located
        route = self._registry.find(*located)
        if route is None:
            return unknown_method(exchange.name, at_v1=exchange.door is Door.V1)
        exchange.route = route
        exchange.principal = self._callers.authenticate(environ)
        self._rates.count(exchange.principal, str(environ.get("REMOTE_ADDR", "")))
        self._callers.refuse_banned(exchange.principal, may_load=route.needs_database)
        authorise(route, exchange.door, exchange.principal)
        _check_verb(route, exchange.door, environ["REQUEST_METHOD"])
        exchange.raw = read_request(environ, exchange.door, self._limits(route, exchange.principal))
        exchange.bound = route.signature.bind(exchange.door, exchange.raw.fields, typed=exchange.raw.typed)
        if environ.get("HTTP_IDEMPOTENCY_KEY"):
            return self._answer_once(exchange, route, exchange.raw)
        return self._answer(exchange, route, self._task_buffer)[1]

    def _answer(self, exchange: Exchange, route: Route, task_buffer: TaskBuffer) -> tuple[Any, Response]:
        """Return what the handler returns, and the answer made of it."""
        assert exchange.bound is not None
        with self._heavy.turn(self._deadline(exchange)) if route.heavy else nullcontext():
            value = route.handler(self._call(exchange, task_buffer), **exchange.bound.arguments)
        if isinstance(value, Response):  # a document with a type of its own
            return value, value
        return value, route.encoder_at(exchange.door).result(value, exchange.accepts_json)

    def _answer_once(self, exchange: Exchange, route: Route, raw: Raw) -> Response:
        environ = exchange.environ
        key = checked_key(environ["HTTP_IDEMPOTENCY_KEY"])
        if exchange.principal.is_anonymous:
            response = self._answer(exchange, route, self._task_buffer)[1]
            return replace(response, headers=(*response.headers, NOT_KEPT))
        digest = request_digest(environ["REQUEST_METHOD"], f"{exchange.door.value}/{exchange.name}", raw.fields)
        ticket = Ticket(owner_of(exchange.principal.dn), key, digest)
        return answer_once(
            self._task_buffer,
            ticket,
            lambda: max(0.0, self._deadline(exchange) - time.monotonic()),
            lambda task_buffer: self._answer(exchange, route, task_buffer),
            writes=route.method == "POST",
        )

    def _limits(self, route: Route, principal: Principal) -> Limits:
        settings = self._settings
        body = settings.max_request_body
        if principal.is_anonymous:
            body = min(body, ANONYMOUS_BODY)
        if not route.takes_upload:
            body = min(body, route.body_limit(settings) if route.body_limit else settings.max_small_body)
            return Limits(body, body)
        upload = route.body_limit(self._settings) if route.body_limit else self._settings.max_sandbox_upload
        return Limits(body, upload, str(self._settings.cache_dir))

    def _deadline(self, exchange: Exchange) -> float:
        return exchange.started + self._settings.dbtimeout

    def _call(self, exchange: Exchange, task_buffer: TaskBuffer) -> Call:
        environ = exchange.environ
        return Call(
            task_buffer=task_buffer,
            sites=self._sites,
            settings=self._settings,
            principal=exchange.principal,
            door=exchange.door,
            services=self._services,
            accepts_json=exchange.accepts_json,
            remote_host=environ.get("REMOTE_HOST", ""),
            deadline=self._deadline(exchange),
            request_id=exchange.request_id,
            content_length=content_length(environ),
            environ=environ,
        )

    # ---- what an operator sees ---------------------------------------------------------------------------------------

    def _bug(self, exchange: Exchange) -> Response:
        exchange.problem = "internal error"
        self._logger.exception("PID=%d %s failed", os.getpid(), exchange.name[:100])
        self._dump(exchange)
        return answer_bug(exchange.request_id)

    def _log(self, exchange: Exchange, response: Response) -> None:
        elapsed = time.monotonic() - exchange.started
        facts = [
            f"PID={os.getpid()} {_short(exchange.name)} exec_time={elapsed:.3f} sec",
            f"door={exchange.door.value} status={response.status.value} bytes={len(response.body)}",
            f"caller={_short(exchange.principal.name) or '-'}",
            f"address={_short(str(exchange.environ.get('REMOTE_ADDR', ''))) or '-'}",
        ]
        bound = exchange.bound
        if bound and self._settings.entryVerbose:
            facts.append(f"parameters={','.join(bound.arguments)}")
        if bound and bound.ignored:
            facts.append(f"ignored={_short(','.join(bound.ignored))}")
        if bound and bound.dropped:
            facts.append(f"dropped={','.join(bound.dropped)}")
        if exchange.problem:
            facts.append(f"problem={_short(exchange.problem)}")
        bad = exchange.needs_a_look or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        level = logging.WARNING if bad else logging.INFO
        self._logger.log(level, "%s", " ".join(facts))
        if bound and exchange.route and exchange.route.answer is pilot_answer and "site_name" in bound.arguments:
            site, node, kind = (bound.arguments.get(k) for k in ("site_name", "node", "prod_source_label"))
            line = f"method={exchange.route.legacy},site={site},node={node},type={kind}"
            self._pilot_logger.info("%s", _short(line))

    def _dump(self, exchange: Exchange) -> None:
        if not self._settings.dumpBadRequest or exchange.raw is None:
            return
        with suppress(OSError):  # a full disk must not make a bad request worse
            handle, _ = tempfile.mkstemp(prefix=f"req_dump_{exchange.request_id}_", dir=self._settings.logdir)
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{name}={value!r}\n" for name, value in exchange.raw.fields.items())


def _check_verb(route: Route, door: Door, verb: str) -> None:
    if door is Door.V1 and route.method not in ("ANY", "GET" if verb == "HEAD" else verb):
        raise BadRequest(f"expecting {route.method}, received {verb}")


def _close_uploads(raw: Raw | None) -> None:
    for value in raw.fields.values() if raw else ():
        if isinstance(value, Upload):
            value.stream.close()


def _short(text: str) -> str:
    """Return as much of a client's text as a line of the log may have; the formatter keeps it one line."""
    return text[:300]
