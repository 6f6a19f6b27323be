"""Calling the server from Python, for tools of operators, services and tests. Users have the stock client.

The module itself has the historical functions, for the server and the credentials that the environment names::

    from pandaserver.userinterface import Client
    status, jobs = Client.getJobStatus([4711])

A ``Client`` is the same for a server and credentials of one's own, and has the methods of v1 besides.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pandaserver.userinterface.client_connection import TIMEOUT, Connection, Credentials
from pandaserver.userinterface.client_historical import FAILED, OK, Reply
from pandaserver.userinterface.client_job_calls import JobCalls
from pandaserver.userinterface.client_other_calls import OtherCalls
from pandaserver.userinterface.client_task_calls import TaskCalls
from pandaserver.userinterface.client_v1 import Modules, Refused

__all__ = ["FAILED", "OK", "Client", "Connection", "Credentials", "Refused", "Reply"]


class Client(JobCalls, TaskCalls, OtherCalls):
    """Asks one server: historical functions return a status and the reply, those of ``v1`` the data or an error."""

    def __init__(
        self,
        url: str,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        token: str = "",
        vo: str = "",
        authorities: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        credentials = Credentials(certificate, key, token, vo)
        super().__init__(Connection(url, credentials, authorities=authorities, timeout=timeout))

    @classmethod
    def of_environment(cls, **options: Any) -> Client:
        """Return a client for the server and the credentials that the environment names, as the stock client does."""
        made = cls.__new__(cls)
        JobCalls.__init__(made, Connection.of_environment(**options))
        return made

    @property
    def v1(self) -> Modules:
        """The methods of ``/api/v1``, by module."""
        return Modules(self.connection)


@cache
def _default() -> Client:
    return Client.of_environment()


def __getattr__(name: str) -> Any:
    """Return a historical function, or ``v1``, for the server that the environment names."""
    if name.startswith("_") or not hasattr(Client, name):
        raise AttributeError(f"module {__name__} has no function {name}")
    return getattr(_default(), name)
