"""The pilot's view of a job, key by key; the whole map is compared to a golden reply in tests/api."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pandaserver.jobdispatcher.Protocol import Surroundings, job_map, split_steps, with_place_for_log
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.SiteSpec import Endpoints, SiteSpec
from tests.factories import make_job


class FakeSites:
    def __init__(self, **endpoints: Endpoints) -> None:
        self.specs = {
            name: SiteSpec(name, input_endpoints={"default": found}, output_endpoints={"default": found})
            for name, found in endpoints.items()
        }

    def get(self, name: str) -> SiteSpec:
        return self.specs.get(name, SiteSpec(name))

    def check(self, name: str) -> bool:
        return name in self.specs


SITES = FakeSites(
    TEST_PQ=Endpoints(("TEST_DISK",), {"T0": "TEST_TAPE"}), FAR_PQ=Endpoints(("FAR_DISK",), {"T0": "FAR_TAPE"})
)


def map_of(inputs: int = 1, outputs: int = 1, around: Surroundings | None = None, **attributes: Any) -> dict[str, Any]:
    job = make_job(inputs=inputs, outputs=outputs, **attributes)
    return job_map(job, SITES, around or Surroundings())


def files_of(*files: FileSpec) -> dict[str, Any]:
    job = make_job(inputs=0, outputs=0, log=False)
    job.Files.extend(files)
    return job_map(job, SITES)


def test_a_missing_element_keeps_its_place() -> None:
    files = [FileSpec(lfn="a", type="input", GUID="1"), FileSpec(lfn="b", type="input")]
    found = files_of(*files, FileSpec(lfn="c", type="input", GUID="3", fsize=0))
    assert (found["GUID"], found["fsize"], found["scopeIn"]) == ("1,NULL,3", "NULL,NULL,0", "NULL,NULL,NULL")


def test_input_lists_have_one_length_and_no_name_twice() -> None:
    found = files_of(
        *(FileSpec(lfn=lfn, type="input", GUID=guid) for lfn, guid in (("a", "1"), ("b", "2"), ("a", "3")))
    )
    assert (found["inFiles"], found["GUID"], found["ddmEndPointIn"]) == ("a,b", "1,2", "TEST_DISK,TEST_DISK")


def test_pseudo_inputs_are_not_files_of_the_payload() -> None:
    assert files_of(FileSpec(lfn="a", type="pseudo_input"))["inFiles"] == ""


def test_output_lists_include_the_log_except_for_scopes() -> None:
    found = map_of(outputs=2)
    assert len(found["outFiles"].split(",")) == len(found["ddmEndPointOut"].split(",")) == 3
    assert (found["scopeOut"], found["scopeLog"]) == ("user.jane,user.jane", "user.jane")


def test_a_job_without_log_says_so() -> None:
    found = map_of(log=False)
    assert [found[key] for key in ("logFile", "logGUID", "scopeLog")] == ["", "", ""]


@pytest.mark.parametrize(
    ("token", "site", "told", "endpoint"),
    [
        (None, "TEST_PQ", "NULL", "TEST_DISK"),
        ("T0", "TEST_PQ", "T0", "TEST_TAPE"),
        ("T0,T1", "FAR_PQ", "T0", "FAR_TAPE"),
        ("ddd:ANY_DISK", "TEST_PQ", "dst:ANY_DISK", "ANY_DISK"),
        (None, "UNHEARD_PQ", "NULL", "TEST_DISK"),
        (None, None, "NULL", "TEST_DISK"),
    ],
)
def test_the_token_of_an_output_leads_to_its_storage(
    token: str | None, site: str | None, told: str, endpoint: str
) -> None:
    found = files_of(FileSpec(lfn="a", type="output", destinationDBlockToken=token, destinationSE=site))
    assert (found["destinationDBlockToken"], found["ddmEndPointOut"]) == (told, endpoint)


def test_a_queue_without_storage_leaves_endpoints_empty() -> None:
    found = map_of(inputs=2, computingSite="UNHEARD_PQ")
    assert (found["ddmEndPointIn"], found["ddmEndPointOut"]) == ("", "TEST_DISK,TEST_DISK")
    lost = job_map(make_job(), FakeSites())
    assert (lost["ddmEndPointIn"], lost["ddmEndPointOut"]) == ("", ",")


def test_numbers_that_harvesters_add_up_are_numbers() -> None:
    found = map_of(coreCount=None, minRamCount=None, maxDiskCount=None, maxWalltime=None)
    assert [found[k] for k in ("coreCount", "minRamCount", "maxDiskCount", "maxWalltime")] == [1, 0, 0, 0]
    assert found["ioIntensity"] is None


def test_a_task_of_the_task_layer_has_its_own_number() -> None:
    assert map_of(jediTaskID=7, taskID=3, lockedby="jedi")["taskID"] == 7
    assert map_of(jediTaskID=7, taskID=3)["taskID"] == 3
    assert map_of()["taskID"] == "NULL"


# -- parameters --------------------------------------------------------------------------------------------------------


def test_every_output_but_the_log_has_its_scope() -> None:
    """A pilot takes one scope for each output that is not the log, and fails without."""
    found = files_of(*(FileSpec(lfn=f"{n}.log", type="log", scope=f"s{n}") for n in range(3)))
    assert (found["logFile"], found["outFiles"]) == ("0.log", "0.log,1.log,2.log")
    assert (found["scopeLog"], found["scopeOut"]) == ("s0", "s1,s2")


@pytest.mark.parametrize(
    "key", ["StatusCode", "PandaID", "logFile", "outFiles", "attemptNr", "pilotSecrets", "eventService", "sourceURL"]
)
def test_steps_cannot_say_what_the_server_says(key: str) -> None:
    """Who writes the parameters of a job must not make its pilot report about another one."""
    steps = f'-i x<MULTI_STEP_EXEC>{{"{key}": 4711, "preprocess": {{}}}}</MULTI_STEP_EXEC>'
    found, plain = map_of(jobParameters=steps, PandaID=1), map_of(jobParameters="-i x", PandaID=1)
    assert found.get(key) == plain.get(key)
    assert found["preprocess"] == {}


@pytest.mark.parametrize(
    ("outputs", "log", "listed"),
    [
        (0, False, ""),
        (1, False, "user.jane.out.0000.root,"),
        (1, True, "user.jane.out.0000.root,user.jane.log.0001.tgz"),
    ],
)
def test_an_old_harvester_finds_the_name_of_the_log_among_the_outputs(outputs: int, log: bool, listed: str) -> None:
    found = with_place_for_log(map_of(outputs=outputs, log=log))
    assert found["outFiles"] == listed
    assert found["logFile"] in listed.split(",")


STEPS = '-i x<MULTI_STEP_EXEC>{"preprocess": {"command": "echo", "args": "hi"}}</MULTI_STEP_EXEC>'


def test_steps_are_merged_into_the_map() -> None:
    found = map_of(jobParameters=STEPS)
    assert (found["jobPars"], found["preprocess"], found["cmtConfig"]) == (
        "-i x",
        {"command": "echo", "args": "hi"},
        "",
    )
    assert map_of(jobParameters=STEPS, cmtConfig="x86")["cmtConfig"] == "x86"
    assert map_of()["cmtConfig"] == "NULL"


@pytest.mark.parametrize("text", ["<MULTI_STEP_EXEC>{}", "<MULTI_STEP_EXEC>{</MULTI_STEP_EXEC>", "plain", ""])
def test_what_is_no_block_of_steps_stays_as_it_is(text: str) -> None:
    assert split_steps(text) == (text, {})


def test_encoded_parameters_are_encoded() -> None:
    assert base64.b64decode(map_of(specialHandling="ej")["jobPars"]) == b"-i x"


# -- keys that come and go ---------------------------------------------------------------------------------------------

CONDITIONAL = (
    "loopingCheck debug cloneJob eventService prodDBlockTokenForOutput eventServiceMerge writeToFile allowNoOutput "
    "altStageOut putLogToOS noExecStrCnv inFilePosEvtNum usePrefetcher isHPO onSiteMerging container_name secrets "
    "pilotSecrets credname myproxy"
).split()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {}),
        ({"specialHandling": "lc"}, {"loopingCheck": False}),
        ({"specialHandling": "sj,debug"}, {"debug": "True"}),
        ({"specialHandling": "po,nc,if,up,ho,om"}, dict.fromkeys(CONDITIONAL[9:15], "True")),
        ({"specialHandling": "ao:off"}, {"altStageOut": "off"}),
        ({"eventService": 3}, {"cloneJob": "runonce"}),
        ({"eventService": 3, "specialHandling": "sc:2"}, {"cloneJob": "storeonce"}),
        ({"eventService": 1}, {"eventService": "True", "prodDBlockTokenForOutput": "NULL,NULL"}),
        ({"eventService": 6}, {"eventService": "True"}),
        (
            {"eventService": 2},
            {"eventServiceMerge": "True", "writeToFile": "inputFor_user.jane.out.0000.root:data.0000.root"},
        ),
        ({"specialHandling": "wf"}, {"writeToFile": "tmpin_mc.in:data.0000.root"}),
        ({"container_name": "docker://x"}, {"container_name": "docker://x"}),
    ],
)
def test_a_condition_brings_its_key(attributes: dict[str, Any], expected: dict[str, Any]) -> None:
    found = map_of(**attributes)
    assert {key: found[key] for key in CONDITIONAL if key in found} == expected


def test_secrets_are_for_jobs_that_use_them() -> None:
    around = Surroundings(secrets="{}", pilot_secrets="{}")
    assert not {"secrets", "pilotSecrets"} & map_of(around=around).keys()
    assert "secrets" in map_of(around=around, specialHandling="us")
    assert "pilotSecrets" in map_of(around=around, specialHandling="debug")


def test_an_output_may_be_missing_if_its_file_says_so() -> None:
    files = [FileSpec(lfn=lfn, type="output", dispatchDBlockToken=t) for lfn, t in (("a", "an"), ("b", None))]
    assert files_of(*files)["allowNoOutput"] == "a"
