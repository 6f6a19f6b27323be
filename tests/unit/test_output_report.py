"""A pilot's output report, read and held against what the job promised."""

from __future__ import annotations

import json

import pytest

from pandaserver.dataservice.output_check import check_output
from pandaserver.dataservice.output_report import ReportedFile, UnreadableReport, read_report
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from tests.factories import make_job

OUT, LOG, IN = "user.jane.out.0000.root", "user.jane.log.0001.tgz", "data.0000.root"


def stored_job(**attributes: object) -> JobSpec:
    job = make_job(**attributes)
    for number, spec in enumerate(job.Files):
        spec.row_ID, spec.status = number + 1, "unknown"
    return job


def entry(lfn: str) -> ReportedFile:
    return ReportedFile(lfn, guid="g-1", fsize=10, checksum="ad:0a0b0c0d")


def statuses(files: list[FileSpec]) -> dict[str | None, str | None]:
    return {spec.lfn: spec.status for spec in files}


def test_a_json_report_gives_size_guid_and_checksum() -> None:
    text = json.dumps({OUT: {"guid": "g", "fsize": "12", "adler32": "062c86c4", "surl": "s", "endpoint": ""}})
    assert read_report(text) == {OUT: ReportedFile(OUT, "g", 12, None, "ad:062c86c4", "s")}


def test_an_xml_report_gives_the_same() -> None:
    text = (
        '<?xml version="1.0"?><POOLFILECATALOG><File ID="g"><logical><lfn name="o"/></logical>'
        '<metadata att_name="fsize" att_value="12"/>'
        '<metadata att_name="md5sum" att_value="0123456789abcdef0123456789ABCDEF"/></File></POOLFILECATALOG>'
    )
    found = read_report(text)["o"]
    assert (found.fsize, found.checksum, found.guid) == (12, "md5:0123456789abcdef0123456789ABCDEF", "g")


def test_an_md5sum_that_is_none_is_ignored() -> None:
    assert read_report('{"o": {"fsize": 1, "md5sum": "xyz"}}')["o"].checksum is None


@pytest.mark.parametrize("text", ["[]", "{", '{"o": 1}', "<a>", '{"o": {"fsize": "big"}}', '{"o": {"fsize": -1}}'])
def test_an_unreadable_report_says_so(text: str) -> None:
    with pytest.raises(UnreadableReport):
        read_report(text)


def test_entities_are_refused() -> None:
    with pytest.raises(UnreadableReport, match="entities"):
        read_report('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')


def test_an_empty_report_has_no_entries() -> None:
    assert read_report("  ") == {}


def test_reported_outputs_become_ready() -> None:
    checked = check_output(stored_job(), True, {OUT: entry(OUT), LOG: entry(LOG)})
    assert (statuses(checked.changed), checked.problem) == ({OUT: "ready", LOG: "ready"}, None)


def test_the_job_itself_is_not_changed() -> None:
    job = stored_job()
    check_output(job, True, {OUT: entry(OUT), LOG: entry(LOG)})
    assert {spec.status for spec in job.Files} == {"unknown"}


def test_a_missing_output_fails_the_job_and_all_its_outputs() -> None:
    checked = check_output(stored_job(), True, {LOG: entry(LOG)})
    assert statuses(checked.changed) == {OUT: "failed", LOG: "failed"}
    assert checked.problem == f"the report lacks {OUT}"


def test_an_output_that_may_be_missing_does_not() -> None:
    job = stored_job()
    job.Files[1].dispatchDBlockToken = "an"
    checked = check_output(job, True, {LOG: entry(LOG)})
    assert (statuses(checked.changed), checked.problem) == ({OUT: "nooutput", LOG: "ready"}, None)


@pytest.mark.parametrize("lack", [{"fsize": None}, {"checksum": None}])
def test_an_output_without_size_or_checksum_fails_the_job(lack: dict[str, None]) -> None:
    broken = ReportedFile(OUT, **({"fsize": 1, "checksum": "ad:1"} | lack))
    assert check_output(stored_job(), True, {OUT: broken, LOG: entry(LOG)}).problem is not None


def test_an_unpromised_output_fails_the_job() -> None:
    checked = check_output(stored_job(), True, {OUT: entry(OUT), LOG: entry(LOG), "x": entry("x")})
    assert "x" in (checked.problem or "")


@pytest.mark.parametrize("promised", ["out.root", r"regex|out\.root_\d+"])
def test_a_variable_number_of_outputs_clones_the_promised_one(promised: str) -> None:
    job = stored_job()
    job.Files[1].lfn = promised
    report = {name: entry(name) for name in (LOG, "out.root_1", "out.root_2")}
    checked = check_output(job, True, report)
    assert checked.problem is None
    assert statuses(checked.added) == {"out.root_1": "ready", "out.root_2": "ready"}
    assert statuses(checked.changed)[promised] == "nooutput"


def test_a_failed_job_keeps_only_its_log() -> None:
    checked = check_output(stored_job(), False, {OUT: entry(OUT), LOG: entry(LOG)})
    assert statuses(checked.changed) == {OUT: "failed", LOG: "ready"}


@pytest.mark.parametrize(("label", "status"), [("user", "skipped"), ("managed", "failed")])
def test_a_listed_input_was_not_read(label: str, status: str) -> None:
    checked = check_output(stored_job(prodSourceLabel=label), True, {n: entry(n) for n in (OUT, LOG, IN)})
    assert statuses(checked.changed)[IN] == status


def test_the_full_name_replaces_the_promised_one() -> None:
    full = ReportedFile(OUT, "g", 1, None, "ad:1", full_lfn="long.name")
    assert "long.name" in statuses(check_output(stored_job(), True, {OUT: full, LOG: entry(LOG)}).changed)
