"""Every function of the stock client's module: what it does here, shown by calling it.

``EXERCISES`` has an exercise for each public function of each release. An exercise calls the function as a user does,
and looks at what the client made of the reply.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from tests.db.crowd import insert
from tests.db.stages import put_job
from tests.e2e.client_rig import CERTIFICATE, TOKEN, TOKEN_VO, User
from tests.e2e.grid_rig import VO

Exercise = Callable[[User], None]

EXERCISES: Final[dict[str, Exercise]] = {}

NOW: Final = datetime.now(UTC).replace(tzinfo=None)

#: Functions that only shape what a public one sends: the exercise of the other one calls them.
INNER: Final = {
    "getFullJobStatus_internal": "getFullJobStatus",
    "getJediTaskDetails_internal": "getJediTaskDetails",
    "getJobStatus_internal": "getJobStatus",
    "get_cert_attributes_internal": "get_cert_attributes",
    "get_files_in_datasets_internal": "get_files_in_datasets",
    "get_user_secrets_internal": "get_user_secrets",
    "http_request_decorator": "killJobs",
    "insertTaskParams_internal": "insertTaskParams",
    "retryTask_internal": "retryTask",
    "submitJobs_internal": "submitJobs",
}


def exercise(*names: str) -> Callable[[Exercise], Exercise]:
    """Register an exercise of these functions, of which a release has at least one."""

    def register(function: Exercise) -> Exercise:
        EXERCISES.update(dict.fromkeys(names, function))
        return function

    return register


# ---- jobs


@exercise("submitJobs")
def submit_jobs(user: User) -> None:
    jobs = [user.new_job(jobName=name, jobsetID=-1) for name in ("one", "two")]
    jobs.append(user.new_job(prodSourceLabel="prod_test"))
    found = user.ask("submitJobs", {"jobs": jobs})
    ids = [row[0] for row in found]
    assert sorted(set(ids)) == ids
    assert len({row[1] for row in found[:2]}) == 1, "one submission has one number"
    assert len({row[2]["jobsetID"] for row in found[:2]}) == 1
    assert isinstance(found[0][2]["jobsetID"], int), found
    assert found[2][2] == jobs[2]["jobName"], "the label is none of users, so the name is what identifies the job"
    assert [job["jobName"] for job in user.ask("getJobStatus", ids[:2])] == ["one", "two"]
    refused = user.client.call("submitJobs", {"jobs": [user.new_job(prodSourceLabel="managed")]})
    assert refused.returned == [255, None]
    if not user.speaks_v1:  # the newest release keeps the reason to itself
        assert "ERROR: job 0: prodSourceLabel managed needs a production role" in refused.printed
    if not user.speaks_v1:
        [[as_json, *_]] = user.ask("submitJobs", {"jobs": jobs[:1]}, no_pickle=True)
        assert as_json > found[1][0]


@exercise("getJobStatus", "getFullJobStatus")
def look_at_jobs(user: User) -> None:
    panda_id = user.submitted(jobParameters="a b  'c' %41 +", jobStatus="defined", jobName="é €")
    for function in ("getJobStatus", "getFullJobStatus"):
        job, nobody = user.ask(function, [panda_id, 999_999_999])
        assert nobody is None
        assert (job["PandaID"], job["jobStatus"], job["prodUserName"]) == (panda_id, "activated", user.name)
        assert (job["jobParameters"], job["jobName"]) == ("a b  'c' %41 +", "é €")
        assert [file["type"] for file in job["Files"]] == ["output", "log"]
    if not user.speaks_v1:
        [job] = user.ask("getJobStatus", [panda_id], no_pickle=True)
        assert (job["PandaID"], job["jobStatus"]) == (panda_id, "activated")


@exercise("killJobs")
def kill_jobs(user: User) -> None:
    mine = user.submitted()
    with user.rig.task_buffer() as tbuf:
        foreign = put_job(tbuf, "activated", prodUserID="/CN=Somebody Else")
    assert user.ask("killJobs", [mine, foreign, 999_999_999]) == [True, False, False]
    states = [job["jobStatus"] for job in user.ask("getJobStatus", [mine, foreign])]
    assert states == ["cancelled", "activated"]


@exercise("setDebugMode")
def debug(user: User) -> None:
    panda_id = user.submitted()
    # v1 demands the production role, the historical method that the job is one's own.
    returned = user.call("setDebugMode", panda_id, True, False, as_production=user.speaks_v1).returned
    assert returned == [0, None if user.speaks_v1 else "Succeeded"]
    assert "debug" in user.ask("getJobStatus", [panda_id])[0]["specialHandling"].split(",")
    with user.rig.task_buffer() as tbuf:
        foreign = put_job(tbuf, "activated", prodUserID="/CN=Somebody Else", prodUserName="Somebody Else")
    refused = user.call("setDebugMode", foreign, True, False).returned
    assert refused == [255, None] if user.speaks_v1 else "Succeeded" not in refused[1]


@exercise("getUserJobMetadata")
def metadata(user: User) -> None:
    task = 40_000_000 + next(user.rig.numbers)
    panda_id = put_task_job(user, task, "finished", prodSourceLabel="user")
    with user.rig.task_buffer() as tbuf:
        insert(
            tbuf,
            "PANDA.metaTable",
            {"PandaID": panda_id, "metaData": '{"n": 1}', "modificationTime": datetime.now(UTC).replace(tzinfo=None)},
        )
    assert user.ask("getUserJobMetadata", task) == {str(panda_id): '{"n": 1}'}
    assert user.ask("getUserJobMetadata", 999_999_999) == {}


@exercise("getPandaIDsWithTaskID")
def jobs_of_task(user: User) -> None:
    panda_id = put_task_job(user, 41_000_001)
    assert panda_id in user.ask("getPandaIDsWithTaskID", 41_000_001)
    assert user.ask("getPandaIDsWithTaskID", 999_999_999) == []


@exercise("get_job_descriptions")
def descriptions(user: User) -> None:
    panda_id = put_task_job(user, 41_000_002)
    found = {job["PandaID"]: job for job in user.ask("get_job_descriptions", 41_000_002)}
    assert found[panda_id]["jobStatus"] == "activated"
    assert user.ask("get_job_descriptions", 999_999_999) == []


@exercise("get_events_status", "update_events")
def events(user: User) -> None:
    panda_id = put_task_job(user, 42_000_001, "running", eventService=1, jobsetID=5)
    asked = [{"task_id": 42_000_001, "panda_id": panda_id}]
    assert user.ask("get_events_status", asked) == {str(panda_id): {}}
    changes = [{"eventRangeID": f"42000001-{panda_id}-5-1-3", "eventStatus": "finished"}]
    found = user.ask("update_events", changes, as_production=True)
    assert (found["StatusCode"], found["Returns"]) == (0, [False])
    refused = user.call("update_events", changes).returned
    assert refused == [255, None] if user.speaks_v1 else "no production/pilot role" in refused[1], refused


# ---- files


@exercise("putFile", "getFile")
def files(user: User) -> None:
    path = user.directory / f"sources.{uuid4()}.tar.gz"
    path.write_bytes(gzip.compress(uuid4().bytes))
    assert user.ask("putFile", str(path)) == "True"
    copy = user.directory / "copy"
    assert user.ask("getFile", path.name, output_path=str(copy)) is True
    assert copy.read_bytes() == path.read_bytes()
    again = user.call("putFile", str(path))
    assert again.returned[1].startswith("ERROR"), again
    same = path.with_name(f"sources.{uuid4()}.tar.gz")
    same.write_bytes(path.read_bytes())
    reused = user.call("putFile", str(same), reuseSandbox=True)
    assert reused.returned == [0, f"NewFileName:{path.name}"]
    fetched = user.call("getFile", "nothing.here", output_path=str(copy))
    assert fetched.returned[0] != 0


@exercise("requestEventPicking")
def event_picking(user: User) -> None:
    wanted = user.directory / "events.txt"
    wanted.write_text("358031 1\n358031 2\n")
    before = requests_in(user, "evp.")
    arguments = [str(wanted), "AOD", "physics_Main", "", "", [], "", f"user.{uuid4().hex}.x", "jedi", "--p", 1, False]
    outcome = user.call("requestEventPicking", *arguments, "")
    [request] = requests_in(user, "evp.") - before
    assert "runEvent=358031,1\nrunEvent=358031,2\n" in request
    assert f"userName={'/DC=org/DC=test/CN=' if user.kind == CERTIFICATE else ''}{user.name}" in request
    if user.speaks_v1:
        # This release compares bytes with True, so it ends with any server; the request is there.
        assert (outcome.exit, "b'True'" in outcome.printed) == (255, True)
    else:
        assert outcome.returned[0] is True


@exercise("send_file_recovery_request")
def recovery(user: User) -> None:
    before = requests_in(user, "recov.")
    accepted, told = user.ask("send_file_recovery_request", 43_000_001, dry_run=True)
    [request] = requests_in(user, "recov.") - before
    assert accepted is True
    found = json.loads(request)
    assert (found["jediTaskID"], found["dryRun"], user.name in found["userName"]) == (43_000_001, True, True)
    if user.speaks_v1:
        assert told["logFileURL"].startswith(f"{user.rig.https}/cache/jedilog/lost_file_recovery.")


@exercise("send_workflow_request")
def workflow_request(user: User) -> None:
    for check in (True, False):
        accepted, told = user.ask("send_workflow_request", {"outDS": "user.x.y"}, check=check)
        assert (accepted, told["status"]) == (True, False), told
        assert "workflow" in told["log"]


# ---- users


@exercise("hello")
def hello(user: User) -> None:
    assert user.ask("hello") in ("OK", "alive=yes", "")


@exercise("get_cert_attributes")
def attributes(user: User) -> None:
    assert user.ask("get_cert_attributes") == {}
    found = user.ask("get_cert_attributes", as_production=True)
    vo = VO if user.kind == CERTIFICATE else TOKEN_VO
    assert any(f"/{vo}/Role=production" in value for value in found.values()), found
    assert "Bearer" not in json.dumps(found)


@exercise("set_user_secret", "set_user_secert", "get_user_secrets", "get_user_secerts")
def secrets(user: User) -> None:
    put, get = ("set_user_secret", "get_user_secrets") if user.speaks_v1 else ("set_user_secert", "get_user_secerts")
    assert user.ask(put, None, None)[0] is True
    assert user.ask(get) == [True, {}]
    for name, value in (("first", "1"), ("second", "ä 'b' \"c\" %41+&=\n")):
        assert user.ask(put, name, value)[0] is True
    assert user.ask(get) == [True, {"first": "1", "second": "ä 'b' \"c\" %41+&=\n"}]
    assert user.ask(put, "first", None)[0] is True
    assert list(user.ask(get)[1]) == ["second"]
    assert user.ask(put, None, None)[0] is True
    assert user.ask(get) == [True, {}]


@exercise("registerProxyKey", "getProxyKey")
def proxy_key(user: User) -> None:
    registered = user.call("registerProxyKey", "name", "origin", "myproxy.example").returned
    found = user.ask("getProxyKey")
    if user.kind == CERTIFICATE:
        assert registered == [0, True]
        assert (found["credname"], found["origin"], found["myproxy"]) == ("name", "origin", "myproxy.example")
    else:  # what is kept until the certificate ends is not kept without one
        assert (registered[0], registered[1] is True, found) == (0, False, {})


@exercise("get_new_token")
def new_token(user: User) -> None:
    user.rig.issuer.user = user.name
    outcome = user.call("get_new_token")
    if user.kind == TOKEN:
        assert isinstance(outcome.returned, str)
        assert outcome.returned.count(".") == 2
        assert "Please go to" in outcome.printed
        with user.rig.issuer.short_lived():
            user.call("get_new_token")
        refreshed = user.rig.issuer.refreshed
        assert user.ask("submitJobs", {"jobs": [user.new_job()]})
        assert user.rig.issuer.refreshed == refreshed + 1, "a token that is about to end is exchanged"
    else:
        assert outcome.exit == 255  # there is no issuer to ask


@exercise("get_user_name_from_token")
def name_from_token(user: User) -> None:
    if user.kind == TOKEN:
        name, groups, nickname = user.call("get_user_name_from_token").returned
        assert (name, nickname) == (user.name, user.nickname)
        assert groups == [TOKEN_VO, f"{TOKEN_VO}/production"]


@exercise("getPandaClientVer")
def client_version(user: User) -> None:
    assert user.ask("getPandaClientVer", False).count(".") == 2


# ---- services that are not here


@exercise("call_idds_command", "call_idds_user_workflow_command")
def idds(user: User) -> None:
    for compress in (False, True):
        done, why = user.ask("call_idds_command", "get_requests", kwargs={"request_id": 1}, compress=compress)
        assert (done, "iDDS" in why) == (False, True), why
    done, why = user.ask("call_idds_user_workflow_command", "get_status", {"request_id": 1})
    assert (done, "iDDS" in why) == (False, True), why


@exercise("submit_workflow", "submit_workflow_tmp", "get_workflow_details")
def native_workflows(user: User) -> None:
    """Native workflows come with the task layer; what they answer until then is a refusal that the client reads."""
    for function, argument in (("submit_workflow", {"a": 1}), ("submit_workflow_tmp", {"a": 1})):
        refused_clearly(user.call(function, argument))
    refused_clearly(user.call("get_workflow_details", 1))


@exercise("getCachePrefixes", "getCmtConfigList")
def athena(user: User) -> None:
    """Lists of Athena's releases, which servers ceased to know before 2023: the client says so and ends."""
    assert user.client.call("getCachePrefixes", False).exit == 255
    assert user.client.call("getCmtConfigList", "AtlasOffline-21.0", False).exit == 255


