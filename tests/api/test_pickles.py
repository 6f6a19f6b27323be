"""Pickles of clients: the golden ones are understood, every other is refused before it runs."""

from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import pickletools
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandaclient.FileSpec import FileSpec as ClientFileSpec
from pandaclient.JobSpec import JobSpec as ClientJobSpec

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer import WrappedPickle
from pandaserver.taskbuffer.client_jobs import (
    job_as_mapping,
    job_as_state,
    job_from_state,
    read_ids,
    read_jobs,
    unpickled,
)
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_ATTRIBUTES, JobSpec
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.WrappedPickle import ForbiddenPickle, Record, dump_for_clients, loads
from tests.factories import make_job

GOLDEN = Path(__file__).parent.parent / "golden" / "pickle"


def golden(name: str) -> str:
    return (GOLDEN / name).read_bytes().decode("latin-1")


# ---- what clients send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jobs_python3.txt", "jobs_python2.txt", "jobs.json"])
def test_jobs_of_every_client_mean_the_same(name: str) -> None:
    job, other = read_jobs(golden(name))
    assert (job.jobDefinitionID, job.jobName, job.transformation) == (
        5, "myjob.é'\"\\n\n2nd line", "http://localhost:25080/trf/run.sh",
    )  # fmt: skip
    assert (job.maxCpuCount, job.cpuConversion, job.PandaID, job.AtlasRelease) == (3600, 1.5, None, None)
    assert job.stateChangeTime == datetime(2024, 1, 2, 3, 4, 5, 678)
    assert [(f.lfn, f.type, f.fsize, f.jediTaskID) for f in job.Files] == [
        ("data.0001.root", "input", 12345678901, None),
        ("user.jane.out.0001.root", "output", 12345678901, None),
    ]
    assert (other.jobName, other.Files) == ("second", [])


def test_a_server_side_state_has_its_note_of_changes_left_out() -> None:
    state = ["NULL"] * 124
    job = job_from_state([*state, {"jobStatus": "defined"}, []])
    assert job.gco2_global is None


def test_a_longer_state_is_tolerated() -> None:
    state = [1, *["NULL"] * (len(JOB_ATTRIBUTES) - 1), "from the future", []]
    assert job_from_state(state).PandaID == 1


def test_a_short_state_leaves_the_rest_unset() -> None:
    job = job_from_state([1, 2, []])
    assert (job.PandaID, job.jobDefinitionID, job.schedulerID) == (1, 2, None)


