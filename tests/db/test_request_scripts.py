"""The scripts that work through request files: without the layer behind them they say so, to log and user."""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pandaserver.config.settings import ServerSettings
from pandaserver.config.values import PluginEntry
from pandaserver.daemons import request_scripts
from pandaserver.daemons.scripts import evpPD2P, process_workflow_files_daemon, recover_lost_files_daemon
from pandaserver.dataservice.MailUtils import Mailer
from pandaserver.dataservice.Notifier import Notifier
from pandaserver.dataservice.request_formats import (
    EventPickingRequest,
    RecoveryRequest,
    WorkflowRequest,
    write_event_picking,
    write_recovery,
    write_workflow,
)
from pandaserver.dataservice.RequestPluginBase import EventPickerPluginBase, Outcome
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import read
from tests.db.crowd import insert
from tests.mail_server import mail_server

DN = "/DC=org/CN=Jane Doe"
WHEN = "2026-01-02 03:04:05"
FILES = {
    "evp": write_event_picking(EventPickingRequest({"userName": DN, "userDatasetName": "user.x/"}, (("1", "2"),))),
    "recov": write_recovery(RecoveryRequest(DN, WHEN, {"jediTaskID": 7, "logFilename": "lost_file_recovery.1.log"})),
    "workflow": write_workflow(WorkflowRequest(DN, WHEN, {"outDS": "user.y"})),
}
SCRIPTS = {"evp": evpPD2P, "recov": recover_lost_files_daemon, "workflow": process_workflow_files_daemon}


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_up(**changes: Any) -> None:
        settings = ServerSettings(cache_dir=tmp_path, emailSMTPsrv="127.0.0.1:1", **changes)
        for module in (request_scripts, *SCRIPTS.values()):
            monkeypatch.setattr(module, "configuration", lambda: SimpleNamespace(server=settings))
        monkeypatch.setattr(request_scripts, "mailer", lambda: Mailer(settings.emailSMTPsrv, "panda@example.org"))

    set_up()
    return set_up


def put(directory: Path, kind: str) -> Path:
    path = directory / f"{kind}.1"
    path.write_text(FILES[kind])
    os.utime(path, (time.time() - 600,) * 2)
    return path


def mails(tbuf: TaskBuffer) -> list[dict[str, Any]]:
    return [json.loads(row[0]) for row in read(tbuf, "SELECT payload FROM ATLAS_PANDA.panda_messages ORDER BY id")]


@pytest.mark.parametrize(
    ("kind", "missing", "setting"),
    [
        ("evp", "no event index", "event_picker_plugins"),
        ("recov", "no task layer", "file_recovery_plugins"),
        ("workflow", "no workflow engine", "workflow_plugins"),
    ],
)
def test_without_the_layer_the_user_is_told_what_is_missing(
    tbuf: TaskBuffer, configure: Any, tmp_path: Path, kind: str, missing: str, setting: str
) -> None:
    path = put(tmp_path, kind)
    SCRIPTS[kind].main(tbuf=tbuf)
    (mail,) = mails(tbuf)
    assert (path.exists(), mail["user"]) == (False, "Jane Doe")
    assert missing in mail["body"]
    assert setting in mail["body"]
    assert "could not be carried out" in mail["body"]


def test_the_log_of_a_recovery_tells_it_too(tbuf: TaskBuffer, configure: Any, tmp_path: Path) -> None:
    put(tmp_path, "recov")
    recover_lost_files_daemon.main(tbuf=tbuf)
    text = gzip.decompress((tmp_path / "jedilog" / "lost_file_recovery.1.log").read_bytes()).decode()
    assert "no task layer" in text


class PickerOfTest(EventPickerPluginBase):
    seen: list[EventPickingRequest] = []

    def pick(self, request: EventPickingRequest) -> Outcome:
        self.seen.append(request)
        return Outcome.done("3 files")


def test_a_plugin_of_the_site_does_the_work(
    tbuf: TaskBuffer, configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("site_rules")
    module.PickerOfTest = PickerOfTest  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "site_rules", module)
    configure(event_picker_plugins=(PluginEntry("any", "site_rules", "PickerOfTest"),))
    put(tmp_path, "evp")
    evpPD2P.main(tbuf=tbuf)
    assert PickerOfTest.seen[0].run_events == (("1", "2"),)
    assert "has been carried out" in mails(tbuf)[0]["body"]


def test_the_mail_reaches_the_user(tbuf: TaskBuffer, configure: Any, tmp_path: Path) -> None:
    insert(tbuf, "PANDAMETA.users", {"id": 1, "name": "Jane Doe", "email": "jane@example.org"})
    put(tmp_path, "workflow")
    process_workflow_files_daemon.main(tbuf=tbuf)
    with mail_server() as box:
        assert Notifier(tbuf, Mailer(box.server, "panda@example.org")).run(20) == 1
    assert box.mails[0]["Subject"] == "PANDA notification for workflow submission"
    assert "no workflow engine" in box.mails[0].get_content()
    assert mails(tbuf) == []


def test_an_unreadable_request_goes_without_mail(tbuf: TaskBuffer, configure: Any, tmp_path: Path) -> None:
    path = put(tmp_path, "workflow")
    path.write_text("{}")
    os.utime(path, (time.time() - 600,) * 2)
    process_workflow_files_daemon.main(tbuf=tbuf)
    assert (path.exists(), mails(tbuf)) == (False, [])
