"""Releases of the stock client, unmodified, with certificates, proxies and tokens: every function of its module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pandaserver.testing.stock_client_release import FORMER, NEWEST
from tests.chaos.web_rig import directory
from tests.db.stages import put_job

pytest.register_assert_rewrite("tests.e2e.client_functions", "tests.e2e.client_tasks")

from tests.e2e.client_functions import EXERCISES, INNER  # noqa: E402
from tests.e2e.client_rig import CERTIFICATE, COMBINATIONS, ClientRig, User, Users  # noqa: E402
from tests.e2e.client_tasks import TASKS, refuses  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EVERYBODY = pytest.mark.parametrize(("version", "kind"), COMBINATIONS)


@pytest.fixture(scope="module")
def users() -> Iterator[Users]:
    with directory() as home, (rig := ClientRig(home / "var")):
        made = Users(rig, home)
        yield made
        made.close()


@pytest.fixture
def user(users: Users, version: str, kind: str) -> User:
    return users.of(version, kind)


@EVERYBODY
@pytest.mark.parametrize("function", sorted(EXERCISES))
def test_a_function_does_what_it_says(user: User, function: str) -> None:
    if function in user.functions:
        EXERCISES[function](user)


@EVERYBODY
@pytest.mark.parametrize("function", sorted(TASKS))
def test_a_function_about_tasks_says_that_there_are_none(user: User, function: str) -> None:
    if function in user.functions:
        refuses(user, function)


@pytest.mark.parametrize(
    "function",
    "submitJobs getJobStatus getFullJobStatus killJobs setDebugMode putFile getFile hello get_user_secerts"
    " getPandaIDsWithTaskID getUserJobMetadata call_idds_command send_workflow_request".split(),
)
def test_a_function_does_the_same_without_curl(users: Users, function: str) -> None:
    """This library sends whole paths as names of files, and gets bytes where the other one gets values."""
    EXERCISES[function](users.without_curl())


@pytest.mark.parametrize("version", [NEWEST, FORMER])
def test_every_function_is_exercised(users: Users, version: str) -> None:
    known = {*EXERCISES, *TASKS, *INNER}
    assert users.of(version, CERTIFICATE).functions - known == set()


def test_no_exercise_is_of_a_function_that_no_release_has(users: Users) -> None:
    offered = users.of(NEWEST, CERTIFICATE).functions | users.of(FORMER, CERTIFICATE).functions
    assert {*EXERCISES, *TASKS, *INNER} - offered == set()


@pytest.mark.parametrize("version", [NEWEST, FORMER])
def test_a_proxy_is_its_owner(users: Users, version: str) -> None:
    user = users.of(version, CERTIFICATE)
    panda_id = user.submitted()
    with_proxy = user.client.call("killJobs", [panda_id], environment=user.others["proxy"])
    assert with_proxy.returned == [0, [True]], with_proxy


@pytest.mark.parametrize("version", [NEWEST, FORMER])
def test_somebody_elses_job_is_not_ones_own(users: Users, version: str) -> None:
    """One that was submitted with a certificate, by somebody with a token."""
    owner, other = (users.of(version, kind) for kind in ("certificate", "token"))
    panda_id = owner.submitted()
    assert other.ask("killJobs", [panda_id]) == [False]
    assert owner.ask("getJobStatus", [panda_id])[0]["jobStatus"] == "activated"


@EVERYBODY
def test_somebody_with_the_production_role_ends_jobs_of_others(users: Users, user: User) -> None:
    panda_id = users.of(NEWEST, CERTIFICATE).submitted(prodSourceLabel="user")
    with user.rig.task_buffer() as tbuf:
        managed = put_job(tbuf, "activated", prodSourceLabel="managed", prodUserID="/CN=Somebody Else")
    assert user.ask("killJobs", [managed]) == [False]
    assert user.ask("killJobs", [managed, panda_id], as_production=True)[0] is True
