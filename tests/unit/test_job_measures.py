"""What a job has made and consumed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from pandaserver.dataservice.job_measures import events_by_guid, measure
from pandaserver.dataservice.output_report import ReportedFile
from tests.factories import make_job

START = datetime(2026, 1, 1)
END = START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("attributes", "cores"),
    [
        ({"coreCount": 4}, 4),
        ({"coreCount": 4, "jobMetrics": "leak=1 coreCount=2"}, 2),
        ({"coreCount": 4, "jobMetrics": "coreCount=2", "actualCoreCount": 3}, 3),
        ({"coreCount": 0}, 1),
        ({"coreCount": None}, 1),
    ],
)
def test_cores_are_those_that_were_used(attributes: dict[str, Any], cores: int) -> None:
    found = measure(make_job(startTime=START, endTime=END, **attributes), {}, 10.0, END)
    assert (found.hs06, found.hs06sec) == (10 * cores, 36000 * cores)


def test_a_job_without_an_end_ends_now() -> None:
    assert measure(make_job(startTime=START), {}, 10.0, END).hs06sec == 36000


def test_a_job_that_never_began_consumed_nothing_that_we_know_of() -> None:
    assert measure(make_job(), {}, 10.0, END).hs06sec is None


def test_consumption_is_neither_negative_nor_endless() -> None:
    assert measure(make_job(startTime=END, endTime=START), {}, 10.0, END).hs06sec == 0
    assert measure(make_job(startTime=START, endTime=END), {}, 1e9, END).hs06sec == 999_999_999


def test_only_files_that_exist_count() -> None:
    job = make_job(outputs=3)
    for spec, status, size in zip(
        job.Files[1:], ("ready", "transferring", "failed", "ready"), (1, 2, 4, 8), strict=True
    ):
        spec.status, spec.fsize = status, size
    found = measure(job, {}, 1.0, END)
    assert (found.nOutputDataFiles, found.outputFileBytes) == (2, 3)


def test_the_payloads_own_count_comes_before_the_reports() -> None:
    text = json.dumps({"files": {"output": [{"subFiles": [{"file_guid": "g", "nentries": 7}, {"nentries": 1}]}]}})
    report = {"o": ReportedFile("o", nevents=5)}
    assert measure(make_job(metadata=text, nEvents=3), report, 1.0, END).nEvents == 8
    assert measure(make_job(nEvents=3), report, 1.0, END).nEvents == 5
    assert measure(make_job(nEvents=3), {}, 1.0, END).nEvents == 3


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no JSON",
        "[]",
        "{}",
        '{"files": {"output": [{"subFiles": [{"nentries": "many"}]}]}}',
        '{"files": {"output": {}}}',
        "<not closed",
        '<!DOCTYPE x [<!ENTITY e "e">]><x/>',
    ],
)
def test_a_report_of_another_shape_counts_nothing(text: str | None) -> None:
    assert events_by_guid(text) == {}


def test_a_report_without_counts_leaves_what_the_pilot_said() -> None:
    text = json.dumps({"files": {"output": [{"subFiles": [{"file_guid": "g"}]}]}})
    assert measure(make_job(metadata=text, nEvents=3), {}, 1.0, END).nEvents == 3


def test_old_payloads_count_in_xml() -> None:
    text = '<POOLFILECATALOG><File ID="g"><metadata att_name="events" att_value="9"/></File></POOLFILECATALOG>'
    assert events_by_guid(text) == {"g": 9}
