"""Uploads through a real Apache: many at once, cut off, of one name, and onto a disk that is full."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pandaserver.testing.account import service_account
from tests.chaos.uploads import MB, V1_PUT, Reply, all_at_once, post, sending, upload, watched
from tests.chaos.web_rig import Answer, Rig, directory, kill_all, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

GB = 1024 * MB
#: Bytes of a body that Apache holds for a request that waits, and what else a connection may cost it.
PER_CONNECTION = 1.5 * MB


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with directory() as path:
        made = Rig(path / "var", "sqlite", daemon=False)
        with made:
            yield made


@pytest.fixture(scope="module")
def token(rig: Rig) -> str:
    return rig.token("Jane Doe")


@pytest.fixture(autouse=True)
def _leave_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "rig" in request.fixturenames:
        made = request.getfixturevalue("rig")
        for path in made.layout.cache.iterdir():
            if path.is_file():
                path.unlink()


def files(directory: Path) -> dict[str, int]:
    """Return what lies in a cache, hidden files too, with sizes."""
    return {path.name: path.stat().st_size for path in directory.iterdir() if path.is_file()}


# ---- memory


def uploads_at_once(rig: Rig, token: str, number: int, size: int) -> None:
    for warm in range(4):
        assert upload(rig, token, f"sources.warm{warm}", MB).text == "True"
    with watched(rig) as before:
        pass
    jobs = [partial(upload, rig, token, f"sources.{n}.tar.gz", size) for n in range(number)]
    with watched(rig) as peaks:
        replies = all_at_once(jobs)
    assert replies == [Reply(200, "True")] * number
    kept = files(rig.layout.cache)
    assert [kept.pop(f"sources.warm{warm}") for warm in range(4)] == [MB] * 4
    assert kept == {f"sources.{n}.tar.gz": size for n in range(number)}
    assert peaks.application.keys() == before.application.keys(), "no process was replaced"
    grown = {pid: peak - before.application[pid] for pid, peak in peaks.application.items()}
    print(f"looks={peaks.looks} application +{grown} front +{peaks.front - before.front}")
    assert peaks.looks > 2
    assert max(grown.values()) < size / 4
    assert peaks.front - before.front < number * PER_CONNECTION


def test_20_uploads_of_10_mb_at_once_cost_less_memory_than_a_quarter_of_one(rig: Rig, token: str) -> None:
    uploads_at_once(rig, token, 20, 10 * MB)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_100_uploads_of_50_mb_at_once_cost_less_memory_than_a_quarter_of_one(rig: Rig, token: str) -> None:
    is_ample = shutil.disk_usage(rig.layout.cache).free > 12 * GB
    uploads_at_once(rig, token, 100, 50 * MB if is_ample else 10 * MB)


# ---- uploads that go wrong


@pytest.mark.parametrize("sent", [0, 100_000, 5 * MB])
def test_an_upload_that_is_cut_off_leaves_nothing(rig: Rig, token: str, sent: int) -> None:
    pids = [one.pid for one in rig.web_processes()]
    with sending(rig, token, "sources.1", 10 * MB) as one:
        one.send(sent)
    with sending(rig, token, "sources.1", 10 * MB) as one:
        one.send(sent)
        one.line.shutdown(socket.SHUT_WR)
        assert one.reply().text != "True"  # what Apache says depends on how much it has passed on
    assert rig.ask("isAlive") == Answer(200, "alive=yes")
    wait_until(lambda: files(rig.layout.cache) == {})
    assert [one.pid for one in rig.web_processes()] == pids
    assert upload(rig, token, "sources.1", MB).text == "True", "the name is free"


def test_a_web_process_that_is_killed_leaves_nothing_that_can_be_seen(rig: Rig, token: str) -> None:
    with sending(rig, token, "sources.1", 10 * MB) as one:
        one.send(8 * MB)
        kill_all(rig.web_processes())
        assert one.finish().text != "True"
    wait_until(lambda: rig.ask("isAlive") == Answer(200, "alive=yes"))
    assert [name for name in files(rig.layout.cache) if not name.startswith(".upload-")] == []


def test_of_uploads_of_one_name_at_once_one_is_kept_whole(rig: Rig, token: str) -> None:
    sizes = [MB + n for n in range(6)]
    replies = all_at_once([partial(upload, rig, token, "sources.1", size) for size in sizes])
    texts = [reply.text for reply in replies]
    assert sorted(texts) == ["ERROR : cannot overwrite file sources.1"] * 5 + ["True"]
    assert files(rig.layout.cache) == {"sources.1": sizes[texts.index("True")]}


def test_of_rewritings_at_once_one_is_kept_whole(rig: Rig, token: str) -> None:
    sizes = [MB + n for n in range(6)]
    replies = all_at_once([partial(upload, rig, token, "sources.1.__ow__", size) for size in sizes])
    assert [reply.text for reply in replies] == ["True"] * 6
    [(name, size)] = files(rig.layout.cache).items()
    assert (name, size in sizes) == ("sources.1.__ow__", True)


@pytest.mark.parametrize("length", ["Transfer-Encoding: chunked", "X-No-Length: 1"])
def test_an_upload_without_a_length_is_refused_and_leaves_nothing(rig: Rig, token: str, length: str) -> None:
    with sending(rig, token, "sources.1", 100, length=length) as one:
        one.send(100)
        reply = one.reply()
    assert reply.status in (400, 411) or reply.text.startswith("ERROR : "), reply
    assert files(rig.layout.cache) == {}


def test_a_length_that_is_too_small_leaves_nothing(rig: Rig, token: str) -> None:
    with sending(rig, token, "sources.1", MB, length="Content-Length: 50000") as one:
        reply = one.finish()
    assert reply.status in (0, 400) or reply.text.startswith("ERROR : the multipart body cannot be read"), reply
    assert files(rig.layout.cache) == {}


def test_a_harvester_leaves_a_checkpoint_at_the_address_of_the_server(rig: Rig, token: str) -> None:
    """It adds no door to the address that it knows."""
    reply = upload(rig, token, "77_3", 3 * MB, path="/file_server/upload_hpo_checkpoint")
    path = rig.layout.cache / "hpo_cp_77_3"
    assert reply.json == {"success": True, "message": "stored as hpo_cp_77_3", "data": str(path)}
    assert files(rig.layout.cache) == {"hpo_cp_77_3": 3 * MB}
    reply = post(rig, token, "/file_server/delete_hpo_checkpoint", {"task_id": "77", "sub_id": "3"})
    assert reply.json == {"success": True, "message": "removed hpo_cp_77_3", "data": None}
    assert files(rig.layout.cache) == {}
    assert post(rig, token, "/file_server/upload_cache_file", {}).status in (403, 404)


# ---- a disk that is full

SPACE = 8 * MB
#: Gives a program a small disk of its own at a directory; nobody else sees it, and it goes with the program.
SMALL_DISK = (
    "unshare", "--map-current-user", "--keep-caps", "--mount", "--", "sh", "-c",
    f'mount -t tmpfs -o size={SPACE},mode=0755 tmpfs "$0" && exec "$@"',
)  # fmt: skip
#: For systems that allow nobody such a disk.
SMALL_FILES = ("prlimit", f"--fsize={2 * SPACE}", "--")


class Confined(Rig):
    """An instance whose Apache is started by another program."""

    def __init__(self, path: Path, before: Sequence[str]) -> None:
        super().__init__(path, "sqlite", daemon=False)
        start = self.processes.start

        def confined(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Any:
            return start(name, [*before, *command] if name == "apache" else command, environment)

        self.processes.start = confined  # type: ignore[method-assign]

    @property
    def cache(self) -> Path:
        """The cache as Apache sees it."""
        return Path(f"/proc/{self.apache().pid}/root") / self.layout.cache.relative_to("/")


@pytest.fixture(scope="module")
def small() -> Iterator[Confined]:
    with directory() as path:
        try_out = [*SMALL_DISK, str(path), "true"]
        if subprocess.run(try_out, capture_output=True, check=False, **service_account().popen_arguments()).returncode:
            pytest.skip("this system gives nobody a disk of their own")
        made = Confined(path / "var", [*SMALL_DISK, str(path / "var" / "cache")])
        with made:
            yield made


@pytest.fixture
def user(small: Confined) -> str:
    for path in small.cache.iterdir():
        if path.is_file():
            path.unlink()
    return small.token("Jane Doe")


NO_SPACE = "No space left on device"


@pytest.mark.parametrize("megabytes", [8, 20, 60])
def test_a_full_disk_is_told_and_nothing_is_left(small: Confined, user: str, megabytes: int) -> None:
    assert upload(small, user, "sources.1", MB).text == "True"
    reply = upload(small, user, "sources.2", megabytes * MB)
    assert reply == Reply(200, f"ERROR : cannot write the upload 'file': {NO_SPACE}")
    reply = upload(small, user, "sources.2", megabytes * MB, path=V1_PUT)
    assert reply.json == {
        "success": False,
        "message": f"ERROR : cannot write the upload 'file': {NO_SPACE}",
        "data": None,
    }
    assert files(small.cache) == {"sources.1": MB}


def test_an_upload_needs_its_size_of_disk_once(small: Confined, user: str) -> None:
    assert upload(small, user, "sources.2", SPACE - MB).text == "True"
    assert files(small.cache) == {"sources.2": SPACE - MB}


def fill(small: Confined) -> Path:
    """Leave no space at all."""
    path = small.cache / "full"
    # Nobody else may make files on a disk that belongs to the account alone.
    options = service_account().popen_arguments()
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=4k"], capture_output=True, check=False, **options)
    return path


def test_every_request_that_keeps_a_file_tells_of_a_full_disk(small: Confined, user: str) -> None:
    filling = fill(small)
    before = files(small.cache)
    said: dict[str, Any] = {
        "putFile": upload(small, user, "jobO.1", 1000).text,
        "uploadLog": upload(small, user, "a.log", 1000, path="/server/panda/uploadLog").text,
        "put_checkpoint": upload(small, user, "1_2", 1000, path="/server/panda/put_checkpoint").text,
        "put_workflow_request": post(small, user, "/server/panda/put_workflow_request", {"data": "{}"}).text,
        "put_file_recovery_request": post(
            small, user, "/server/panda/put_file_recovery_request", {"jediTaskID": 1}
        ).text,
        "putEventPickingRequest": post(small, user, "/server/panda/putEventPickingRequest", {"params": "x"}).text,
        "upload_file_recovery_request": post(
            small, user, "/api/v1/file_server/upload_file_recovery_request", {"dataset": "x"}
        ).text,
    }
    assert {name: text for name, text in said.items() if NO_SPACE not in text} == {}
    assert files(small.cache) == before
    filling.unlink()
    assert upload(small, user, "jobO.1", 1000).text == "True"
    assert NO_SPACE in (small.layout.log / "panda-Entry.log").read_text()


def test_a_file_that_the_system_does_not_let_be_so_large_is_told() -> None:
    with directory() as path, (made := Confined(path / "var", SMALL_FILES)):
        token = made.token("Jane Doe")
        reply = upload(made, token, "sources.1", 20 * MB)
        assert reply == Reply(200, "ERROR : cannot write the upload 'file': File too large")
        assert files(made.layout.cache) == {}
        assert upload(made, token, "sources.1", MB).text == "True"
