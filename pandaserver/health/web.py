"""Does the web server answer, on both ports, and with a certificate for its name?"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from pandaserver.health.certificates import SOON, lifetime
from pandaserver.health.result import Result, failure, ok, warning
from pandaserver.health.scene import Scene

ALIVE: Final = "/server/panda/isAlive"
READY: Final = "/api/v1/system/is_ready"
HERE: Final = "localhost"

_REMEDY: Final = "start Apache; panda_server_error_log and panda-Entry.log tell more"


def plain(scene: Scene) -> Iterator[Result]:
    """Apache and the application answer over http, and the application reaches its database."""
    port = scene.config.server.pserverporthttp
    connection = http.client.HTTPConnection(HERE, port, timeout=scene.patience)
    try:
        yield from _conversation(connection, f"port {port}")
    finally:
        connection.close()


def secure(scene: Scene) -> Iterator[Result]:
    """The same over https, with a certificate that is in date and for this name."""
    server = scene.config.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # we look at it ourselves, and say more
    connection = http.client.HTTPSConnection(HERE, server.pserverport, timeout=scene.patience, context=context)
    try:
        yield from _conversation(connection, f"port {server.pserverport}")
        given = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
        if given:
            yield from _judged(x509.load_der_x509_certificate(given), scene)
    finally:
        connection.close()


def _conversation(connection: http.client.HTTPConnection, place: str) -> Iterator[Result]:
    started = time.monotonic()
    try:
        status, text = _got(connection, ALIVE)
        milliseconds = (time.monotonic() - started) * 1000
        if (status, text) != (200, "alive=yes"):
            yield failure(f"{place} answers {status} {text[:200]!r} to isAlive", _REMEDY)
            return
        status, text = _got(connection, READY)
    except (OSError, http.client.HTTPException) as error:
        yield failure(f"{place} does not answer: {error or type(error).__name__}", _REMEDY)
        return
    if status == 200:
        yield ok(f"{place} is alive ({milliseconds:.0f} ms) and ready")
    else:
        yield failure(f"{place} is alive and not ready: {status} {text[:200]}", "see panda-ConBridge.log")


def _got(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read(4096).decode(errors="replace")


def _judged(certificate: x509.Certificate, scene: Scene) -> Iterator[Result]:
    yield lifetime(certificate, "the certificate that Apache shows", scene.now, SOON)
    name = scene.config.server.pserverhost or socket.getfqdn()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not any(_fits(name.lower(), pattern.lower()) for pattern in names):
        yield warning(f"the certificate that Apache shows is for {', '.join(names) or 'nobody'}, not for {name}")


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])
