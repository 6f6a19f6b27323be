"""Golden pairs: what is given, what is sent and what comes back, written by hand from the description of the protocol.

A file of pairs names a request at its doors and lists cases of both, or lists cases that name door and path. Each case
is sent in every way that clients have: as a form, as JSON, as JSON that is compressed with and without saying so; and
where the historical door has two forms of replies, with and without asking for JSON.

What is sent as ``{"pickle": text}`` is a pickle of the Python value that the text is, ``{"golden": name}`` what another
golden file has: text of a document, bytes of a pickle.

In a case ``{name}`` stands for what was ``given``: ``{job}`` is the PandaID of the job, ``{jobtext}`` the same as text,
``{token}`` a pilot token. A reply is ``text``, or the words of a form (``form``), or a document (``json``, or ``has``,
which may have more); within them ``{"~": text}`` matches what begins so, ``{"*": true}`` anything, and
``"*rest": true`` says that there is more.

A reply may also be a pickle, see pickled.py: ``pickle`` is the value as Python writes it in a text, or as a document
has it, which knows no tuples; ``jobs`` describes jobs.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from werkzeug.test import Client, TestResponse

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import pickled
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER
from tests.db.crowd import insert
from tests.db.stages import put_job

GOLDEN: Final = Path(__file__).parents[1] / "golden"
PILOTS: Final = GOLDEN / "pilot" / "pairs"
USERS: Final = GOLDEN / "user"

CALLERS: Final[dict[str, dict[str, str]]] = {
    "pilot": PILOT,
    "production": PRODUCTION,
    "user": USER,
    "limited": LIMITED,
    "other": {"SSL_CLIENT_S_DN": "/DC=org/CN=John Roe"},
    "nobody": {},
}

DOORS: Final = {"legacy": "/server/panda/", "v1": "/api/v1/"}

#: What is given anew for each way to send a case.
_PER_WAY: Final = ("jobs", "metadata", "logs")

#: Ways in which a body can travel.
BODIES: Final = ("json", "gzip, not said", "gzip", "form")


@dataclass(frozen=True, slots=True)
class Pair:
    """One case of one file."""

    path: str  # at its door
    door: str
    verb: str
    case: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.path}: {self.case['name']}"

    def ways(self) -> Iterator[tuple[str, bool]]:
        """Yield each way to send this: form of the body, and whether the reply shall be JSON."""
        bodies: tuple[str, ...] = ("query",) if self.verb == "GET" else ("file",) if "file" in self.case else BODIES
        if self.verb == "GET" and self.door == "legacy":
            bodies = ("query", *BODIES)
        if any(not _fits_a_form(value) for value in self.case.get("send", {}).values()):
            bodies = tuple(body for body in bodies if body != "form")
        for body in self.case.get("ways", bodies):
            if "accepting" not in self.case or self.door == "v1":
                yield body, False
            else:
                yield body, True
                yield body, False

    def expected(self, accepts_json: bool) -> Mapping[str, Any]:
        """Return what the reply must be."""
        found: Mapping[str, Any] = self.case["accepting" if accepts_json else "reply"]
        return found


def _fits_a_form(value: Any) -> bool:
    return isinstance(value, str | int | float) or pickled.is_pickle(value) or _is_golden(value)


def all_pairs(directory: Path = PILOTS) -> list[Pair]:
    """Return the cases of all files of a directory."""
    found = []
    for file in sorted(directory.glob("*.json")):
        content = json.loads(file.read_text())
        if isinstance(content, list):
            found += [Pair(case["path"], case["door"], case.get("verb", "POST"), case) for case in content]
            continue
        for door in DOORS:
            for case in content.get(f"{door}_cases", ()):
                verb = content.get("verb", "POST")
                found.append(Pair(case.get("path") or content[door], door, case.get("verb", verb), case))
    return found


def wrong_ways(pair: Pair, client: Client, tbuf: TaskBuffer, cache: Path) -> list[str]:
    """Send a case in every way and return what is wrong with the replies. Jobs and logs are new for each way."""
    given = pair.case.get("given", {})
    shared = arrange({k: v for k, v in given.items() if k not in _PER_WAY}, tbuf, cache)
    wrong = []
    for body, accepts_json in pair.ways():
        named = shared | arrange({k: v for k, v in given.items() if k in _PER_WAY}, tbuf, cache)
        for before in pair.case.get("after", ()):
            first = Pair(pair.path, pair.door, pair.verb, {**pair.case, "send": before})
            send(client, first, named, body, accepts_json)
        problem = mismatch(send(client, pair, named, body, accepts_json), pair.expected(accepts_json), named)
        if problem:
            wrong.append(f"{body}, accepts_json={accepts_json}: {problem}")
    return wrong


def arrange(given: Mapping[str, Any], tbuf: TaskBuffer, cache: Path) -> dict[str, Any]:
    """Make what a case asks for and return what its names stand for."""
    named: dict[str, Any] = {}
    for name, facts in given.get("jobs", {}).items():
        named[name] = put_job(tbuf, **facts)
        named[f"{name}text"] = str(named[name])
    for table, row in given.get("rows", {}).items():
        insert(tbuf, table, row)
    for owner, secrets in given.get("secrets", {}).items():
        tbuf.set_user_secrets(owner, json.dumps(secrets))
    for job, text in given.get("metadata", {}).items():
        insert(tbuf, "PANDA.metaTable", {"PandaID": named[job], "modificationTime": "now", "metadata": text})
    if "token" in given:
        named["token"] = tbuf.makePilotToken("/CN=x", given["token"], None).token
    for name, text in given.get("logs", {}).items():
        (cache / name).unlink(missing_ok=True)
        (cache / name).write_text(text)
        (cache / name).chmod(0o664)
    return named


def send(client: Client, pair: Pair, named: Mapping[str, Any], body: str, accepts_json: bool) -> TestResponse:
    """Send a case in one of its ways."""
    fields = filled(pair.case.get("send", {}), named)
    headers = {"Accept": "application/json"} if accepts_json else {}
    headers |= pair.case.get("headers", {})
    options: dict[str, Any] = {"headers": headers, "environ_overrides": CALLERS[pair.case.get("caller", "pilot")]}
    url = DOORS[pair.door] + pair.path
    if "raw" in pair.case:
        return client.post(url, data=pair.case["raw"].encode(), content_type="application/json", **options)
    match body:
        case "query":
            return client.get(f"{url}?{urlencode(fields, doseq=True)}", **options)
        case "form":
            return client.post(url, data={name: _in_a_form(value) for name, value in fields.items()}, **options)
        case "file":
            file = pair.case["file"]
            content = file["text"].encode()
            packed = zlib.compress(content) if file.get("zlib") else content
            return client.post(url, data={**fields, "file": (io.BytesIO(packed), file["name"])}, **options)
    data = json.dumps(fields).encode()
    if body == "gzip":
        headers["Content-Encoding"] = "gzip"
    return client.post(
        url, data=data if body == "json" else gzip.compress(data), content_type="application/json", **options
    )


def _is_golden(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"golden"}


def _in_a_form(value: Any) -> str | bytes:
    return value if isinstance(value, bytes) else str(value)


def filled(value: Any, named: Mapping[str, Any]) -> Any:
    """Return a value with names replaced; a value that is one name becomes what it stands for, with its type."""
    if pickled.is_pickle(value):
        return pickled.dumped(str(filled(value["pickle"], named)))
    if _is_golden(value):
        path = GOLDEN / value["golden"]
        return path.read_text() if path.suffix == ".json" else path.read_bytes()
    if isinstance(value, dict):
        return {filled(name, named): filled(inner, named) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, named) for inner in value]
    if not isinstance(value, str):
        return value
    for name, meant in named.items():
        if value == f"{{{name}}}":
            return meant
        value = value.replace(f"{{{name}}}", str(meant))
    return value


def mismatch(reply: TestResponse, expected: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """Return what is wrong with a reply, "" if it is as expected."""
    wanted = {name: filled(one, named) for name, one in expected.items()}
    found: Any = reply.data.decode(errors="backslashreplace")  # times in pickles are bytes
    if reply.status_code != wanted.get("status", 200):
        return f"status {reply.status_code}: {found}"
    if "text" in wanted and not matches(found, wanted["text"]):
        return f"text is {found!r}"
    if "jobs" in wanted:
        return pickled.jobs_mismatch(reply.data, wanted["jobs"])
    if "pickle" in wanted:
        return _pickle_mismatch(reply.data, wanted["pickle"])
    if "text" in wanted:
        return ""
    if "form" in wanted:
        form = dict(parse_qsl(found, keep_blank_values=True))
        return "" if matches(form, wanted["form"]) else f"form is {form!r} in {found!r}"
    try:
        document = json.loads(found)
    except ValueError:
        return f"no JSON: {found!r}"
    if "has" in wanted:
        return "" if _contains(document, wanted["has"]) else f"document is {document!r}"
    return "" if matches(document, wanted["json"]) else f"document is {document!r}"


def _pickle_mismatch(data: bytes, wanted: Any) -> str:
    if isinstance(wanted, str):
        return pickled.mismatch(data, wanted)
    problem, found = pickled.read(data)
    return problem or ("" if matches(pickled.as_json(found), wanted) else f"pickle of {found!r}")


def matches(found: Any, wanted: Any) -> bool:
    """Compare, with the two patterns."""
    if isinstance(wanted, dict):
        if wanted == {"*": True}:
            return True
        if wanted.keys() == {"~"}:
            return isinstance(found, str) and found.startswith(wanted["~"])
        named = {name: inner for name, inner in wanted.items() if name != "*rest"}
        return (
            isinstance(found, dict)
            and (found.keys() == wanted.keys() or ("*rest" in wanted and found.keys() > named.keys()))
            and all(matches(found[name], inner) for name, inner in named.items())
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(matches, found, wanted))
    return type(found) is type(wanted) and found == wanted


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and wanted.keys() not in ({"~"}, {"*"}):
        return isinstance(found, dict) and all(
            name in found and _contains(found[name], inner) for name, inner in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_contains, found, wanted))
    return matches(found, wanted)
