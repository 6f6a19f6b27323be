"""Mail to users: one for each submission that has ended, and none to those who do not want it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pandaserver.daemons.scripts import notify_users
from pandaserver.dataservice.MailUtils import Mailer
from pandaserver.dataservice.Notifier import MOST_FAILURES, Notifier
from pandaserver.srvcore.errors import BadRequest, ExternalError
from pandaserver.srvcore.mail_address import usable_address
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.reports import ReportOrder
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import change, finished, put_report, read
from tests.db.crowd import insert
from tests.db.stages import put_job
from tests.mail_server import Postbox, mail_server

ADMIN = Killer(is_system=True)


@pytest.fixture
def tbuf(database: ConnectionSettings) -> Iterator[TaskBuffer]:
    bridge = LocalBridge(database, OperationSettings(hostname="testhost", mail_users=True))
    yield TaskBuffer(bridge)
    bridge.close()


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with mail_server() as box:
        yield box


def put_user(tbuf: TaskBuffer, email: str | None, name: str = "Jane Doe") -> None:
    insert(tbuf, "PANDAMETA.users", {"id": abs(hash(name)) % 10**6, "name": name, "email": email})


def finish(tbuf: TaskBuffer, job_id: int) -> None:
    put_report(tbuf, job_id)
    taken = tbuf.takeOutputReports(ReportOrder("one", 10))
    tbuf.settleOutputReports("one", [finished(item.job) for item in taken if item.job])


def kill(tbuf: TaskBuffer, job_id: int) -> None:
    assert tbuf.killJobs(KillRequest((job_id,), ADMIN)) == [True]


def notes(tbuf: TaskBuffer) -> list[tuple[int]]:
    return read(tbuf, "SELECT attempts FROM ATLAS_PANDA.panda_messages WHERE topic = :t", t="user_mail")


def notify(tbuf: TaskBuffer, postbox: Postbox) -> int:
    return Notifier(tbuf, Mailer(postbox.server, "panda@example.org", timeout=5)).run(20)


def test_the_last_job_of_a_submission_makes_one_mail(tbuf: TaskBuffer, postbox: Postbox) -> None:
    put_user(tbuf, "jane@example.org")
    ids = [put_job(tbuf, "holding", jobDefinitionID=7) for _ in range(2)]
    last = put_job(tbuf, "activated", jobDefinitionID=7)
    for job_id in ids:
        finish(tbuf, job_id)
    assert (notify(tbuf, postbox), notes(tbuf)) == (0, [])
    kill(tbuf, last)
    assert notify(tbuf, postbox) == 1
    assert notify(tbuf, postbox) == 0
    (mail,) = postbox.mails
    assert (mail["To"], mail["From"]) == ("jane@example.org", "panda@example.org")
    assert mail["Subject"] == "PANDA notification JobID : 7"
    body = mail.get_content()
    assert "Total Number of Jobs : 3" in body
    assert "Succeeded : 2" in body
    assert "Cancelled : 1" in body
    assert "Out : user.jane.out" in body


def test_many_notes_of_one_submission_are_one_mail(tbuf: TaskBuffer, postbox: Postbox) -> None:
    put_user(tbuf, "jane@example.org")
    for job_id in [put_job(tbuf, "activated", jobDefinitionID=7) for _ in range(3)]:
        kill(tbuf, job_id)
    assert len(notes(tbuf)) == 3
    assert notify(tbuf, postbox) == 1
    assert (len(postbox.mails), notes(tbuf)) == (1, [])


@pytest.mark.parametrize("email", [None, "notsend", "NotSend", "nobody"])
def test_who_wants_no_mail_gets_none(tbuf: TaskBuffer, postbox: Postbox, email: str | None) -> None:
    put_user(tbuf, email)
    kill(tbuf, put_job(tbuf, "activated"))
    assert (notify(tbuf, postbox), postbox.mails, notes(tbuf)) == (0, [], [])


@pytest.mark.parametrize(
    "attributes",
    [{"jediTaskID": 5}, {"prodSourceLabel": "managed"}, {"prodUserName": None}, {"prodSourceLabel": "test"}],
)
def test_only_users_without_a_task_are_told(tbuf: TaskBuffer, attributes: dict[str, object]) -> None:
    kill(tbuf, put_job(tbuf, "activated", **attributes))
    assert notes(tbuf) == []


def test_mail_waits_while_its_server_is_away(tbuf: TaskBuffer, postbox: Postbox) -> None:
    put_user(tbuf, "jane@example.org")
    kill(tbuf, put_job(tbuf, "activated"))
    assert Notifier(tbuf, Mailer("127.0.0.1:1", "panda@example.org")).run(5) == 0
    assert notes(tbuf) == [(1,)]
    assert notify(tbuf, postbox) == 1


def test_mail_that_is_refused_for_good_is_given_up_and_does_not_stop_others(tbuf: TaskBuffer, postbox: Postbox) -> None:
    put_user(tbuf, "gone@example.org")
    put_user(tbuf, "joe@example.org", "Joe")
    postbox.refused["gone@example.org"] = "550 no such user"
    kill(tbuf, put_job(tbuf, "activated"))
    kill(tbuf, put_job(tbuf, "activated", prodUserName="Joe"))
    assert notify(tbuf, postbox) == 1
    assert ([mail["To"] for mail in postbox.mails], notes(tbuf)) == (["joe@example.org"], [])


def test_mail_that_is_refused_for_now_waits_and_is_given_up_in_the_end(tbuf: TaskBuffer, postbox: Postbox) -> None:
    put_user(tbuf, "full@example.org")
    postbox.refused["full@example.org"] = "452 mailbox full"
    kill(tbuf, put_job(tbuf, "activated"))
    notify(tbuf, postbox)
    assert notes(tbuf) == [(1,)]
    change(tbuf, "UPDATE ATLAS_PANDA.panda_messages SET attempts = :n WHERE topic = 'user_mail'", n=MOST_FAILURES)
    notify(tbuf, postbox)
    assert notes(tbuf) == []


def test_without_a_mail_server_nothing_is_written_down(database: ConnectionSettings) -> None:
    bridge = LocalBridge(database, OperationSettings(hostname="testhost"))
    plain = TaskBuffer(bridge)
    try:
        kill(plain, put_job(plain, "activated"))
        assert notes(plain) == []
    finally:
        bridge.close()


def test_the_script_says_that_there_is_no_mail_server(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify_users, "mailer", lambda: Mailer("", "panda@example.org"))
    monkeypatch.setattr(notify_users._log, "propagate", True)
    with caplog.at_level(logging.INFO):
        notify_users.main(tbuf=tbuf)
    assert "no mail server is configured" in caplog.text


def test_a_subject_with_a_line_break_is_no_second_header(postbox: Postbox) -> None:
    Mailer(postbox.server, "panda@example.org").send("a@b.c", "one\r\nBcc: x@y.z", "body")
    assert postbox.mails[0]["Subject"] == "one Bcc: x@y.z"
    assert postbox.mails[0]["Bcc"] is None


@pytest.mark.parametrize("stored", ["a@b.c, x@y.z", "a b@c", "a@b@c", "<a@b.c>", "", "a@b.c\nBcc: x@y.z"])
def test_what_is_no_address_is_not_used(stored: str) -> None:
    assert usable_address(stored) is None


def test_errors_say_whether_to_try_again(postbox: Postbox) -> None:
    mailer = Mailer(postbox.server, "panda@example.org")
    postbox.refused |= {"a@b.c": "550 no", "d@e.f": "450 later"}
    with pytest.raises(BadRequest):
        mailer.send("a@b.c", "s", "b")
    with pytest.raises(ExternalError):
        mailer.send("d@e.f", "s", "b")
