"""What operators decide about new jobs: shares, resource types, boosted and test users. Read once in a while."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.db_proxy_mods.site_config import RESOURCE_TYPES, SHARES
from pandaserver.taskbuffer.priorities import Boost, boosts_from
from pandaserver.taskbuffer.sharing import ResourceType, ShareNode, resource_types, share_tree
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds that a policy serves before it is read again.
LIFETIME: Final = 60.0

#: CONFIG keys of component ``dbproxy``: items name:type:priority:expiration, and user names.
BOOST_PREFIX: Final = "USER_JOB_PRIO_BOOST_LIST_"
TEST_USERS: Final = "USER_JOB_PRIO_TEST_USERS"

PRIORITY_LISTS: Final = """
    SELECT key, value FROM ATLAS_PANDA.Config
    WHERE app = 'pandaserver' AND component = 'dbproxy' AND key LIKE 'USER_JOB_PRIO_%'
    ORDER BY key
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it."""

    shares: ShareNode
    resource_types: tuple[ResourceType, ...]
    boosts: tuple[Boost, ...]
    test_users: frozenset[str]


def policy_of(tx: Transaction) -> Policy:
    """Return the policy as this connection knows it."""
    return remembered(tx, "submission policy", LIFETIME, _read_policy)


def _read_policy(tx: Transaction) -> Policy:
    lists = tx.rows(PRIORITY_LISTS)
    return Policy(
        shares=share_tree(tx.dicts(SHARES)),
        resource_types=resource_types(tx.dicts(RESOURCE_TYPES)),
        boosts=tuple(boost for key, text in lists if key.startswith(BOOST_PREFIX) for boost in boosts_from(text)),
        test_users=frozenset(_names(lists)),
    )


def _names(lists: Iterable[tuple[Any, ...]]) -> Iterable[str]:
    return (name.strip() for key, text in lists if key == TEST_USERS for name in text.split(",") if name.strip())
