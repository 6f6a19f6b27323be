"""What the master tells systemd: ready, reading its configuration, alive, ending. Elsewhere nobody is told anything."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

#: Signs of life are sent this many times within the interval after which systemd loses patience.
SIGNS_PER_INTERVAL: Final = 2
RETRY: Final = 1.0  # seconds after which a sign of life that could not be sent is tried again


class ServiceManager:
    """The socket that systemd names in the environment, for units of ``Type=notify`` and with ``WatchdogSec``.

    The variables are taken out of the environment, so that nothing that scripts start speaks for the service.
    """

    def __init__(self, environ: MutableMapping[str, str], log: logging.Logger) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._log = log
        self._status = ""
        self._complained = False
        interval = int(environ.pop("WATCHDOG_USEC", "0")) / 1e6
        is_for_us = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._pause = interval / SIGNS_PER_INTERVAL if self._address and is_for_us and interval else float("inf")
        self.next_beat = 0.0 if self._pause < float("inf") else float("inf")  # instant of the monotonic clock

    def ready(self) -> None:
        """Tell that start-up, or reading the configuration again, is over."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; :meth:`ready` ends this."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1")

    def beat(self, now: float, status: str) -> None:
        """Tell how the daemon is, if that has changed, and that it lives, if it is time to."""
        words = [f"STATUS={status}"] if status != self._status else []
        if now >= self.next_beat:
            words.append("WATCHDOG=1")
        if not words:
            return
        is_told = self._tell(*words)
        self._status = status
        if "WATCHDOG=1" in words:
            self.next_beat = now + (self._pause if is_told else min(RETRY, self._pause))

    def _tell(self, *words: str) -> bool:
        """Send without waiting; False if nobody could take it."""
        if not self._address:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto("\n".join(words).encode(), address)
            except OSError as error:
                if not self._complained:
                    self._log.warning(f"cannot tell systemd {words[0]}: {error}")
                self._complained = True
                return False
        self._complained = False
        return True
