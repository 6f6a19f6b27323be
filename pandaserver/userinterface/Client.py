"""Calling the server from Python: for tools of operators and for tests. Users have the stock client."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.client_jobs import job_as_state
from pandaserver.taskbuffer.JobSpec import JobSpec


class Client:
    """Asks one server through its v1 interface. ``url`` is scheme, host and port; ``headers`` go with each request."""

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._context = context
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        self._timeout = timeout

    def submitJobs(self, jobs: Sequence[JobSpec], idempotency_key: str | None = None) -> list[Any]:
        """Submit jobs, all or none, and return PandaID, job number, and job set or name of each.

        With a key of the caller's choice it is safe to repeat a submission whose outcome is unknown.
        """
        document = json.dumps([job_as_state(job) for job in jobs])
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        result: list[Any] = self._post("job/submit", {"jobs": document}, headers)
        return result

    def getJobStatus(self, ids: Sequence[int]) -> list[dict[str, Any] | None]:
        """Return jobs by attribute name, None for those that nobody knows."""
        result: list[dict[str, Any] | None] = self._post("job/get_description", {"job_ids": list(ids)})
        return result

    def killJobs(self, ids: Sequence[int], code: int | None = None) -> list[bool]:
        """End jobs; True for each that was ended or told to end."""
        parameters = {"job_ids": list(ids)} | ({} if code is None else {"code": code})
        result: list[bool] = self._post("job/kill", parameters)
        return result

    def _post(self, method: str, parameters: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """Return the data of a reply, or raise ExternalError with what the server says."""
        body = json.dumps(parameters).encode()
        request = urllib.request.Request(
            f"{self._url}/api/v1/{method}", data=body, headers={**self._headers, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout, context=self._context) as reply:
                answer = json.loads(reply.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise ExternalError(f"{method}: HTTP {error.code}: {text}") from error
        except (OSError, ValueError) as error:
            raise ExternalError(f"{method}: {error}") from error
        if not answer["success"]:
            raise ExternalError(f"{method}: {answer['message']}")
        return answer["data"]
