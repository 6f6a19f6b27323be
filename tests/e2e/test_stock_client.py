"""The unmodified client library against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pandaserver.testing import sample_job
from pandaserver.testing.instance import Instance
from pandaserver.testing.stock_client import StockClient


@pytest.fixture
def ids(client: StockClient, instance: Instance) -> list[int]:
    base = f"{instance.http}/trf/user"
    return client.submit([sample_job.counting_job(base, n, tag="client", with_input=False) for n in (1, 2)])


def test_submitted_jobs_have_numbers(ids: list[int]) -> None:
    assert len(set(ids)) == 2


def test_submitted_jobs_wait_for_a_pilot(client: StockClient, ids: list[int]) -> None:
    assert [job.jobStatus for job in client.jobs(ids)] == ["activated", "activated"]


def test_a_job_belongs_to_who_submitted_it(client: StockClient, ids: list[int]) -> None:
    assert {job.prodUserName for job in client.jobs(ids)} == {"Jane Doe"}


def test_a_job_comes_back_as_it_was_submitted(client: StockClient, ids: list[int]) -> None:
    job = client.jobs(ids)[0]
    assert [(file.type, file.lfn) for file in job.Files] == [
        ("output", "user.jane.client.00001.counts.txt"),
        ("log", "user.jane.client.00001.log.tgz"),
    ]


def test_a_killed_job_is_cancelled(client: StockClient, ids: list[int]) -> None:
    assert client.kill(ids[:1]) == [True]
    assert [job.jobStatus for job in client.jobs(ids)] == ["cancelled", "activated"]


def test_nobody_else_can_kill_a_job(client: StockClient, instance: Instance, ids: list[int]) -> None:
    with StockClient(instance, certificate=instance.certificate("John Roe")) as other:
        other.kill(ids)
    assert {job.jobStatus for job in client.jobs(ids)} == {"activated"}


def test_a_token_serves_as_well_as_a_certificate(instance: Instance) -> None:
    jobs = [sample_job.counting_job(f"{instance.http}/trf/user", 1, tag="token", with_input=False)]
    with StockClient(instance, token=instance.token("Jane Doe")) as client:
        (panda_id,) = client.submit(jobs)
        assert [job.prodUserName for job in client.jobs([panda_id])] == ["Jane Doe"]


def test_an_uploaded_file_can_be_fetched(client: StockClient, instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "user.jane.upload.txt"
    path.write_text("content")
    client.upload(path)
    assert (instance.layout.cache / path.name).read_text() == "content"
