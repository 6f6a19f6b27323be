"""The activities that prodSourceLabel names, in groups that rules speak of."""

from __future__ import annotations

from typing import Final

ANALYSIS_LABELS: Final = frozenset({"user", "panda"})  # panda: build and library jobs
PRODUCTION_LABELS: Final = frozenset({"managed", "prod_test"})
PILOT_TEST_LABELS: Final = frozenset({"ptest", "rc_test", "rc_test2", "rc_alrb"})
INSTALL: Final = "install"
INTERNAL: Final = "ddm"

#: Labels whose replies carry a jobset; with the exception of merge types, also those with per-user job numbers.
USER_LABELS: Final = ANALYSIS_LABELS | PILOT_TEST_LABELS

#: processingTypes of jobs that merge outputs of others.
MERGE_TYPES: Final = frozenset({"merge", "unmerge"})


def is_user_type(label: str | None, processing_type: str | None) -> bool:
    """Tell whether a job takes part in the rules for users: job numbers, priorities, attempts."""
    return label in USER_LABELS and processing_type not in MERGE_TYPES
