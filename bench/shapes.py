"""What jobs, heartbeats and reports look like: sizes and fields as stock clients and pilots send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.testing.development_issuer import VO

#: Seconds since the epoch; pilots send their start times so, and servers ignore them.
_STARTED: Final = 1795159132.4910505


def client_job(queue: str, number: int) -> JobSpec:
    """Return a user's job with an input, an output and a log, before it is submitted."""
    name = f"user.jane.bench.{number:06}"
    job = JobSpec(
        jobDefinitionID=1,
        jobName=name,
        transformation="http://localhost:25080/trf/runGen-00-00-02",
        prodSourceLabel="user",
        processingType="panda-client-1.5.80-jedi-run",
        computingSite=queue,
        cloud="TEST",
        VO=VO,
        assignedPriority=1000,
        currentPriority=1000,
        coreCount=1,
        minRamCount=2000,
        maxDiskCount=4000,
        maxCpuCount=36000,
        AtlasRelease="Atlas-23.0.1",
        homepackage="AnalysisTransforms-Athena_23.0.1",
        cmtConfig="x86_64-centos7-gcc11-opt",
        prodDBlock="mc23_13p6TeV:mc23_13p6TeV.601229.PhPy8EG_A14_ttbar.deriv.DAOD_PHYS.e8514_s4162",
        destinationDBlock="user.jane.bench",
        destinationSE=queue,
        jobParameters=f"-j '' --sourceURL http://localhost:25080 -r ./ -l {name}.lib.tgz -o \"{{'out.root': "
        f'\'{name}.out.root\'}}" -i "[\'{name}.in.root\']" -p "python%20run.py%20--events%20{number}%20%25IN"',
    )
    job.add_file(
        _file(f"{name}.in.root", "input", "mc23.in", prodDBlock="mc23.in", fsize=2_000_000_000, checksum="ad:0a1b2c3d")
    )
    for kind, suffix in (("output", "out.root"), ("log", "log.tgz")):
        dataset = f"user.jane.bench.{kind}"
        spec = _file(f"{name}.{suffix}", kind, dataset, destinationDBlock=dataset, destinationSE=queue)
        job.add_file(spec)
    return job


def _file(lfn: str, kind: str, dataset: str, **more: Any) -> FileSpec:
    return FileSpec(lfn=lfn, type=kind, dataset=dataset, scope="user.jane", **more)


def wanted(queue: str) -> Mapping[str, Any]:
    """Return the parameters of a pilot's getJob."""
    return {
        "siteName": queue,
        "computingElement": queue,
        "prodSourceLabel": "user",
        "diskSpace": 0,
        "workingGroup": "",
        "cpu": 2596.126,
        "mem": 24105.56,
        "node": "slot1@b7n12.example.org",
        "allowOtherCountry": False,
    }


def heartbeat(panda_id: int, queue: str, attempt: int) -> Mapping[str, Any]:
    """Return the parameters of an update from a running payload, with what a memory monitor has measured."""
    return {
        "jobId": str(panda_id),
        "state": "running",
        "timestamp": "2026-11-20T07:18:52+00:00",
        "siteName": queue,
        "node": "slot1@b7n12.example.org",
        "attemptNr": attempt,
        "schedulerID": "harvester-bench",
        "pilotID": "http://logs.example.org/1|PR|3.11.5.1",
        "startTime": _STARTED,
        "xml": "",
        "metaData": "",
        "coreCount": 1,
        "cpuConsumptionTime": 1200 + panda_id % 1000,
        "cpuConsumptionUnit": "s+AMD EPYC 1024 KB 2-Core Processor 1-Socket+AVX2",
        "jobMetrics": "coreCount=1 nEvents=1000 leak=12.5 chi2=0.8 workDirSize=12345 ",
        **{f"{kind}{what}": 1_200_000 for kind in ("max", "avg") for what in ("RSS", "VMEM", "SWAP", "PSS")},
        **{f"{kind}{what}": 900_000 for kind in ("tot", "rate") for what in ("RCHAR", "WCHAR", "RBYTES", "WBYTES")},
    }


def final(panda_id: int, queue: str, attempt: int, report: str) -> Mapping[str, Any]:
    """Return the parameters of the last update, with its output report."""
    return {
        **heartbeat(panda_id, queue, attempt),
        "state": "finished",
        "xml": report,
        "pilotTiming": "12|34|1200|15|7|3",
        "pilotLog": "",
        "endTime": _STARTED + 1200,
        "pilotErrorCode": 0,
        "pilotErrorDiag": "",
        "transExitCode": 0,
        "exeErrorCode": 0,
        "exeErrorDiag": "",
    }


def entry(lfn: str) -> Mapping[str, Any]:
    """Return what a report says about one file."""
    return {
        "guid": "5f0c7a52-8a3c-4ac1-9d4f-0c1b2a39d501",
        "fsize": 95_690_123,
        "adler32": "062c86c4",
        "surl": f"davs://storage.example.org:1094/user/jane/24/d6/{lfn}",
        "endpoint": "",
    }
