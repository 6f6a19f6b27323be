"""Write what pilots fetch: of each queue ``<queue>.all.json``, ``.pilot.json``, ``.pilot.pilot``; all queues, all
storage endpoints; their parameters.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from time import time
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.scripts.configurator import access_of
from pandaserver.daemons.site_files import (
    ALL_ENDPOINTS,
    ALL_QUEUES,
    DESCRIPTION,
    PILOT_PARAMETERS,
    as_json,
    is_about_a_queue,
    is_file_name,
    names_of,
    queue_files,
)
from pandaserver.srvcore.errors import ExternalError
from pandaserver.srvcore.json_source import read_json
from pandaserver.taskbuffer.site_rows import entries, told
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("cache_schedconfig")

#: Begin of a file that is being written. One that is older than this has been left behind by whoever was killed.
_UNFINISHED: Final = ".new-"
_SECONDS_TO_WRITE: Final = 600.0


def main(argv: tuple[Any, ...] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Write the files of all queues, remove those of queues that are gone, and write what is not about one queue."""
    tbuf = required(tbuf)
    queues = tbuf.loadQueueData()
    server = configuration().server
    directory = server.schedconfig_dir
    unreadable = {name for name, _ in tbuf.loadSites().queues} - queues.keys()
    written = write_queues(directory, queues, unreadable)
    written += _write_endpoints(directory, server, tbuf)
    written += replace_file(directory / PILOT_PARAMETERS, as_json(tbuf.getConfigOfApp("pilot")))
    log = LogWrapper(_log, None)
    if unreadable:
        log.warning(f"no JSON object describes {','.join(sorted(unreadable))}; pilots go on with the files they have")
    log.info(f"written queues={len(queues)} files={written} directory={directory}")


def write_queues(
    directory: Path, queues: Mapping[str, Mapping[str, Any]], unreadable: Collection[str] = frozenset()
) -> int:
    """Write the files that changed, each in one step, so that a pilot never reads half a file; return how many.

    Files of queues that are gone are removed, those of queues that cannot be read now stay. That there are no queues at
    all is taken for a mistake, and changes nothing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    present = {path.name for path in directory.iterdir()}
    _remove_unfinished(directory, present)
    if not queues and any(is_about_a_queue(name) for name in present):
        _log.warning(f"the database has no queue that can be read, so the files in {directory} stay as they are")
        return 0
    former = {name: known for name in unreadable if (known := _former(directory / f"{name}{DESCRIPTION}"))}
    wanted = dict.fromkeys(ALL_QUEUES, as_json({**former, **queues}))
    for name, data in queues.items():
        if not is_file_name(name):
            _log.warning(f"queue name {name!r} is no file name, so pilots cannot fetch it")
            continue
        wanted |= {f"{name}{suffix}": text for suffix, text in queue_files(data).items()}
    written = sum(replace_file(directory / name, text) for name, text in wanted.items())
    kept = {name for queue in unreadable for name in names_of(queue)}
    for name in present - wanted.keys() - kept:
        if is_about_a_queue(name):
            (directory / name).unlink(missing_ok=True)
    return written


def _former(path: Path) -> dict[str, Any] | None:
    """Return what a file has said of a queue, if it is there and can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _remove_unfinished(directory: Path, names: Collection[str]) -> None:
    for path in (directory / name for name in names if name.startswith(_UNFINISHED)):
        try:
            if time() - path.stat().st_mtime > _SECONDS_TO_WRITE:
                path.unlink()
        except FileNotFoundError:  # another machine shares the directory, and was faster
            continue


def _write_endpoints(directory: Path, server: ServerSettings, tbuf: TaskBuffer) -> int:
    """Write the storage endpoints; a source that cannot be used leaves the files as they are."""
    try:
        found = endpoints_of(server, tbuf)
    except ExternalError as error:
        _log.warning(f"storage endpoints stay as they are: CRIC_URL_DDMENDPOINTS: {error.message}")
        return 0
    return sum(replace_file(directory / name, as_json(found)) for name in ALL_ENDPOINTS)


def endpoints_of(server: ServerSettings, tbuf: TaskBuffer) -> Mapping[str, Mapping[str, Any]]:
    """Return the endpoints by name: unchanged from the source, which knows their protocols, else from our table."""
    if not server.CRIC_URL_DDMENDPOINTS:
        return tbuf.loadEndpoints()
    document = read_json(server.CRIC_URL_DDMENDPOINTS, access=access_of(server, os.environ))
    found, problems = {}, {}
    for name, entry in entries(document):
        if isinstance(entry, Mapping):
            found[name] = entry
        else:
            problems[name] = "is no object"
    if not found:
        raise ExternalError(f"nothing in it can be read; {'; '.join(told(problems))}")
    if problems:
        _log.warning(f"storage endpoints left out: {'; '.join(told(problems))}")
    return found


def replace_file(path: Path, text: str) -> bool:
    """Write a file in one step unless it says that already; tell whether it was written."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)
    return True
