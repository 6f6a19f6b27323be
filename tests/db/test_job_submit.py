"""Submission into real databases."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.db_proxy_mods.job_submit import store_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.submission import Submission, Submitted, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe", host="client.example")
OPERATOR = Submitter(dn="/CN=Operator", name="Operator", is_production=True)
READY = {"any": True}


def submission(*jobs: JobSpec, **attributes: Any) -> Submission:
    return Submission(list(jobs), **{"submitter": JANE, "nothing_to_prepare": READY, **attributes})


@operation(timeout=60)
def run_for_test(tx: Transaction, sql: str, binds: dict[str, Any]) -> list[tuple[Any, ...]]:
    return tx.rows(sql, **binds) if sql.lstrip().startswith("SELECT") else [(tx.change(sql, **binds),)]


@operation(timeout=60)
def count_statements_of_submission(tx: Transaction, submission: Submission) -> int:
    store_jobs(tx, submission)
    return tx.statements


def rows(proxy: OraDBProxy, sql: str, **binds: Any) -> list[tuple[Any, ...]]:
    return proxy.call("run_for_test", (sql, binds))


def store(proxy: OraDBProxy, *jobs: JobSpec, **attributes: Any) -> Submitted:
    return proxy.call("store_jobs", (submission(*jobs, **attributes),))


def stored_job(proxy: OraDBProxy, result: Submitted, n: int = 0) -> JobSpec:
    job = proxy.call("peek_jobs", ([result.jobs[n].PandaID],), {"metadata": True})[0]
    assert job is not None
    return job


def test_a_job_with_nothing_to_prepare_is_activated_with_its_whole_history(proxy: OraDBProxy) -> None:
    result = store(proxy, make_job())
    history = rows(
        proxy,
        "SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :p ORDER BY statusLogID",
        p=result.jobs[0].PandaID,
    )
    assert [status for (status,) in history] == ["defined", "activated"]
    assert stored_job(proxy, result).jobStatus == "activated"
    assert result.to_set_up == ()


def test_the_reply_has_the_numbers_in_the_order_of_the_submission(proxy: OraDBProxy) -> None:
    result = store(proxy, make_job(jobName="a"), make_job(jobName="b", prodSourceLabel="test"))
    first, second = (job.reply() for job in result.jobs)
    assert second[0] == first[0] + 1
    assert first[2] == {"jobsetID": None}
    assert second[2] == "b"


def test_everything_of_a_job_comes_back(proxy: OraDBProxy) -> None:
    job = make_job(metadata="<meta/>", inputs=2)
    found = stored_job(proxy, store(proxy, job))
    assert [file.lfn for file in found.Files] == [file.lfn for file in job.Files]
    assert [file.status for file in found.Files] == ["unknown"] * 4
    assert (found.jobParameters, found.metadata) == ("-i x", "<meta/>")
    assert (found.prodUserName, found.creationHost, found.relocationFlag) == ("Jane Doe", "client.example", 1)
    assert found.Files[-1].GUID


@pytest.mark.parametrize(
    "where",
    [{"computingSite": None}, {"computingSite": "NEW_PQ"}, {"VO": "other"}, {"dispatchDBlock": "lib.x"}],
)
def test_a_job_that_needs_preparation_is_left_to_the_setupper(proxy: OraDBProxy, where: dict[str, Any]) -> None:
    result = store(
        proxy,
        make_job(**where),
        nothing_to_prepare={"testvo": True, "any": False},
        unknown_queues=frozenset({"NEW_PQ"}),
    )
    assert result.to_set_up == (result.jobs[0].PandaID,)
    assert stored_job(proxy, result).jobStatus == "defined"


def test_a_job_that_waits_for_a_library_is_left_to_the_setupper(proxy: OraDBProxy) -> None:
    job = make_job()
    job.Files[0].dispatchDBlock = "lib.x"
    assert len(store(proxy, job).to_set_up) == 1


@pytest.mark.parametrize(("site", "status"), [("TEST_PQ", "pending"), ("WAITING_CO_JUMBO", "waiting")])
def test_jobs_of_the_task_layer_can_wait_for_it(proxy: OraDBProxy, site: str, status: str) -> None:
    result = store(proxy, make_job(computingSite=site), pending=True)
    assert stored_job(proxy, result).jobStatus == status
    assert result.to_set_up == ()


def test_an_invalid_job_names_itself_and_nothing_is_stored(proxy: OraDBProxy) -> None:
    with pytest.raises(BadRequest, match=r"^job 1: jobName is 300 characters, at most 256$"):
        store(proxy, make_job(), make_job(jobName="x" * 300))
    assert rows(proxy, "SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4") == [(0,)]
    assert rows(proxy, "SELECT COUNT(*) FROM ATLAS_PANDAMETA.users") == [(0,)]


def test_too_many_jobs_refuse_the_request(proxy: OraDBProxy) -> None:
    with pytest.raises(BadRequest, match="5001 jobs in one submission, at most 5000"):
        store(proxy, *[make_job()] * 5001)


def test_a_banned_user_stores_nothing(tbuf: TaskBuffer) -> None:
    tbuf.storeJobs(submission(make_job()))
    assert tbuf.setUserStatus("Jane Doe", "disabled")
    assert tbuf.getBannedUsers() == frozenset({"Jane Doe"})
    result = tbuf.storeJobs(submission(make_job()))
    assert (result.is_banned, result.jobs) == (True, ())


def test_job_numbers_of_a_user_count_up(proxy: OraDBProxy) -> None:
    numbers = [store(proxy, make_job(jobDefinitionID=None)).jobs[0].jobDefinitionID for _ in range(3)]
    assert numbers == [2, 3, 4]


def test_a_client_may_be_ahead_with_its_job_number(proxy: OraDBProxy) -> None:
    assert store(proxy, make_job(jobDefinitionID=100)).jobs[0].jobDefinitionID == 100
    assert store(proxy, make_job(jobDefinitionID=7)).jobs[0].jobDefinitionID == 101


def test_a_new_job_set_takes_the_number_before_its_jobs(proxy: OraDBProxy) -> None:
    result = store(proxy, make_job(jobsetID=-1), make_job(jobsetID=-1))
    assert {(job.jobsetID, job.jobDefinitionID) for job in result.jobs} == {(2, 3)}
    assert store(proxy, make_job()).jobs[0].jobDefinitionID == 4


def test_production_jobs_keep_their_numbers_and_need_the_role(proxy: OraDBProxy) -> None:
    job = make_job(prodSourceLabel="managed", jobDefinitionID=77, assignedPriority=800)
    with pytest.raises(BadRequest, match="job 0: prodSourceLabel managed needs a production role"):
        store(proxy, job)
    result = store(proxy, job, submitter=OPERATOR)
    assert result.jobs[0].reply() == (result.jobs[0].PandaID, 77, "test.job")
    assert stored_job(proxy, result).currentPriority == 800


def test_the_priority_of_a_user_falls_with_the_length_of_the_queue(proxy: OraDBProxy) -> None:
    store(proxy, *[make_job() for _ in range(10)])
    result = store(proxy, *[make_job() for _ in range(6)])
    assert [stored_job(proxy, result, n).currentPriority for n in (0, 5)] == [998, 997]


def test_express_jobs_beyond_the_quota_are_ordinary_ones(proxy: OraDBProxy) -> None:
    result = store(proxy, *[make_job(specialHandling="express,rs") for _ in range(4)])
    found = [stored_job(proxy, result, n) for n in range(4)]
    assert [job.currentPriority for job in found] == [6000, 6000, 6000, 999]
    assert [job.specialHandling for job in found] == ["express", "express", "express", None]


def test_boosted_users_and_test_users_come_from_the_configuration(proxy: OraDBProxy) -> None:
    add = """INSERT INTO ATLAS_PANDA.Config (app, component, key, value, type, vo, descr)
             VALUES ('pandaserver', 'dbproxy', :key, :value, 'str', 'any', 'x')"""
    rows(proxy, add, key="USER_JOB_PRIO_BOOST_LIST_A", value="Jane Doe:user:2345:29990101,bad:item")
    rows(proxy, add, key="USER_JOB_PRIO_TEST_USERS", value="Robot, Operator")
    assert stored_job(proxy, store(proxy, make_job())).currentPriority == 2345
    assert stored_job(proxy, store(proxy, make_job(), submitter=OPERATOR)).currentPriority == 7000


def test_jobs_are_tagged_with_share_and_resource_type(proxy: OraDBProxy) -> None:
    rows(proxy, "DELETE FROM ATLAS_PANDA.Global_Shares")
    rows(proxy, "DELETE FROM ATLAS_PANDA.Resource_Types")
    add_share = """INSERT INTO ATLAS_PANDA.Global_Shares (name, value, parent, prodSourceLabel, queue_ID)
                   VALUES (:name, 50, :parent, :label, :place)"""
    rows(proxy, add_share, name="Production", parent=None, label="managed", place=1)
    rows(proxy, add_share, name="Analysis", parent=None, label=None, place=2)
    rows(proxy, add_share, name="User", parent="Analysis", label="user|panda", place=1)
    add_type = """INSERT INTO ATLAS_PANDA.Resource_Types (resource_name, mincore, maxcore, minrampercore)
                  VALUES (:name, :low, :high, :ram)"""
    rows(proxy, add_type, name="MCORE", low=2, high=None, ram=None)
    rows(proxy, add_type, name="SCORE", low=1, high=1, ram=None)
    rows(proxy, add_type, name="Undefined", low=None, high=None, ram=None)
    found = [stored_job(proxy, store(proxy, make_job(coreCount=cores))) for cores in (1, 8)]
    assert [(job.gshare, job.resource_type) for job in found] == [("User", "SCORE"), ("User", "MCORE")]


def test_names_of_files_are_completed(proxy: OraDBProxy) -> None:
    job = make_job(jobName="first.$ORIGINPANDAID", jobsetID=-1)
    job.Files[1].lfn = "out.$PANDAID.$JOBSETID.$GROUPJOBSN.root"
    result = store(proxy, job)
    found, number = stored_job(proxy, result), result.jobs[0].PandaID
    assert found.jobName == f"first.{number}"
    assert found.Files[1].lfn == f"out.{number:05}.000002.00001.root"
    assert job.Files[1].lfn == "out.$PANDAID.$JOBSETID.$GROUPJOBSN.root"


def test_the_number_of_statements_does_not_depend_on_the_number_of_jobs(proxy: OraDBProxy) -> None:
    store(proxy, make_job())
    one, many = (
        proxy.call("count_statements_of_submission", (submission(*[make_job() for _ in range(n)]),)) for n in (1, 100)
    )
    assert one <= 12
    assert many <= one + 6  # long rows of many jobs are inserted by a few statements a table


def test_a_submission_is_audited(proxy: OraDBProxy) -> None:
    store(proxy, make_job(), make_job())
    assert rows(proxy, "SELECT actor, action, objectType FROM ATLAS_PANDA.panda_audit") == [
        ("Jane Doe", "submitJobs", "job")
    ]
