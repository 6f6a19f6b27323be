"""The version of the schema that this code needs, and the row that tells which one a database has.

This module imports nothing, so that a connection can be checked without loading the declarations.
"""

from __future__ import annotations

from typing import Final

#: Row of PandaDB_Version that is ours.
COMPONENT: Final = "PanDA"

#: Least version that the statements of this code work on. Numbers above those of any earlier server.
REQUIRED: Final[tuple[int, int, int]] = (1, 0, 0)
