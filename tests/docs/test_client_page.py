"""The page about the Python client: its examples run, one after the other, as they stand but for the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.userinterface import Client
from tests.api.conftest import database, databases, make_client, services, settings, task_buffer, tbuf
from tests.api.test_client import Served, served
from tests.factories import make_job

__all__ = ["database", "databases", "make_client", "served", "services", "settings", "task_buffer", "tbuf"]

PAGE = (Path(__file__).resolve().parents[2] / "docs/client.md").read_text("utf-8")


def test_the_examples_run(served: Served, tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDA_URL_SSL", served.url)
    Client._default.cache_clear()
    tbuf.setPermissions("Jane Doe", "l", "admin")
    tbuf.takeAsyncOrders("one", "pandaserver")
    names: dict[str, Any] = {"jobs": [make_job()]}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for example in examples:
        text = example.replace("https://panda.example.org:25443", served.url)
        exec(text.replace('certificate=Path("/tmp/x509up_u1000"), ', ""), names)
    Client._default.cache_clear()
    assert len(examples) == 3
    assert (names["status"], len(names["ids"]), len(names["asked"]["request_id"])) == (0, 1, 32)


def test_the_reply_without_a_task_layer_is_the_one_of_the_page(served: Served) -> None:
    status, (code, message) = served.client().killTask(1)
    assert f'`({status}, ({code}, "{message.partition(" is not installed")[0]} is not installed' in PAGE
