"""``/metrics`` in front of the application, for the networks that may read it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pandaserver.server.application import StartResponse

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Wsgi = Callable[[Mapping[str, Any], StartResponse], Iterable[bytes]]


class WithMetrics:
    """Serves one page itself and leaves everything else to the application."""

    def __init__(
        self, application: Wsgi, page: Callable[[], bytes], networks: Sequence[str], logger: logging.Logger
    ) -> None:
        self._application = application
        self._page = page
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._logger = logger

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") != PATH:
            return self._application(environ, start_response)
        status, content_type, body = self._answer(environ.get("REMOTE_ADDR", ""))
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, address: str) -> tuple[str, str, bytes]:
        if not self._may_read(address):
            return "403 Forbidden", "text/plain", b"see metrics_networks\n"
        try:
            return "200 OK", CONTENT_TYPE, self._page()
        except Exception:  # the boundary of a library whose files anybody may have damaged
            self._logger.exception("the metrics cannot be read")
            return "500 Internal Server Error", "text/plain", b"see panda-Entry.log\n"

    def _may_read(self, address: str) -> bool:
        try:
            caller = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:  # a socket of another kind
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
            caller = caller.ipv4_mapped
        return any(caller in network for network in self._networks)