@pytest.mark.parametrize("unset", ["NULL", None, ""])
def test_unset_has_three_spellings(unset: object) -> None:
    assert job_from_state([unset, unset, []]).PandaID is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PandaID", "17", 17),
        ("PandaID", 17.0, 17),
        ("PandaID", True, 1),
        ("cpuConversion", "1.5", 1.5),
        ("jobName", 17, "17"),
        ("creationTime", "2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5)),
        ("creationTime", {"_datetime_object": "2024-01-02 03:04:05.000006"}, datetime(2024, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_values_become_what_the_attribute_is(name: str, value: object, expected: object) -> None:
    assert getattr(job_from_state(state_with(name, value)), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("PandaID", "x", "int, got 'x'"),
        ("PandaID", 2**63, "int, got 9223372036854775808"),
        ("PandaID", "9" * 5000, "int, got"),
        ("PandaID", float("inf"), "int, got inf"),
        ("PandaID", [1], "int, got list"),
        ("cpuConversion", "nan", "float, got 'nan'"),
        ("creationTime", "yesterday", "datetime, got 'yesterday'"),
        ("creationTime", 5, "datetime, got 5"),
        ("jobName", "a\0", "str, got 'a\\x00'"),
        ("jobName", "\ud800", "str, got '\\ud800'"),
        ("jobName", b"x", "str, got bytes"),
        ("jobName", True, "str, got True"),
    ],
)
def test_a_value_that_does_not_fit_names_job_and_attribute(name: str, value: object, kind: str) -> None:
    with pytest.raises(BadRequest) as refused:
        job_from_state(state_with(name, value), 3)
    assert refused.value.message.startswith(f"job 3: attribute {name} must be {kind}")


def state_with(name: str, value: object) -> list[Any]:
    return [value if attribute == name else "NULL" for attribute in JOB_ATTRIBUTES] + [[]]


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ("{}", "the pickle has a forbidden"),
        ("[1]", "job 0 must be a JobSpec, not int"),
        ("[[]]", "job 0 has no values"),
        ('[["NULL", 5]]', "job 0: the last element must be a list, not int"),
        ('[["NULL", [5]]]', "job 0, file 0 must be a FileSpec, not int"),
        ('[["NULL", [["x", 1, null]]]]', "job 0, file 0: attribute row_ID must be int, got 'x'"),
        ("(dp0\n.", "must be a list of jobs, not dict"),
        ("[", "is not JSON"),
        (17, "must be a list of jobs, not int"),
    ],
)
def test_what_is_no_job_list_is_refused(jobs: object, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_jobs(jobs)
    assert refused.value.message.startswith(reason)


def test_a_file_is_not_a_job() -> None:
    with pytest.raises(BadRequest, match="job 0 must be a JobSpec, not Record"):
        read_jobs(dump_for_clients([FileSpec()]).decode("latin-1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (pickle.dumps([1, 2**40], 0).decode(), [1, 2**40]),
        (pickle.dumps(7, 0).decode(), [7]),
        (pickle.dumps((1, "2"), 0).decode(), [1, 2]),
        ("[3]", [3]),
        ("1, 2", [1, 2]),
        ([1], [1]),
    ],
)
def test_identifiers_come_in_many_forms(text: object, expected: list[int]) -> None:
    assert read_ids(text) == expected


def test_plain_values_survive() -> None:
    value = {"a": [1, -2, 2**70, 1.5, None, True, "é\n'", ("x", ())], 5: {}}
    assert unpickled(dict)(pickle.dumps(value, 0).decode("latin-1")) == value


# ---- what nobody may send --------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/owned",)


#: The beginning of a job, without its last argument.
JOB = b"ccopy_reg\n_reconstructor\n(ctaskbuffer.JobSpec\nJobSpec\nc__builtin__\nobject\n"

FORBIDDEN = {
    "a call of the system": pickle.dumps(Evil(), 0),
    "another name": b"cos\nsystem\n.",
    "another name of a module allowed": b"c__builtin__\neval\n.",
    "a dotted name": b"cdatetime\ndatetime.now\n.",
    "the real constructor of classes": b"ccopy_reg\n__newobj__\n.",
    "INST": b"(S'x'\nios\nsystem\n.",
    "OBJ": b"(c__builtin__\nobject\no.",
    "NEWOBJ": b"c__builtin__\nobject\n)\x81.",
    "STACK_GLOBAL": b"Vos\nVsystem\n\x93.",
    "EXT": b"\x82\x01.",
    "PERSID": b"Pid\n.",
    "BINPERSID": b"Vid\nQ.",
    "protocol 2": pickle.dumps([1], 2),
    "protocol 4": pickle.dumps([1], 4),
    "binary integer": pickle.dumps([1], 1),
    "POP": b"I1\n0.",
    "DUP": b"I1\n2.",
    "no end": b"(lp0\n",
    "nothing": b"",
    "a number without end": b"I" + b"9" * 100 + b"\n.",
    "an object number that reserves memory": b"I1\np999999999\n.",
    "junk": b"\xff\xfe",
    "an instruction after the end of the list": b"(lp0\n\x80\x04.",
}

HARMLESS_INSTRUCTIONS_FORBIDDEN_USE = {
    "a constructor of something else": b"ccopy_reg\n_reconstructor\n(cdatetime\ndatetime\nc__builtin__\nobject\nNtR.",
    "a constructor with another base": b"ccopy_reg\n_reconstructor\n(ctaskbuffer.JobSpec\nJobSpec\nNNtR.",
    "a constructor with a state": JOB + b"I1\ntR.",
    "a class called": b"ctaskbuffer.JobSpec\nJobSpec\n(tR.",
    "object called": b"c__builtin__\nobject\n(tR.",
    "encode with another codec": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    "encode of something else": b"c_codecs\nencode\n(I1\nVlatin1\ntR.",
    "a time of text": b"cdatetime\ndatetime\n(Vx\ntR.",
    "a time of numbers": b"cdatetime\ndatetime\n(I2024\nI1\nI1\ntR.",
    "a time that is none": b"cdatetime\ndatetime\n(c_codecs\nencode\n(V" + b"x" * 10 + b"\nVlatin1\ntRtR.",
    "a state that is a mapping": JOB + b"NtR(db.",
    "a state of a class": b"ctaskbuffer.JobSpec\nJobSpec\n(lb.",
    "a state of a function": b"c_codecs\nencode\n(dVx\nI1\nsb.",
    "a state of a list": b"(l(dVx\nI1\nsb.",
    "a state of a number": b"I1\n(lb.",
    "a number called": b"I1\n(tR.",
    "a list as key": b"(d(lI1\ns.",
    "too little on the stack": b"a.",
    "an object nobody put": b"g7\n.",
    "an item of a number": b"I1\nI2\nI3\ns.",
}


@pytest.mark.parametrize("data", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_instruction_is_found_before_anything_runs(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WrappedPickle, "_Unpickler", None)
    with pytest.raises(ForbiddenPickle):
        loads(data)


@pytest.mark.parametrize("data", HARMLESS_INSTRUCTIONS_FORBIDDEN_USE.values(), ids=HARMLESS_INSTRUCTIONS_FORBIDDEN_USE)
def test_allowed_instructions_build_nothing_else(data: bytes) -> None:
    with pytest.raises(BadRequest):
        loads(data)


def test_a_pickle_has_a_largest_size() -> None:
    with pytest.raises(BadRequest, match="larger than 10 bytes"):
        loads(pickle.dumps([1, 2, 3], 0), max_size=10)


def test_deep_tuples_are_not_built() -> None:
    deep = b"(tp0\n" + b"".join(b"(g%d\ntp%d\n" % (n, n + 1) for n in range(20_000)) + b"."
    with pytest.raises(ForbiddenPickle, match="more than 10000 tuples"):
        loads(deep)


def test_the_deepest_tuple_can_still_be_hashed() -> None:
    deep = b"(d" + b"(" * 10_000 + b"t" * 10_000 + b"I1\ns."
    assert isinstance(loads(deep), dict)


def test_deep_lists_do_no_harm() -> None:
    value = loads(b"(l" * 100_000 + b"a" * 99_999 + b".")
    assert len(read_jobs(value)) == 1
    with pytest.raises(BadRequest):
        read_ids(value)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80) | st.text("(ltdsabNRe.ugpIVcS0123456789\n'", max_size=80).map(str.encode))