# ---- what is done within the client, without a server


@exercise("useDevServer", "useIntrServer", "setCacheServer", "setGlobalTmpDir")
def other_servers(user: User) -> None:
    for function in ("useDevServer", "useIntrServer"):
        assert "aipanda" in user.call(function).changed["baseURLSSL"]
    port = user.rig.options.tls_port
    assert user.call("setCacheServer", "a.example").changed["baseURLCSRVSSL"].startswith(f"https://a.example:{port}/")
    if not user.speaks_v1:
        assert user.call("setGlobalTmpDir", "/tmp/x").changed == {"globalTmpDir": "/tmp/x"}
    assert user.ask("hello") is not None  # and nothing of it remains


@exercise("use_oidc", "use_x509_no_grid", "get_token_string")
def credentials(user: User) -> None:
    assert user.call("use_oidc").returned is (user.kind == TOKEN)
    assert user.call("use_x509_no_grid").returned is (user.kind == CERTIFICATE)
    assert user.call("get_token_string", None, False).returned is None


@exercise("is_https", "getDN", "hide_sensitive_info", "bytes_decode", "str_decode", "dump_log")
def texts(user: User) -> None:
    assert user.call("is_https", user.rig.https).returned is True
    assert user.call("getDN", "/DC=org/CN=jdoe/CN=Jane Doe 1").returned == "JaneDoe"
    assert "secret" not in user.call("hide_sensitive_info", "Authorization: Bearer secret'").returned
    assert user.call("bytes_decode" if user.speaks_v1 else "str_decode", "x").returned == "x"
    assert user.call("dump_log", "f", "why", "output").returned == "f failed : why"


@exercise("decode_special_cases", "build_grid_setup_command")
def newest_only(user: User) -> None:
    assert user.call("decode_special_cases", {"__datetime__": "2026-01-02T03:04:05"}).returned == "2026-01-02 03:04:05"
    assert user.call("build_grid_setup_command").returned.startswith("unset ")


# ---- help


def put_task_job(user: User, task: int, status: str = "activated", **attributes: Any) -> int:
    """Put a job of a task into the database, as a task layer would."""
    with user.rig.task_buffer() as tbuf:
        return put_job(tbuf, status, jediTaskID=task, prodUserName=user.name, **attributes)


def requests_in(user: User, prefix: str) -> set[str]:
    """Return the texts of requests that wait in the cache for a daemon."""
    return {path.read_text() for path in user.rig.layout.cache.glob(f"{prefix}*")}


def refused_clearly(outcome: Any) -> None:
    """Check that a call came back with a refusal, or with nothing where the client hides the reason."""
    status, data = outcome.returned
    success = data.get("success") if isinstance(data, dict) else data and data[0]
    assert status != 0 or not success, outcome
