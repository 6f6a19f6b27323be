"""The script that runs a job by hand: complete, and without a surprise in names that somebody else chose."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pandaserver.dataservice.offline_script import offline_script
from pandaserver.taskbuffer.FileSpec import FileSpec
from tests.factories import make_job


def test_a_job_is_downloaded_and_run() -> None:
    job = make_job(PandaID=7, jobParameters='-i "a b"', coreCount=4, AtlasRelease="Atlas-21.0")
    lines = offline_script(job).splitlines()
    assert lines[:2] == ["#!/bin/sh", "# Runs PandaID=7 by hand, in the current directory."]
    assert "# release: Atlas-21.0" in lines
    assert lines[lines.index("set -e") + 1 :] == [
        "rucio download --no-subdir mc:data.0000.root",
        "# writes user.jane.out.0000.root",
        "# writes user.jane.log.0001.tgz",
        "curl -fsSL -o ./run.sh http://localhost/trf/run.sh",
        "chmod +x ./run.sh",
        "export ATHENA_PROC_NUMBER=4",
        './run.sh -i "a b"',
    ]


def test_steps_of_a_job_are_not_parameters() -> None:
    text = offline_script(make_job(jobParameters='-x<MULTI_STEP_EXEC>{"a": 1}</MULTI_STEP_EXEC>'))
    assert "MULTI_STEP" not in text
    assert text.endswith("./run.sh -x\n")


def test_names_in_a_job_run_nothing(tmp_path: Path) -> None:
    evil = "$(touch hit); touch hit\ntouch hit"
    job = make_job(transformation=evil, AtlasRelease=evil, computingSite=evil, jobParameters=" ", inputs=0, log=False)
    job.add_file(FileSpec(lfn=evil, type="input", scope="x"))
    job.add_file(FileSpec(lfn=evil, type="output"))
    tools = {"PATH": str(tmp_path)}
    for name in ("rucio", "curl", "chmod"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "touch").symlink_to("/usr/bin/touch")
    subprocess.run(["/bin/sh", "-c", offline_script(job)], cwd=tmp_path, env=tools, check=False, capture_output=True)
    assert not (tmp_path / "hit").exists()
