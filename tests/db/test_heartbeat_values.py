"""Whatever a pilot says beside its job and state, every database takes the heartbeat."""

from __future__ import annotations

from typing import Any, Final

from pandaserver.api.parameters import Signature
from pandaserver.api.registry import Door
from pandaserver.jobdispatcher.heartbeat_fields import FIELDS, REQUIRED, report_of
from pandaserver.jobdispatcher.heartbeat_requests import update_job
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.requests import Reception
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import put_jobs, query

_SIGNATURE: Final = Signature(update_job)

#: Numbers at the ends of what columns of 32 and 64 bits and decimals take, as pilots write them, and beyond.
NUMBERS: Final = (
    "0", "-1", "2147483647", "2147483648", "-2147483649", "9223372036854775807", "-9223372036854775807",
    "9223372036854775808", "99999.99999999", "-99999.99999999", "999999.9999999", "99999999999.99999", "1e308",
    "-1e308", "1e-308", "nan", "inf", "", "9" * 400, "0x10", "٣", "1_0", " 7 ",
)  # fmt: skip

#: Texts that are long, odd or not texts at all.
TEXTS: Final = ("x" * 5000, "é" * 5000, "𝄞" * 5000, "a\0b", "\udcff", "'; --", "%s :x ? \\", ["a"], {"a": 1}, True, 1.5)

METRICS: Final = tuple(f"leak={n} chi2={n} " for n in (*NUMBERS, "-1e15", "99999999998.999999", "1e12"))

VALUES: Final = (*NUMBERS, *TEXTS, *METRICS)


def say(tbuf: TaskBuffer, state: str, **fields: Any) -> Reception:
    bound = _SIGNATURE.bind(Door.LEGACY, {"state": state, **fields}, typed=True)
    return tbuf.updateJobStatus(report_of(bound.arguments)).reception


def test_no_value_costs_a_heartbeat_or_the_final_report(tbuf: TaskBuffer) -> None:
    names = [field.legacy for field in FIELDS if field.default is not REQUIRED and field.legacy != "attemptNr"]
    ids = put_jobs(tbuf, len(VALUES), "sent", attemptNr=1)
    failed = []
    for pid, value in zip(ids, VALUES, strict=True):
        said = dict.fromkeys(names, value)
        try:
            receptions = {say(tbuf, state, jobId=pid, attemptNr=1, **said) for state in ("running", "finished")}
        except PandaError as error:
            failed.append((repr(value)[:30], str(error)))
            continue
        assert receptions == {Reception.applied}
    assert failed == []
    assert query(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.Job_Output_Report") == [(len(VALUES),)]
