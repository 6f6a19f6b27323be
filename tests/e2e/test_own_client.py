"""Our own Python client against a real server: Apache, certificates, tokens, both interfaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance
from pandaserver.userinterface.Client import Client, Refused
from tests.factories import make_job

NEW_NUMBERS: dict[str, Any] = {"computingSite": None, "prodUserID": None, "prodUserName": None}


@pytest.fixture
def client(instance: Instance) -> Callable[..., Client]:
    authorities = instance.layout.ca / "certificates"

    def make(**credentials: object) -> Client:
        return Client(instance.https, authorities=authorities, timeout=60, **credentials)  # type: ignore[arg-type]

    return make


def test_a_user_with_a_certificate_does_what_users_do(
    client: Callable[..., Client], instance: Instance, tmp_path: Path
) -> None:
    panda = client(certificate=instance.certificate("Jane Doe"))
    status, ((job_id, *_),) = panda.submitJobs([make_job(**NEW_NUMBERS)], idempotency_key="own-client-1")
    assert panda.submitJobs([make_job(**NEW_NUMBERS)], idempotency_key="own-client-1")[1][0][0] == job_id
    (job,) = panda.getJobStatus([job_id])[1]
    assert (status, job.prodUserName, len(job.Files)) == (0, "Jane Doe", 3)
    assert panda.v1.system.get_user_attributes()["user_dn_clean"] == "Jane Doe"
    (tmp_path / "sources.own.tar.gz").write_bytes(b"\x1f\x8b" + bytes(1000))
    assert panda.putFile(tmp_path / "sources.own.tar.gz")[0] == 0
    assert panda.v1.job.kill(job_ids=[job_id]) == [True]
    with pytest.raises(Refused, match="production role is required"):
        panda.v1.task.pause(task_id=1)


def test_a_user_with_a_token_is_the_same_user(client: Callable[..., Client], instance: Instance) -> None:
    panda = client(token=instance.token("Jane Doe"), vo=VO)
    assert panda.v1.system.get_user_attributes()["user_dn_clean"] == "Jane Doe"
    assert panda.set_user_secret("own", "value") == (0, [True, "OK"])
    assert panda.get_user_secrets(["own"], get_json=True) == (0, [True, {"own": "value"}])


def test_anybody_may_ask_but_not_submit(client: Callable[..., Client]) -> None:
    panda = client()
    assert panda.isAlive() == (0, "alive=yes")
    assert panda.getPandaClientVer() == (0, "0.0.0")
    assert panda.submitJobs([make_job()]) == (255, "False")
