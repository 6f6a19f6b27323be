"""Bring jobs whose final report has come to their final state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import cycle
from time import monotonic, sleep
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import short_host
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, is_alive, owner, required, site_mapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase
from pandaserver.dataservice.AdderSimplePlugin import AdderSimplePlugin
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("add_main")

#: Reports that one transaction settles at most.
BATCH: Final = 20
#: Seconds that one call works; the daemon calls again, unless it has to stop.
STRETCH: Final = 2.0
#: Seconds between looks at a group of which nothing waits.
PAUSE: Final = 0.5
#: The process that has looked after locks of dead ones: once after each start of a worker is enough.
_looked_after: Final[set[int]] = set()
#: Whose jobs a batch prefers: users' seven times of ten, so that neither group starves the other.
TURNS: Final = (True, True, False, True, True, False, True, True, False, True)


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> bool:
    """Settle reports for a while. The argument is the age in minutes that a report must have; default a second."""
    grace = 60.0 * float(argv[1]) if len(argv) > 1 else 1.0
    log = LogWrapper(_log, None)
    adder = make_adder(required(tbuf))
    if os.getpid() not in _looked_after:
        _looked_after.add(os.getpid())
        if released := release_of_the_dead(required(tbuf)):
            log.info(f"reports of killed processes of this machine released n={released}")
    settled = work(adder, grace)
    if settled:
        log.info(f"settled n={settled}")
    return True


def work(adder: Adder, grace: float, stretch: float = STRETCH) -> int:
    """Settle batches of both groups in turns; a group that had less than a batch is left alone for a moment."""
    settled, until, turns = 0, monotonic() + stretch, cycle(TURNS)
    rests = {True: 0.0, False: 0.0}
    while (now := monotonic()) < until:
        turn = next(turns)
        group = turn if rests[turn] <= now else not turn
        if rests[group] > now:
            sleep(min(*rests.values(), until) - now)
            continue
        taken = adder.run(BATCH, group, grace)
        settled += taken
        if taken < BATCH:
            rests[group] = monotonic() + PAUSE
    return settled


def release_of_the_dead(tbuf: TaskBuffer) -> int:
    """Give back what processes of this machine held when they were killed, so that nobody waits for ten minutes."""
    dead = [name for name in tbuf.holdersOfOutputReports(short_host()) if not is_alive(name)]
    return sum(tbuf.releaseOutputReportsOf(name) for name in dead)


def make_adder(tbuf: TaskBuffer) -> Adder:
    """Return an Adder with the configured plug-ins."""
    plugins = configuration().server.adder_plugins

    def plugin(vo: str | None) -> type[AdderPluginBase]:
        return plugin_for(plugins, vo or "") or AdderSimplePlugin

    return Adder(tbuf, site_mapper(tbuf), plugin, owner())
