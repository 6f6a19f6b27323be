"""What the end of killed jobs means to others, in real databases."""

from __future__ import annotations

import pytest

from pandaserver.dataservice.Killer import kill
from pandaserver.srvcore.errors import Busy
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import change, job_of, put_dataset, status_of_dataset
from tests.db.stages import put_job

SYSTEM = Killer(is_system=True)


def put_build(tbuf: TaskBuffer, library: str) -> tuple[int, int]:
    """Return a build job and one that waits for its library."""
    build, waiting = put_job(tbuf, "activated", prodSourceLabel="panda"), put_job(tbuf, "assigned")
    for column, kind, job_id in (("destinationDBlock", "output", build), ("dispatchDBlock", "input", waiting)):
        change(
            tbuf,
            f"UPDATE ATLAS_PANDA.filesTable4 SET {column} = :name WHERE PandaID = :id AND type = :kind",
            name=library,
            id=job_id,
            kind=kind,
        )
    return build, waiting


def test_all_builds_of_a_submission_take_along_who_waits_for_them(tbuf: TaskBuffer) -> None:
    pairs = [put_build(tbuf, name) for name in ("one.lib", "two.lib")]
    assert kill(tbuf, KillRequest(tuple(build for build, _ in pairs), SYSTEM)) == [True, True]
    assert [job_of(tbuf, waiting).jobStatus for _, waiting in pairs] == ["cancelled", "cancelled"]


def test_a_running_build_that_was_only_told_takes_nobody_along(tbuf: TaskBuffer) -> None:
    build, waiting = put_build(tbuf, "one.lib")
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET jobStatus = 'running'")
    assert kill(tbuf, KillRequest((build,), SYSTEM)) == [True]
    assert job_of(tbuf, waiting).jobStatus == "assigned"


def test_each_submission_has_its_datasets_closed(tbuf: TaskBuffer) -> None:
    ids = []
    for n, name in ((1, "one.out"), (1, "one.out"), (2, "two.out")):
        ids.append(put_job(tbuf, "activated", jobDefinitionID=n))
        sql = "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = :name WHERE PandaID = :id AND type = 'output'"
        change(tbuf, sql, name=name, id=ids[-1])
    put_dataset(tbuf, "one.out")
    put_dataset(tbuf, "two.out")
    kill(tbuf, KillRequest((*ids, 987654321), SYSTEM))
    assert [status_of_dataset(tbuf, name) for name in ("one.out", "two.out")] == ["tobeclosed", "tobeclosed"]


def test_the_answer_is_given_although_datasets_cannot_be_closed_now(
    tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    class Locked(TaskBuffer):
        def closeDatasets(self, blocks: object) -> tuple[str, ...]:
            raise Busy("somebody holds them")

    job_id = put_job(tbuf, "activated")
    assert kill(Locked(tbuf.caller), KillRequest((job_id,), SYSTEM)) == [True]
    assert "datasets of killed jobs are closed later n=1" in caplog.text
