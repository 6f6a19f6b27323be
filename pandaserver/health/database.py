"""Is the database there, is its schema ours, does it keep what it was given, and does it know the time?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Final

from pandaserver.config.panda_config import connection_settings
from pandaserver.health.result import Result, failure, ok, skipped, warning
from pandaserver.health.scene import Scene
from pandaserver.srvcore.errors import PandaError, Unavailable
from pandaserver.taskbuffer.schema.version import REQUIRED

#: Seconds by which the clocks of database and host may differ: leases and time limits are counted by the database,
#: certificates and tokens by the host.
SMALL_DIFFERENCE: Final = 2.0
LARGE_DIFFERENCE: Final = 60.0

_SHOWN: Final = 5  # differences that are told one by one


def reachable(scene: Scene) -> Iterator[Result]:
    """The database answers within the deadline."""
    server, answer = scene.config.server, scene.database()
    place = f"{server.backend} {server.dbname or server.dbhost}" + (f" at {server.dbhost}" if server.dbname else "")
    if answer.error is None or answer.refused_schema:
        yield ok(f"{place.removesuffix(' at ')} answers, first answer after {answer.seconds:.2f} s")
    else:
        remedy = "see dbhost, dbport, dbname, dbuser and dbpasswd of panda_server.cfg, and whether the database runs"
        yield failure(f"{place.removesuffix(' at ')} does not answer: {answer.error.message}", remedy)


def schema(scene: Scene) -> Iterator[Result]:
    """The schema is the one that this version needs, to the last column."""
    answer = scene.database()
    if answer.error is not None and not answer.refused_schema:
        yield skipped("the database does not answer")
        return
    from pandaserver.taskbuffer.schema.check import state_of  # SQLAlchemy, which only this check needs

    try:
        found = state_of(connection_settings(scene.config.server))
    except Unavailable as error:
        yield failure(error.message)
        return
    required = ".".join(map(str, REQUIRED))
    version = "none" if found.version is None else ".".join(map(str, found.version))
    if found.is_usable:
        yield ok(f"version {version}, {required} is required")
    elif found.version is None or found.version < REQUIRED:
        remedy = "panda-admin schema upgrade" if found.version else "panda-admin schema create"
        yield failure(f"version {version}, {required} is required", remedy)
    for difference in found.differences[:_SHOWN]:
        yield failure(difference, "panda-admin check-schema lists all differences")
    if len(found.differences) > _SHOWN:
        yield failure(f"{len(found.differences) - _SHOWN} differences more", "panda-admin check-schema lists them")


def durability(scene: Scene) -> Iterator[Result]:
    """What was committed survives a power failure."""
    answer = scene.database()
    if answer.facts is None:
        yield skipped("the database does not answer")
        return
    if isinstance(answer.durability, PandaError):
        yield skipped(f"{scene.config.server.backend} does not tell: {answer.durability.message}")
        return
    for one in answer.durability:
        if one.is_safe:
            yield ok(f"{one.name} = {one.value}")
        else:
            message = f"{one.name} = {one.value}: jobs that were accepted can be lost when the database machine fails"
            yield failure(message, "change it in the configuration of the database server")


def clock(scene: Scene) -> Iterator[Result]:
    """The database and this machine agree about the time."""
    answer = scene.database()
    if answer.facts is None:
        yield skipped("the database does not answer")
    elif answer.facts.clock_is_ours:
        yield ok("the database is a file of this machine and has no clock of its own")
    else:
        difference = answer.facts.now.replace(tzinfo=UTC).timestamp() - answer.asked
        message = f"the clock of the database is {difference:+.1f} s from that of this machine"
        remedy = "run a time service (chrony, ntpd) on both"
        if abs(difference) > LARGE_DIFFERENCE:
            yield failure(message, remedy)
        else:
            yield warning(message, remedy) if abs(difference) > SMALL_DIFFERENCE else ok(message)
