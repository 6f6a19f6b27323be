"""The program of a database child: one connection, asked over an inherited socket by the parent's ConBridge."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import select
import signal
import socket
import sys
import threading
from typing import Final

from pandacommon.pandalogger.context import remote_address, request_id
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.srvcore.errors import PandaError
from pandaserver.srvcore.memory import settle_memory
from pandaserver.taskbuffer import wire
from pandaserver.taskbuffer.bridge import ChildSettings
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy

FAREWELL: Final = wire.encode(0, None)[wire.HEADER.size :].tobytes()


def main(argv: list[str]) -> int:
    """Serve the socket whose number is the only argument until the parent says good-bye or hangs up."""
    # The parent ends us: by a farewell, by SIGKILL, or by its own death. Signals meant for its whole group do not, so
    # that a graceful stop of the web server still gets its last replies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock = socket.socket(fileno=int(argv[1]))
    threading.Thread(target=_exit_at_hangup, args=(sock.fileno(),), daemon=True).start()
    try:
        return _serve(sock)
    except wire.PeerLost:
        return 0


def _exit_at_hangup(fd: int) -> None:
    """End the process as soon as the parent is gone, even while a query runs."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)  # POLLHUP always counts; data does not, as POLLIN is not asked for
    poll.poll()
    os._exit(0)


def _serve(sock: socket.socket) -> int:
    number, payload = wire.receive(sock, None)
    settings: ChildSettings = wire.decode(payload)
    logger = _logger(settings)
    try:
        for module in settings.modules:
            importlib.import_module(module)
        proxy = OraDBProxy(settings.connection, settings.operations)
    except Exception as error:  # the parent backs off and says why
        logger.exception("child failed to start")
        wire.send(sock, wire.encode(number, ("error", "internal", f"{type(error).__name__}: {error}", {})), None)
        return 1
    settle_memory()
    wire.send(sock, wire.encode(number, ("ok", os.getpid())), None)
    while True:
        number, payload = wire.receive(sock, None)  # no deadline: the parent has it, and kills
        if payload == FAREWELL:
            proxy.close()
            return 0
        wire.send(sock, _answer(proxy, number, payload, logger), None)


def _logger(settings: ChildSettings) -> logging.Logger:
    if settings.logger is not None:
        PandaLogger.configure(settings.logger)
    return PandaLogger().getLogger("DBProxy")


def _answer(proxy: OraDBProxy, number: int, payload: bytearray, logger: logging.Logger) -> memoryview:
    """Run one call and return the frame that reports it. No failure of a call ends the child.

    The last member of each report is the number of transactions so far.
    """
    name = "a call that could not be read"
    try:
        (serving, address), seconds, name, args, kwargs = wire.decode(payload)
        request_id.set(serving)
        remote_address.set(address)
        return wire.encode(number, ("ok", proxy.call(name, args, kwargs, seconds), proxy.transactions))
    except PandaError as error:
        return _encoded_error(number, error, proxy.transactions)
    except Exception as error:
        logger.exception(f"{name} met a bug")
        return wire.encode(number, ("error", "internal", f"{type(error).__name__}: {error}", {}, proxy.transactions))


def _encoded_error(number: int, error: PandaError, transactions: int) -> memoryview:
    try:
        return wire.encode(number, ("error", error.code, error.message, error.details, transactions))
    except (pickle.PicklingError, TypeError, AttributeError):  # what pickle raises for what it cannot take
        details = {key: repr(value) for key, value in error.details.items()}
        return wire.encode(number, ("error", error.code, error.message, details, transactions))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
