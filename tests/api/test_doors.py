"""What every request has in common: routes, access, errors, encodings, log lines."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from werkzeug.test import Client

from pandacommon.pandalogger.line_format import LineFormatter
from pandaserver.api.answering import Envelope, PilotReply, Text, json_answer, pickle_answer, pilot_answer, plain_answer
from pandaserver.api.registry import Auth, Call, Lenient, Registry, Wire
from pandaserver.srvcore import errors
from pandaserver.taskbuffer.WrappedPickle import loads
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

ANONYMOUS: dict[str, str] = {}
JSON = {"Accept": "application/json"}


class Faults:
    """What the handlers below do: return a value, or raise an error."""

    value: Any = None


@pytest.fixture
def handlers() -> Faults:
    return Faults()


@pytest.fixture
def registry(handlers: Faults) -> Registry:
    """One request for each way to answer, and one for each access rule."""
    made = Registry()

    def act() -> Any:
        if isinstance(handlers.value, Exception):
            raise handlers.value
        return handlers.value

    for name, answer in (
        ("pilot", pilot_answer), ("plain", plain_answer), ("pickle", pickle_answer), ("json", json_answer),
    ):  # fmt: skip

        @made.request(v1=f"by/{name}", legacy=name, method="POST", auth=Auth.ANYONE, answer=answer)
        def by_answer(call: Call, n: Annotated[int, Wire("number")] = 0) -> Any:
            """Do it."""
            return act()

    for auth in Auth:

        @made.request(v1=f"for/{auth.name}", legacy=auth.name, method="POST", auth=auth, answer=plain_answer)
        def by_auth(call: Call) -> str:
            """Do it."""
            return "done"

    @made.request(
        v1=None,
        legacy="own",
        method="POST",
        auth=Auth.PRODUCTION,
        answer=pickle_answer,
        refused=lambda message: (False, message),
        failed=lambda message: Text(f"ERROR: {message}"),
    )
    def own(call: Call, n: int) -> int:
        """Answer errors in a way of its own."""
        return n

    @made.request(v1="pilot/report", legacy="report", method="POST", auth=Auth.PILOT, answer=pilot_answer)
    def report(
        call: Call,
        site_name: Annotated[str, Wire("siteName")],
        node: str | None = None,
        prod_source_label: Annotated[str | None, Wire("prodSourceLabel")] = None,
        rss: Annotated[int | None, Wire("maxRSS"), Lenient] = None,
    ) -> PilotReply:
        """Take a report."""
        return PilotReply(0, {"rss": rss})

    return made


@pytest.fixture
def client(make_client: MakeClient, registry: Registry) -> Client:
    return make_client(registry=registry)


# ---- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("/server/panda/plain", ""),
        ("", "/server/panda/plain"),
        ("/server", "/panda/plain"),
        ("", "/server/panda/x/plain"),
    ],
)
def test_the_path_is_the_script_name_and_the_rest(client: Client, handlers: Faults, script: str, path: str) -> None:
    handlers.value = "found"
    assert client.get(path, environ_overrides={"SCRIPT_NAME": script, "PATH_INFO": path}).text == "found"


def test_latest_means_v1(client: Client) -> None:
    assert client.post("/api/latest/by/plain").json == {"success": True, "message": "", "data": None}


def test_an_unknown_historical_name_is_forbidden_politely(client: Client) -> None:
    reply = client.get("/server/panda/noSuch")
    assert (reply.status_code, reply.text) == (200, "False : noSuch is forbidden")


@pytest.mark.parametrize("path", ["by/noSuch", "plain", "by", "by/plain/x"])
def test_an_unknown_v1_name_is_forbidden(client: Client, path: str) -> None:
    reply = client.get("/api/v1/" + path)
    assert (reply.status_code, reply.text) == (403, f"ERROR : method {path} is forbidden")


def test_other_paths_do_not_exist(client: Client) -> None:
    assert client.get("/elsewhere").status_code == 404


def test_a_path_declared_twice_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="plain is declared twice"):

        @registry.request(v1=None, legacy="plain", method="GET", auth=Auth.ANYONE, answer=plain_answer)
        def again(call: Call) -> None:
            """Do it."""


def test_v1_wants_the_declared_verb(client: Client) -> None:
    assert client.get("/api/v1/by/plain").json["message"] == "expecting POST, received GET"


# ---- access ----------------------------------------------------------------------------------------------------------

ALLOWED = {
    "ANYONE": (ANONYMOUS, USER, LIMITED, PILOT, PRODUCTION),
    "SIGNED_IN": (USER, LIMITED, PILOT, PRODUCTION),
    "USER": (USER, PILOT, PRODUCTION),
    "PILOT": (PILOT, PRODUCTION),
    "PRODUCTION": (PRODUCTION,),
}


@pytest.mark.parametrize("rule", [auth.name for auth in Auth])
@pytest.mark.parametrize("caller", [ANONYMOUS, USER, LIMITED, PILOT, PRODUCTION])
def test_each_rule_admits_exactly_its_callers(client: Client, rule: str, caller: dict[str, str]) -> None:
    allowed = caller in ALLOWED[rule]
    assert client.post(f"/server/panda/{rule}", environ_overrides=caller).text == ("done" if allowed else "False")
    at_v1 = allowed and not (caller is LIMITED and rule != "ANYONE")
    assert client.post(f"/api/v1/for/{rule}", environ_overrides=caller).json["success"] is at_v1


def test_headers_make_nobody_a_user(client: Client) -> None:
    headers = {"SSL-CLIENT-S-DN": "/CN=Jane", "SSL_CLIENT_S_DN": "/CN=Jane", "GRST_CRED_0": "VOMS /a/Role=production"}
    assert client.post("/server/panda/USER", headers=headers).text == "False"


def test_a_banned_user_may_nothing(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getBannedUsers"] = frozenset({"Jane Doe"})
    for path in ("/server/panda/plain", "/api/v1/by/plain"):
        reply = client.post(path, environ_overrides=USER)
        assert (reply.status_code, reply.text) == (403, "ERROR : Jane Doe is banned")


def test_the_ban_list_is_loaded_once(client: Client, task_buffer: FakeTaskBuffer) -> None:
    for _ in range(3):
        client.post("/server/panda/plain", environ_overrides=USER)
    assert len(task_buffer.called("getBannedUsers")) == 1


def test_an_unknown_ban_list_stops_what_needs_the_database(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getBannedUsers"] = errors.Unavailable("the database is down")
    assert client.post("/server/panda/plain", environ_overrides=USER).status_code == 503


def test_a_token_that_is_refused_is_said_so(make_client: MakeClient, registry: Registry) -> None:
    class Refusing:
        def principal(self, token: str, origin: str, certificate: Any) -> Any:
            raise errors.NotAuthenticated(f"{token} for {origin}")

    client = make_client(registry=registry, tokens=Refusing())
    reply = client.post("/server/panda/plain", headers={"Authorization": "Bearer abc\n".strip(), "Origin": "testvo"})
    assert (reply.status_code, reply.text) == (403, "ERROR : Token authentication failed. abc for testvo")


def test_a_token_is_not_looked_at_where_tokens_are_off(client: Client, handlers: Faults) -> None:
    handlers.value = "served"
    assert client.post("/server/panda/plain", headers={"Authorization": "Bearer abc"}).text == "served"


# ---- the table of errors ---------------------------------------------------------------------------------------------

BAD, NOT_ALLOWED, DOWN, UNKNOWN = (
    errors.BadRequest("why"),
    errors.Forbidden("why"),
    errors.Unavailable("why"),
    errors.OutcomeUnknown("why"),
)
FORM = "StatusCode={}&errorDialog=why"


@pytest.mark.parametrize(
    ("name", "error", "status", "text"),
    [
        ("pilot", BAD, 200, FORM.format(30)),
        ("pilot", NOT_ALLOWED, 200, "StatusCode=60"),
        ("pilot", errors.Forbidden("why", status_code=70), 200, "StatusCode=70"),
        ("pilot", errors.NotFound("why"), 200, FORM.format(30)),
        ("pilot", DOWN, 503, FORM.format(10)),
        ("pilot", UNKNOWN, 503, FORM.format(10)),
        ("plain", BAD, 200, "ERROR : why"),
        ("plain", NOT_ALLOWED, 200, "False"),
        ("plain", errors.Conflict("why"), 200, "ERROR : why"),
        ("plain", DOWN, 503, "ERROR : why"),
        ("plain", UNKNOWN, 503, "ERROR : why"),
        ("plain", errors.NotAuthenticated("why"), 403, "ERROR : why"),
        ("pickle", BAD, 200, "ERROR : why"),
        ("pickle", NOT_ALLOWED, 200, "False"),
        ("json", NOT_ALLOWED, 200, "False"),
        ("json", errors.ExternalError("why"), 200, "ERROR : why"),
    ],
)
def test_historical_errors(
    client: Client, handlers: Faults, name: str, error: Exception, status: int, text: str
) -> None:
    handlers.value = error
    reply = client.post(f"/server/panda/{name}")
    assert (reply.status_code, reply.text) == (status, text)


@pytest.mark.parametrize(
    "error", [BAD, NOT_ALLOWED, errors.NotFound("why"), errors.Conflict("why"), errors.ExternalError("why")]
)
def test_v1_says_in_an_envelope_why_not(client: Client, handlers: Faults, error: Exception) -> None:
    handlers.value = error
    reply = client.post("/api/v1/by/plain")
    assert (reply.status_code, reply.json) == (200, {"success": False, "message": "why", "data": None})


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (DOWN, True),
        (errors.Busy("why"), True),
        (errors.LockLost("why"), True),
        (UNKNOWN, False),
        (errors.DatabaseError("w"), False),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/by/plain", "/server/panda/plain", "/server/panda/pilot"])
def test_retrying_is_suggested_where_it_is_safe(
    client: Client, handlers: Faults, error: Exception, retry: bool, path: str
) -> None:
    handlers.value = error
    reply = client.post(path)
    assert reply.status_code == 503
    assert ("Retry-After" in reply.headers) is retry


@pytest.mark.parametrize("error", [KeyError("secret detail"), errors.DuplicateKey("secret detail"), AssertionError()])
@pytest.mark.parametrize("path", ["/api/v1/by/plain", "/server/panda/plain", "/server/panda/pilot"])
def test_a_bug_says_nothing_but_its_number(
    client: Client, handlers: Faults, path: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    handlers.value = error
    reply = client.post(path)
    number = reply.headers["X-Request-ID"]
    assert (reply.status_code, reply.text) == (500, f"internal error, request id {number}")
    assert "Traceback" in caplog.text


def test_a_value_that_cannot_be_encoded_is_a_bug(client: Client, handlers: Faults) -> None:
    handlers.value = object()
    for name in ("json", "pickle"):
        assert client.post(f"/server/panda/{name}").status_code == 500


def test_a_method_may_refuse_in_its_own_way(client: Client) -> None:
    refused = client.post("/server/panda/own", environ_overrides=USER)
    assert loads(refused.data) == (False, "production role is required")
    failed = client.post("/server/panda/own", data={"n": "x"}, environ_overrides=PRODUCTION)
    assert failed.text == "ERROR: Type error: 'n' must be of type int, got str."


# ---- replies ---------------------------------------------------------------------------------------------------------

MOMENT = datetime(2024, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("plain", True, "True"),
        ("plain", False, "False"),
        ("plain", "alive=yes", "alive=yes"),
        ("plain", 7, "7"),
        ("json", [True, {"a": None}], '[true, {"a": null}]'),
        ("json", {"t": MOMENT, "d": Decimal("1.50")}, '{"t": "2024-01-02 03:04:05", "d": 1.5}'),
        ("pickle", [1, "a", None, True, 2.5], "(lp0\nI1\naVa\np1\naNaI01\naF2.5\na."),
        ("pickle", Text("ERROR: x"), "ERROR: x"),
        ("pilot", PilotReply(20), "StatusCode=20"),
        ("pilot", PilotReply(0, {"a": "x y&z", "b": None, "c": True}), "StatusCode=0&a=x+y%26z&b=None&c=True"),
        ("pilot", PilotReply(0, {"jobs": [{"a": "é"}]}), "StatusCode=0&jobs=%5B%7B%22a%22%3A+%22%5Cu00e9%22%7D%5D"),
        ("pilot", PilotReply(0, {"step": {"x": True}}), "StatusCode=0&step=%7B%27x%27%3A+True%7D"),
        ("pilot", True, "True"),
        ("plain", Envelope("v1 only", legacy="old"), "old"),
        ("plain", Envelope("both"), "both"),
    ],
)
def test_historical_replies(client: Client, handlers: Faults, name: str, value: Any, text: str) -> None:
    handlers.value = value
    reply = client.post(f"/server/panda/{name}")
    assert (reply.status_code, reply.text) == (200, text)


def test_pilots_may_ask_for_json(client: Client, handlers: Faults) -> None:
    handlers.value = PilotReply(0, {"PandaID": 7, "jobs": [1]})
    reply = client.post("/server/panda/pilot", headers={"Accept": "text/html, application/json"})
    assert (reply.text, reply.mimetype) == ('{"StatusCode": 0, "PandaID": 7, "jobs": [1]}', "application/json")


@pytest.mark.parametrize(
    ("value", "envelope"),
    [
        (None, {"success": True, "message": "", "data": None}),
        ({"t": MOMENT}, {"success": True, "message": "", "data": {"t": {"__datetime__": "2024-01-02T03:04:05"}}}),
        ([Decimal(3)], {"success": True, "message": "", "data": [3]}),
        (Envelope({"a": 1}, "note", False), {"success": False, "message": "note", "data": {"a": 1}}),
        (PilotReply(0, {"a": 1}), {"success": True, "message": "", "data": {"StatusCode": 0, "a": 1}}),
        (PilotReply(20, message="none"), {"success": False, "message": "none", "data": {"StatusCode": 20}}),
        (PilotReply(30, success=True), {"success": True, "message": "", "data": {"StatusCode": 30}}),
    ],
)
def test_v1_replies(client: Client, handlers: Faults, value: Any, envelope: dict[str, Any]) -> None:
    handlers.value = value
    reply = client.post("/api/v1/by/plain")
    assert (reply.json, reply.mimetype) == (envelope, "application/json")


def test_a_text_is_bare_at_both_doors(client: Client, handlers: Faults) -> None:
    handlers.value = Text(" log text")
    assert client.post("/api/v1/by/plain").text == client.post("/server/panda/json").text == " log text"


# ---- the log ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="tests.entry")
    caplog.set_level(logging.INFO, logger="tests.pilots")
    return caplog


def test_every_request_leaves_one_line(client: Client, lines: pytest.LogCaptureFixture) -> None:
    client.post("/server/panda/plain", data={"surprise": "1"}, environ_overrides=USER)
    (line,) = lines.messages
    assert " plain exec_time=0." in line
    assert line.endswith("door=legacy status=200 bytes=4 caller=Jane Doe address=- ignored=surprise")


def test_pilots_leave_the_line_that_scripts_count(client: Client, lines: pytest.LogCaptureFixture) -> None:
    form = {"siteName": "TEST_PQ", "node": "wn1", "prodSourceLabel": "user", "maxRSS": "junk"}
    assert client.post("/server/panda/report", data=form, environ_overrides=PILOT).text == "StatusCode=0&rss=None"
    assert lines.messages[1] == "method=report,site=TEST_PQ,node=wn1,type=user"
    assert lines.messages[0].endswith("dropped=maxRSS")


def test_no_client_writes_lines_of_its_own(client: Client, lines: pytest.LogCaptureFixture) -> None:
    client.post("/server/panda/plain", data={"a\nforged": "1"}, environ_overrides={"SSL_CLIENT_S_DN": "/CN=a\nb"})
    client.get("/server/panda/x%0Aforged")
    written = [LineFormatter().format(record) for record in lines.records]
    assert len(written) == 2
    assert all("\n" not in line for line in written)


def test_a_bad_body_can_be_kept_for_debugging(make_client: MakeClient, registry: Registry, tmp_path: Any) -> None:
    client = make_client(registry=registry, dumpBadRequest=True)
    client.post("/server/panda/plain", data={"number": "junk"})
    (dump,) = tmp_path.glob("req_dump_*")
    assert dump.read_text() == "number='junk'\n"


def test_json_of_a_pilot_ends_with_its_brace(client: Client, handlers: Faults) -> None:
    handlers.value = PilotReply(0)
    assert json.loads(client.post("/server/panda/pilot", headers=JSON).data[-17:]) == {"StatusCode": 0}
