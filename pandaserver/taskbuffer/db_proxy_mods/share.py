"""Global shares: which leaf deserves the next job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.sharing import ShareNode, share_tree
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds for which a connection trusts what it has read.
TREE_LIFETIME: Final = 3600.0
USAGE_LIFETIME: Final = 10.0

#: The leaf of tests comes first whatever the usage is.
TEST_LEAF: Final = "Test"

#: Leaves tried one after the other before the queue is searched regardless of shares.
MAX_LEAVES: Final = 8

SHARES: Final = """
    SELECT name, value, parent, queue_ID
    FROM ATLAS_PANDA.Global_Shares
"""

USAGE: Final = """
    SELECT gshare, computingSite, jobStatus, SUM(HS), SUM(nJobs)
    FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE jobStatus IN ('activated', 'sent', 'running')
    GROUP BY gshare, computingSite, jobStatus
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What shares use, in HS06, and in which queues they have jobs waiting."""

    executing: Mapping[str, float]
    waiting: Mapping[str, frozenset[str]]  # queue -> leaves


def leaves_in_order(tx: Transaction, site: str) -> tuple[str, ...]:
    """Return the leaves that have jobs waiting at that queue, the most under-used first, at most ``MAX_LEAVES``.

    What is read lives for seconds in the memory of the connection: a leaf that is missing here only loses its rank,
    because dispatch looks at the whole queue in the end.
    """
    usage = remembered(tx, "share usage", USAGE_LIFETIME, _read_usage)
    waiting = usage.waiting.get(site, frozenset())
    if len(waiting) < 2:  # one share at a queue is the same as none, and costs a statement less
        return ()
    tree = remembered(tx, "share tree", TREE_LIFETIME, _read_tree)
    return tuple(name for name in by_need(tree, usage.executing) if name in waiting)[:MAX_LEAVES]


def all_leaves_in_order(tx: Transaction) -> list[str]:
    """Return all leaves, those of the most under-used branch first."""
    usage = remembered(tx, "share usage", USAGE_LIFETIME, _read_usage)
    return by_need(remembered(tx, "share tree", TREE_LIFETIME, _read_tree), usage.executing)


def by_need(tree: ShareNode, executing: Mapping[str, float]) -> list[str]:
    """Return all leaves, those of the most under-used branch first; at each level usage is compared to the pledge."""
    used = {leaf.name: executing.get(leaf.name, 0.0) for leaf in tree.leaves()}
    total = sum(used.values())

    def used_by(node: ShareNode) -> float:
        return sum(used[leaf.name] for leaf in node.leaves())

    def saturation(node: ShareNode) -> float:
        if not node.percent:
            return float("inf")
        return used_by(node) / (total * node.percent / 100) if total else 0.0

    def expanded(node: ShareNode) -> list[str]:
        if node.is_leaf:
            return [node.name]
        return [name for child in sorted(node.children, key=saturation) for name in expanded(child)]

    return sorted(expanded(tree), key=lambda name: name != TEST_LEAF)


def _read_tree(tx: Transaction) -> ShareNode:
    return share_tree(tx.dicts(SHARES))


def _read_usage(tx: Transaction) -> Usage:
    executing: dict[str, float] = defaultdict(float)
    waiting: dict[str, set[str]] = defaultdict(set)
    for share, site, status, power, jobs in tx.rows(USAGE):
        if status != "activated":
            executing[share] += float(power or 0)
        elif jobs:
            waiting[site].add(share)
    return Usage(dict(executing), {site: frozenset(shares) for site, shares in waiting.items()})
