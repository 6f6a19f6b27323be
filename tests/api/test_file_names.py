"""Whatever a client calls a file, it stays in its directory, and nothing of the server's own is touched."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

import pandaserver.jobdispatcher.JobDispatcher
import pandaserver.userinterface.UserIF  # noqa: F401  declares requests, as the one above
from pandaserver.config.settings import ServerSettings
from tests.api.callers import PRODUCTION, FakeTaskBuffer

#: What the server has in its cache, and must keep.
OWN: Final = {
    name: "the server's own"
    for name in ("evp.1", "recov.1", "workflow.1", "hpo_cp_77123_3", "jedilog/lost_file_recovery.1.log", "../outside")
}
PIECES: Final = ["..", "/", "\\", "\0", "\r\n", ".", " ", '"', ";", "%2e", "\u202e", "\uff0f", "_", "a", *OWN]
NAMES: Final = st.one_of(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join), st.text(min_size=1))
REQUESTS: Final = (
    "/server/panda/putFile",
    "/server/panda/uploadLog",
    "/server/panda/updateLog",
    "/server/panda/put_checkpoint",
    "/api/v1/file_server/upload_cache_file",
    "/api/v1/file_server/upload_jedi_log",
    "/api/v1/file_server/update_jedi_log",
)


@pytest.mark.parametrize("path", REQUESTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
@example(name="../../outside")
@example(name="jedilog")
@example(name="recov.1/../evp.1")
def test_an_upload_stays_where_it_belongs(
    client: Client, task_buffer: FakeTaskBuffer, settings: ServerSettings, path: str, name: str
) -> None:
    task_buffer.answers["insertSandboxFileInfo"] = True
    cache = settings.cache_dir
    (cache / "jedilog").mkdir(exist_ok=True)
    for own, text in OWN.items():
        (cache / own).write_text(text)
    reply = client.post(path, data={"file": (io.BytesIO(b"theirs"), name)}, environ_overrides=PRODUCTION)
    assert reply.status_code == 200
    assert {own: (cache / own).read_text() for own in OWN} == OWN
    new = files(cache.parent) - {cache / own for own in OWN if own != "../outside"} - {cache.parent / "outside"}
    assert len(new) <= 1
    for file in new:
        assert file.parent in (cache, cache / "jedilog")
        assert file.name.isascii()
        assert file.name[0].isalnum() or file.name[0] == "_"
        file.unlink()


def files(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}
