"""Whether an answer is a refusal, at both doors."""

from __future__ import annotations

import pickle

from werkzeug.test import TestResponse


def is_refusal(reply: TestResponse) -> bool:
    """Return whether an answer says that nothing was done; that there is no job for a pilot (20) does not."""
    if reply.status_code != 200:
        return True
    if reply.content_type == "application/json":
        return _refuses(reply.json)
    text = reply.data.decode(errors="replace")
    if text.startswith(("ERROR", "False", "StatusCode")):
        return not text.startswith(("StatusCode=0", "StatusCode=20"))
    try:
        return _refuses(pickle.loads(reply.data))
    except Exception:
        return False


def _refuses(value: object) -> bool:
    if isinstance(value, dict):
        return value.get("success") is False or value.get("StatusCode", 0) not in (0, 20, "0", "20")
    if isinstance(value, list | tuple) and value:
        return value[0] is False
    return value is False
