"""Which jobs a pilot may take, as conditions on a row: read by the claim and by the indexes that serve it.

The labels stand in the text, not in binds: only so can a database see that a partial index covers the claim.
"""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.requests import Selection

#: A job that waits for a pilot.
WAITING: Final = "jobStatus = 'activated'"

#: Jobs of each selection; ``exact`` reads the label of the request.
OF_SELECTION: Final[dict[Selection, str]] = {
    Selection.user: "prodSourceLabel IN ('user', 'panda', 'install')",
    Selection.managed: "prodSourceLabel IN ('managed', 'test', 'prod_test', 'install')",
    Selection.unified: "prodSourceLabel IN ('managed', 'test', 'prod_test', 'install', 'user', 'panda')",
    Selection.test: "(processingType = 'gangarobot' OR prodSourceLabel IN ('prod_test', 'install', 'test'))",
    Selection.gangarobot: "processingType = 'gangarobot'",
    Selection.exact: "prodSourceLabel = :label",
}

#: Jobs of labels that none of the sets above contains; few, and found by their exact label.
OTHER_LABELS: Final = "prodSourceLabel NOT IN ('managed', 'test', 'prod_test', 'install', 'user', 'panda')"

#: Groups of waiting jobs that have indexes of their own, by the selection that they serve: a pilot that takes only
#: these must not wade through a million jobs that it may not have.
GROUPS: Final[dict[str, str]] = {
    str(selection): f"{WAITING} AND {OF_SELECTION[selection]}"
    for selection in (Selection.unified, Selection.user, Selection.managed)
}
