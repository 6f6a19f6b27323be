"""Global shares and resource types as rules: which share and which type a job belongs to.

Pure functions on rows of GLOBAL_SHARES and RESOURCE_TYPES. Submission tags jobs with them, dispatch reads the same tree
to order shares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Tag of a job that no rule accepts; also the name of the catch-all resource type.
UNDEFINED: Final = "Undefined"

#: Share of event service merge jobs, whatever the rules say.
EXPRESS: Final = "Express"

#: Columns of GLOBAL_SHARES whose regular expression a job must match from the start, and where a job keeps the value.
RULES: Final = ("prodSourceLabel", "workingGroup", "processingType", "rtype")

#: Cores of a job that says 0: as many as a whole slot customarily has.
CORES_OF_WHOLE_SLOT: Final = 8


@dataclass(frozen=True, slots=True)
class ShareNode:
    """One share: its part of everything in percent, its children in tree order, and whom it accepts."""

    name: str
    percent: float
    children: tuple[ShareNode, ...]
    rules: tuple[tuple[str, re.Pattern[str]], ...]

    @property
    def is_leaf(self) -> bool:
        """Only leaves are given to jobs."""
        return not self.children

    def leaves(self) -> Iterator[ShareNode]:
        """Yield the leaves below this share, or itself if it is one, in tree order."""
        if self.is_leaf:
            yield self
        for child in self.children:
            yield from child.leaves()

    def accepts(self, facts: Mapping[str, str | None]) -> bool:
        """Tell whether every rule matches; an absent rule accepts everything."""
        return all(pattern.match(facts.get(column) or "") for column, pattern in self.rules)


def share_tree(rows: Iterable[Mapping[str, Any]]) -> ShareNode:
    """Return the root (100 %) of the tree that those rows of GLOBAL_SHARES describe.

    Siblings are ordered by ``queue_ID``, then by name. A rule that is no regular expression accepts nobody: one bad row
    must not stop submissions. A share whose parent does not exist is left out.
    """
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    for row in rows:
        children.setdefault(row["parent"], []).append(row)
    for siblings in children.values():
        siblings.sort(key=lambda row: (row["queue_ID"] is None, row["queue_ID"] or 0, row["name"]))

    def nodes(parent: str | None, percent: float, above: frozenset[str]) -> tuple[ShareNode, ...]:
        siblings = [row for row in children.get(parent, ()) if row["name"] not in above]  # a cycle ends here
        total = sum(row["value"] for row in siblings)
        return tuple(node(row, percent * row["value"] / total if total else 0.0, above) for row in siblings)

    def node(row: Mapping[str, Any], percent: float, above: frozenset[str]) -> ShareNode:
        name = row["name"]
        return ShareNode(name, percent, nodes(name, percent, above | {name}), _rules_of(row))

    return ShareNode("root", 100.0, nodes(None, 100.0, frozenset()), ())


def share_of(root: ShareNode, facts: Mapping[str, str | None], event_service: int | None = None) -> str:
    """Return the first leaf in tree order that accepts a job with those facts (see ``RULES``)."""
    if event_service == 2:
        return EXPRESS
    return next((leaf.name for leaf in root.leaves() if leaf is not root and leaf.accepts(facts)), UNDEFINED)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """Bounds of one resource type, inclusive; None is no bound. Memory is in MB per core."""

    name: str
    mincore: int | None = None
    maxcore: int | None = None
    minrampercore: int | None = None
    maxrampercore: int | None = None

    def accepts(self, cores: int, ram_per_core: int) -> bool:
        """Tell whether a job of that shape is within the bounds."""
        return (
            (self.mincore is None or cores >= self.mincore)
            and (self.maxcore is None or cores <= self.maxcore)
            and (self.minrampercore is None or ram_per_core >= self.minrampercore)
            and (self.maxrampercore is None or ram_per_core <= self.maxrampercore)
        )


def resource_types(rows: Iterable[Mapping[str, Any]]) -> tuple[ResourceType, ...]:
    """Return the types in the order in which they are tried: narrower lower bounds first, the catch-all last."""
    types = [
        ResourceType(row["resource_name"], row["mincore"], row["maxcore"], row["minrampercore"], row["maxrampercore"])
        for row in rows
    ]
    return tuple(sorted(types, key=lambda t: (t.name == UNDEFINED, t.mincore or 0, t.minrampercore or 0, t.name)))


def resource_type_of(types: Iterable[ResourceType], core_count: int | None, min_ram: int | None) -> str:
    """Return the first type that accepts a job asking for so many cores and so much memory in all (MB)."""
    cores = 1 if core_count is None else core_count or CORES_OF_WHOLE_SLOT
    # Whole megabytes, because the customary types leave a gap between 2000 and 2001.
    ram_per_core = int(min_ram or 0) // max(cores, 1)
    return next((t.name for t in types if t.accepts(cores, ram_per_core)), UNDEFINED)


def _rules_of(row: Mapping[str, Any]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((column, _compiled(row[column])) for column in RULES if row.get(column))


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error:
        return _NEVER


_NEVER: Final = re.compile(r"(?!)")
