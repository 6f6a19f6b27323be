"""Write what pilots fetch: of each queue ``<queue>.all.json``, ``.pilot.json``, ``.pilot.pilot``; their parameters."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import configuration, required
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("cache_schedconfig")

ALL_QUEUES: Final = "schedconfig.all.json"
#: What table CONFIG says to the program ``pilot``, by VO, component and key.
PILOT_PARAMETERS: Final = "pilot_gdp_config.json"
_SUFFIXES: Final = (".all.json", ".pilot.json", ".pilot.pilot")
#: Begin of a file that is being written; left behind by whoever was killed meanwhile.
_UNFINISHED: Final = ".new-"
_FILE_NAME: Final = re.compile(r"[\w.+@-]+")

#: What the short forms hold: the facts that a pilot's wrapper asks for before the pilot runs.
PILOT_KEYS: Final = """
    acopytools allow_lan allow_wan appdir astorages atlas_site capability catchall cloud cmtconfig container_options
    container_type copytools corecount corepower ddm direct_access_lan direct_access_wan environ is_cvmfs
    maxinputsize maxrss maxtime maxwdir memory minrss name nickname panda_resource params pledgedcpu region
    resource resource_type site siteid state status tier timefloor type wnconnectivity workflow
    """.split()


def main(argv: tuple[Any, ...] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Write the files of all queues and remove those of queues that are gone."""
    tbuf = required(tbuf)
    queues = tbuf.loadQueueData()
    directory = configuration().server.schedconfig_dir
    unreadable = {name for name, _ in tbuf.loadSites().queues} - queues.keys()
    written = write_queues(directory, queues, unreadable)
    written += replace_file(directory / PILOT_PARAMETERS, as_json(tbuf.getConfigOfApp("pilot")))
    log = LogWrapper(_log, None)
    if unreadable:
        log.warning(f"no JSON object describes {','.join(sorted(unreadable))}; pilots go on with the files they have")
    log.info(f"written queues={len(queues)} files={written} directory={directory}")


def write_queues(
    directory: Path, queues: Mapping[str, Mapping[str, Any]], unreadable: Collection[str] = frozenset()
) -> int:
    """Write the files that changed, each in one step, so that a pilot never reads half a file; return how many.

    Files of queues that are gone are removed, those of queues that cannot be read now stay.
    """
    kept = {f"{name}{suffix}" for name in unreadable for suffix in _SUFFIXES}
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {ALL_QUEUES: as_json(queues)}
    for name, data in queues.items():
        if not _FILE_NAME.fullmatch(name) or name.startswith("."):
            _log.warning(f"queue name {name!r} is no file name, so pilots cannot fetch it")
            continue
        brief = {key: data[key] for key in PILOT_KEYS if key in data}
        wanted[f"{name}.all.json"] = as_json(data)
        wanted[f"{name}.pilot.json"] = as_json(brief)
        wanted[f"{name}.pilot.pilot"] = "|".join(f"{key}={_word(value)}" for key, value in sorted(brief.items()))
    for stale in directory.iterdir():
        is_known = stale.name in wanted or stale.name in kept
        if stale.name.startswith(_UNFINISHED) or (stale.name.endswith(_SUFFIXES) and not is_known):
            stale.unlink(missing_ok=True)
    return sum(replace_file(directory / name, text) for name, text in wanted.items())


def as_json(value: Mapping[str, Any]) -> str:
    """Return the text of a file; keys are sorted, so that it changes only with what it says."""
    return json.dumps(value, sort_keys=True, indent=1)


def _word(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else "" if value is None else str(value)


def replace_file(path: Path, text: str) -> bool:
    """Write a file in one step unless it says that already; tell whether it was written."""
    if path.is_file() and path.read_text() == text:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)
    return True
