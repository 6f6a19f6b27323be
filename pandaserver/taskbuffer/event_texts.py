"""The command line of event-service jobs: one text holds what consumers run and what the merge job runs."""

from __future__ import annotations

import re
from typing import Final

from pandaserver.taskbuffer.job_flags import CO_JUMBO, CONSUMERS

#: Only for consumers; only for the merge job; what the merge job runs instead of the consumers' transformation.
_CONSUMER: Final = re.compile(r"<PANDA_ES_ONLY>(.*?)</PANDA_ES_ONLY>", re.DOTALL)
_MERGE: Final = re.compile(r"<PANDA_ESMERGE_JOBP>(.*?)</PANDA_ESMERGE_JOBP>", re.DOTALL)
_MERGE_TRF: Final = re.compile(r"<PANDA_ESMERGE_TRF>(.*?)</PANDA_ESMERGE_TRF>", re.DOTALL)


def for_pilot(parameters: str, kind: int | None) -> str:
    """Return what a pilot gets of the stored text."""
    if (kind not in CONSUMERS and kind != CO_JUMBO) or "<PANDA_ES" not in parameters:
        return parameters
    return _CONSUMER.sub(r"\1", _MERGE.sub("", _MERGE_TRF.sub("", parameters)))


def for_merge(parameters: str) -> str:
    """Return the command line of the merge job: its own one if the text has one, else that of consumers."""
    own = _MERGE.search(parameters)
    return own[1] if own else _CONSUMER.sub("", _MERGE_TRF.sub("", parameters))


def merge_transformation(parameters: str, transformation: str | None) -> str | None:
    """Return what the merge job runs."""
    own = _MERGE_TRF.search(parameters)
    return own[1].strip() if own else transformation
