"""Which leaf of the share tree deserves the next job: the most under-used branch first, level by level."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from pandaserver.taskbuffer.sharing import ShareNode

#: The leaf of tests comes first whatever the usage is.
TEST_LEAF: Final = "Test"


class Standing:
    """What each share uses, in HS06, compared to its part of all that is used.

    Asking for the order costs as much as there are siblings on the way to the leaves that are looked at, not as there
    are leaves.
    """

    def __init__(self, tree: ShareNode, executing: Mapping[str, float]) -> None:
        self.tree = tree
        self.total = 0.0
        self._above: dict[str, tuple[str, ...]] = {}  # leaf -> itself and the shares above it, without the root
        self._used: dict[str, float] = {}
        self._branches: dict[frozenset[str], frozenset[str]] = {}
        for child in tree.children:
            self._enter(child, ())
        for leaf, power in executing.items():
            self.add(leaf, power)

    def _enter(self, node: ShareNode, above: tuple[str, ...]) -> None:
        way = (*above, node.name)
        self._used[node.name] = 0.0
        if node.is_leaf:
            self._above[node.name] = way
        for child in node.children:
            self._enter(child, way)

    @property
    def leaves(self) -> Collection[str]:
        """The names of all leaves, in tree order."""
        return self._above.keys()

    def add(self, leaf: str | None, power: float) -> None:
        """Count more jobs of a leaf as executing. What belongs to no leaf of the tree counts nowhere."""
        way = self._above.get(leaf or "", ())
        if way:
            self.total += power
        for name in way:
            self._used[name] += power

    def used(self, node: ShareNode) -> float:
        """Return what runs in a share, all its leaves together."""
        return self._used[node.name]

    def pledge(self, node: ShareNode) -> float:
        """Return what a share should have of all that runs."""
        return self.total * node.percent / 100

    def saturation(self, node: ShareNode) -> float:
        """Return used / pledged: the share with the least comes first, one without any part of the tree last.

        Rounded, because parts of parts are never quite equal, and equal siblings shall keep their order.
        """
        if not node.percent:
            return float("inf")
        return round(self.used(node) / self.pledge(node), 9) if self.total else 0.0

    def in_order(self, leaves: Collection[str]) -> Iterator[str]:
        """Yield those of the leaves that are in the tree: at each level the most under-used branch first.

        Equal siblings keep their order in the tree.
        """
        wanted = frozenset(leaves)
        branches = self._branches.get(wanted)
        if branches is None:
            branches = self._branches[wanted] = frozenset(n for leaf in wanted for n in self._above.get(leaf, ()))
        if TEST_LEAF in wanted and TEST_LEAF in self._above:
            yield TEST_LEAF
        for name in self._expanded(self.tree, branches):
            if name != TEST_LEAF:
                yield name

    def _expanded(self, node: ShareNode, branches: Collection[str]) -> Iterator[str]:
        for child in sorted((child for child in node.children if child.name in branches), key=self.saturation):
            if child.is_leaf:
                yield child.name
            else:
                yield from self._expanded(child, branches)


def by_need(tree: ShareNode, executing: Mapping[str, float]) -> list[str]:
    """Return all leaves, those of the most under-used branch first."""
    standing = Standing(tree, executing)
    return list(standing.in_order(standing.leaves))