def test_no_bytes_are_a_bug(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        loads(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1722), st.binary(min_size=1, max_size=3))
def test_no_damage_to_a_good_pickle_is_a_bug(place: int, damage: bytes) -> None:
    data = (GOLDEN / "jobs_python3.txt").read_bytes()
    with contextlib.suppress(BadRequest):
        for job in read_jobs((data[:place] + damage + data[place + len(damage) :]).decode("latin-1")):
            assert isinstance(job, JobSpec)


# ---- what clients get ------------------------------------------------------------------------------------------------


def sample() -> JobSpec:
    job = make_job(PandaID=4711, jobStatus=JobStatus.activated, cpuConversion=1.5, jobName="é 'x'\n2")
    job.creationTime = datetime(2024, 1, 2, 3, 4, 5, 678)
    return job


class Client(pickle.Unpickler):
    """Reads as the stock client does: the module names of the reply lead to its own classes."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("pandaserver.taskbuffer.JobSpec", "JobSpec"): ClientJobSpec,
            ("pandaserver.taskbuffer.FileSpec", "FileSpec"): ClientFileSpec,
            ("copy_reg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
            ("__builtin__", "object"): object,
        }
        return known.get((module, name)) or super().find_class(module, name)


def test_a_reply_is_the_golden_one() -> None:
    assert dump_for_clients([sample(), None]).decode("latin-1") == golden("reply.txt")


def test_a_reply_uses_the_instructions_of_protocol_0_only() -> None:
    used = {op.name: op.proto for op, _, _ in pickletools.genops(dump_for_clients([sample(), True, {"a": (1,)}]))}
    assert set(used.values()) == {0}


def test_the_stock_client_reads_a_reply() -> None:
    job, nothing = Client(io.BytesIO(dump_for_clients([sample(), None]))).load()
    assert (job.PandaID, job.jobStatus, job.jobName, job.AtlasRelease) == (4711, "activated", "é 'x'\n2", "NULL")
    assert job.creationTime == datetime(2024, 1, 2, 3, 4, 5, 678)
    assert [f.lfn for f in job.Files] == ["data.0000.root", "user.jane.out.0000.root", "user.jane.log.0001.tgz"]
    assert nothing is None


def test_files_in_a_reply_lead_back_to_their_job() -> None:
    (record,) = loads(dump_for_clients([sample()]))
    assert isinstance(record, Record)
    assert all(file.state[-1] is record for file in record.state[-1])


def test_what_we_write_we_read() -> None:
    (job,) = read_jobs(dump_for_clients([sample()]).decode("latin-1"))
    assert job_as_mapping(job) == job_as_mapping(sample())
    assert job_as_mapping(job_from_state(job_as_state(sample()))) == job_as_mapping(sample())


def test_numbers_of_databases_become_plain_ones() -> None:
    assert pickle.loads(dump_for_clients([Decimal("3"), Decimal("2.5"), JobStatus.failed])) == [3, 2.5, "failed"]


@pytest.mark.parametrize("value", [object(), Evil(), lambda: 0, os.system])
def test_nothing_else_is_sent(value: object) -> None:
    with pytest.raises((TypeError, pickle.PicklingError)):
        dump_for_clients([value])


def test_a_thousand_jobs_are_read_in_a_moment() -> None:
    text = dump_for_clients([make_job(jobName=f"job {n}") for n in range(1000)]).decode("latin-1")
    assert len(read_jobs(text)) == 1000
