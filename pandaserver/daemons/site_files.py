"""The files that pilots fetch about queues and storage: their names, and what stands in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

#: The descriptions of all queues by name, under our name and under the one that older pilots and harvesters ask for.
ALL_QUEUES: Final = ("schedconfig.all.json", "agis_schedconf.json")
#: Storage endpoints by name, likewise.
ALL_ENDPOINTS: Final = ("ddmendpoints.json", "agis_ddmendpoints.json")
#: What table CONFIG says to the program ``pilot``, by VO, component and key.
PILOT_PARAMETERS: Final = "pilot_gdp_config.json"
#: Ends of the names of files about one queue; the first has the whole description.
DESCRIPTION: Final = ".all.json"
SUFFIXES: Final = (DESCRIPTION, ".pilot.json", ".pilot.pilot")
_FILE_NAME: Final = re.compile(r"[\w+@-][\w.+@-]*", re.ASCII)

#: What the short forms hold: what a pilot reads of its queue, and what its wrapper asks for before the pilot runs.
PILOT_KEYS: Final = """
    acopytools acopytools_schemas allow_lan allow_wan altstageout appdir aprotocols astorages atlas_site capability
    catchall cloud cmtconfig container_options container_type copytools corecount corepower ddm direct_access_lan
    direct_access_wan environ es_stageout_gap is_cvmfs maxinputsize maxrss maxtime maxwdir memkillgrace memory minrss
    name nickname panda_resource params pilot_maxwdir_grace pilot_rss_grace pilot_walltime_grace platform pledgedcpu
    region resource resource_type site siteid state status tier timefloor type use_pcache wnconnectivity workflow
    zip_time_gap
    """.split()


def is_file_name(queue: str) -> bool:
    """Tell whether files can be named after a queue; the names of files about all queues are taken."""
    return bool(_FILE_NAME.fullmatch(queue)) and f"{queue}{DESCRIPTION}" not in ALL_QUEUES


def queue_files(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the files about one queue by suffix: its whole description, and the short form in both of its formats."""
    brief = {key: data[key] for key in PILOT_KEYS if key in data}
    words = (f"{key}={_word(value)}" for key, value in sorted(brief.items()))
    return dict(zip(SUFFIXES, (as_json(data), as_json(brief), "|".join(words)), strict=True))


def names_of(queue: str) -> set[str]:
    """Return the names of the files about one queue."""
    return {f"{queue}{suffix}" for suffix in SUFFIXES}


def is_about_a_queue(name: str) -> bool:
    """Tell whether a file is about one queue, whichever."""
    return name.endswith(SUFFIXES) and name not in ALL_QUEUES


def as_json(value: Mapping[str, Any]) -> str:
    """Return the text of a file; keys are sorted, so that it changes only with what it says."""
    return json.dumps(value, sort_keys=True, indent=1)


def _word(value: Any) -> str:
    """Return a value as the form knows it; a bar or the end of a line in it would begin another key."""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, sort_keys=True)
    return "" if value is None else re.sub(r"[|\r\n]+", " ", str(value))
