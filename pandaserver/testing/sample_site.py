"""The queue of a development instance, as the server and as pilots know it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

QUEUE: Final = "TEST_PQ"
SITE: Final = "TEST"

#: What the stock pilot needs to read about a queue, and no more. Files stay on the machine: copytool mv.
QUEUE_DATA: Final[dict[str, Any]] = {
    "nickname": QUEUE,
    "siteid": QUEUE,
    "panda_resource": QUEUE,
    "atlas_site": SITE,
    "cloud": "TEST",
    "state": "ACTIVE",
    "status": "online",
    "type": "unified",
    "resource_type": "GRID",
    "copytools": {"mv": {"setup": ""}},
    "acopytools": {"pr": ["mv"], "pw": ["mv"], "pl": ["mv"], "default": ["mv"]},
    "astorages": {},
    "catchall": "mv_final_destination",
    "params": {},
    "timefloor": 0,
    "maxwdir": 0,
    "maxrss": 0,
    "corecount": 1,
    "maxtime": 0,
    "is_cvmfs": False,
    "allow_lan": True,
    "allow_wan": False,
    "direct_access_lan": False,
    "direct_access_wan": False,
    "container_type": "",
    "container_options": "",
    "appdir": "",
    "environ": "",
    "cmtconfig": "",
}


def publish(directory: Path) -> Path:
    """Write what pilots fetch from /cache/schedconfig/; return the file with the queue."""
    path = directory / f"{QUEUE}.all.json"
    path.write_text(json.dumps(QUEUE_DATA, indent=2))
    return path
