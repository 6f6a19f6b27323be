"""How the address of a user gets into the database, and who may change it there."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.factories import make_job

NAME = "Jane Doe"


def submit(tbuf: TaskBuffer, email: str) -> None:
    tbuf.storeJobs(Submission([make_job(prodSourceLabel="user")], Submitter("/CN=Jane Doe", NAME, email=email)))


@pytest.mark.parametrize(
    ("emails", "stored"),
    [
        (["jane@example.org"], "jane@example.org"),
        ([""], None),
        (["", "jane@example.org"], "jane@example.org"),
        (["jane@example.org", ""], "jane@example.org"),
        (["jane@example.org", "doe@example.org"], "jane@example.org"),
    ],
)
def test_the_first_address_that_comes_with_a_submission_stays(
    tbuf: TaskBuffer, emails: list[str], stored: str | None
) -> None:
    for email in emails:
        submit(tbuf, email)
    assert tbuf.getMailAddress(NAME) == stored


@pytest.mark.parametrize("set_by_hand", ["doe@example.org", "notsend"])
def test_what_an_administrator_says_stays(tbuf: TaskBuffer, set_by_hand: str) -> None:
    submit(tbuf, "jane@example.org")
    tbuf.setMailAddress(NAME, set_by_hand, "root")
    submit(tbuf, "jane@example.org")
    assert tbuf.getMailAddress(NAME) == set_by_hand


def test_a_forgotten_address_is_learnt_again(tbuf: TaskBuffer) -> None:
    submit(tbuf, "old@example.org")
    tbuf.setMailAddress(NAME, None, "root")
    assert tbuf.getMailAddress(NAME) is None
    submit(tbuf, "new@example.org")
    assert tbuf.getMailAddress(NAME) == "new@example.org"


def test_a_user_who_never_submitted_can_have_an_address(tbuf: TaskBuffer) -> None:
    tbuf.setMailAddress(NAME, "jane@example.org", "root")
    submit(tbuf, "")
    assert tbuf.getMailAddress(NAME) == "jane@example.org"
