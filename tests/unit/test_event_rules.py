"""Rules about event ranges that need no database: identifiers, splitting, command lines, and the end of a consumer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.jobdispatcher.Protocol import job_map
from pandaserver.taskbuffer.event_rules import ENDINGS, UPDATES, After, E, RangeKey, SetFacts, judge_end, splits_of
from pandaserver.taskbuffer.event_texts import for_merge, for_pilot, merge_transformation
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import TRANSITIONS, JobStatus
from tests.factories import make_job

NOTHING = SetFacts(done_here=0, ready=0, held=0, done=0, fatal=0, others=0, may_retry=True)

PARAMETERS = "-i x<PANDA_ES_ONLY> --es</PANDA_ES_ONLY><PANDA_ESMERGE_TRF> merge.py </PANDA_ESMERGE_TRF>"
OWN = f"{PARAMETERS}<PANDA_ESMERGE_JOBP>--merge</PANDA_ESMERGE_JOBP>"


@pytest.mark.parametrize(
    "text", ["", "1-2-3-4", "1-2-3-4-5-6", "a-2-3-4-5", "1--3-4-5", "1-2-3-4-²", "1-2-3-4-" + "9" * 30]
)
def test_what_is_no_five_numbers_is_no_range(text: str) -> None:
    assert RangeKey.read(text) is None


def test_a_range_is_named_as_it_is_read() -> None:
    assert str(RangeKey.read("77-2-3-4-5")) == "77-2-3-4-5"


def test_the_last_range_is_shorter() -> None:
    read = splits_of("de,es:7:a.root/5/9/2/4/100,eventservice")
    assert read is not None
    group, (split,), kept = read
    assert (group, kept, split.attempts, split.offset) == ("7", "eventservice,de", 4, 100)
    assert list(split.ranges()) == [(5, 6), (7, 8), (9, 9)]
    assert split.n_ranges == 3
    assert splits_of("eventservice,de") is None


def test_nothing_changes_what_is_finished() -> None:
    assert not [target for target, sources in UPDATES.items() if E.finished in sources]


@pytest.mark.parametrize(
    ("facts", "used", "unused"),
    [
        ({"ready": 1}, After.retry, After.retry_unused),
        ({"ready": 1, "others": 1}, After.retry, After.retry_unused),
        ({"ready": 1, "others": 1, "may_retry": False}, After.wait, After.inaction),
        ({"ready": 1, "others": 1, "queue_open": False}, After.wait, After.inaction),
        ({"ready": 1, "queue_open": False}, After.no_queue, After.no_queue),
        ({"ready": 1, "may_retry": False, "done": 1}, After.out_of_attempts, After.out_of_attempts),
        ({"ready": 1, "may_retry": False, "done": 1, "accepts_partial": True}, After.merge, After.merge_unused),
        ({"held": 1, "done": 1}, After.wait, After.inaction),
        ({"others": 1, "done": 1}, After.wait, After.inaction),
        ({"others": 1, "fatal": 1}, After.wait, After.inaction),
        ({"done": 1}, After.merge, After.merge_unused),
        ({"done": 1, "has_merge": True}, After.wait, After.inaction),
        ({"done": 1, "fatal": 1}, After.out_of_attempts, After.out_of_attempts),
        ({"done": 1, "fatal": 1, "accepts_partial": True}, After.merge, After.merge_unused),
    ],
)
def test_the_end_of_a_consumer(facts: dict[str, Any], used: After, unused: After) -> None:
    found = replace(NOTHING, **facts)
    assert judge_end(found) is unused
    assert judge_end(replace(found, done_here=1, done=max(found.done, 1))) is used


@pytest.mark.parametrize(
    ("facts", "after"),
    [
        ({}, After.superseded),
        ({"fatal": 2}, After.all_failed),
        ({"ready": 1, "may_retry": False}, After.last_unprocessed),
    ],
)
def test_a_set_of_which_nothing_was_done(facts: dict[str, Any], after: After) -> None:
    assert judge_end(replace(NOTHING, **facts)) is after


def test_every_ending_is_a_transition() -> None:
    known = {t.target for t in TRANSITIONS if t.by == "EventService" and t.source is JobStatus.holding}
    assert {ending.status for ending in ENDINGS.values()} <= known
    assert set(ENDINGS) == set(After)


def test_everybody_gets_the_part_of_the_command_line_that_is_theirs() -> None:
    assert for_pilot(OWN, 1) == "-i x --es"
    assert for_pilot(OWN, None) == OWN
    assert for_merge(OWN) == "--merge"
    assert for_merge(PARAMETERS) == "-i x"
    assert merge_transformation(OWN, "run.py") == "merge.py"
    assert merge_transformation("-i x", "run.py") == "run.py"


def test_a_merge_job_is_told_what_makes_which_output() -> None:
    job = make_job(eventService=2, inputs=0, outputs=2, log=False, jobParameters="--merge")
    for lfn in ("zip://a.zip", "user.jane.out.0000.root.1-2-3-4-5", "user.jane.out.0001.root.1-2-3-4-5"):
        job.add_file(FileSpec(lfn=lfn, type="input"))
    told = job_map(job, SiteMapper(SiteRows, SiteSpec("default")))
    assert told["eventServiceMerge"] == "True"
    assert told["writeToFile"] == (
        "inputFor_user.jane.out.0000.root:zip://a.zip,user.jane.out.0000.root.1-2-3-4-5"
        "^inputFor_user.jane.out.0001.root:zip://a.zip,user.jane.out.0001.root.1-2-3-4-5"
    )


def test_a_consumer_is_told_that_it_is_one() -> None:
    told = job_map(make_job(eventService=1, jobParameters=OWN), SiteMapper(SiteRows, SiteSpec("default")))
    assert (told["eventService"], told["jobPars"]) == ("True", "-i x --es")
    assert told["prodDBlockTokenForOutput"] == "NULL,NULL"
