"""The items of an update of event ranges, in the shapes that pilots and harvesters send."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.api.casting import repaired
from pandaserver.taskbuffer.events import RangeReport, ZipFile

_MOST: Final = 2**63 - 1
_MOST_CODE: Final = 2**31 - 1


def is_item(item: Any) -> bool:
    """Tell whether an element can be an item or an archive with items."""
    return isinstance(item, dict) and all(isinstance(x, dict) for x in _inner(item) or ())


def reports_of(items: Sequence[Mapping[str, Any]], version: int) -> list[RangeReport]:
    """Return the reports in the order in which they are answered: archives are flattened from version 1 on."""
    found: list[RangeReport] = []
    for item in items:
        inner = _inner(item) if version >= 1 else None
        if inner is None:
            found.append(_report(item, None))
        else:
            archive = _archive(item.get("zipFile"))
            found += [_report(x, archive) for x in inner]
    return found


def single_report(range_id: str, status: str, cores: int | None, cpu: float | None, store: Any) -> RangeReport:
    """Return the report of the request about a single range."""
    number, convention = _store(store)
    return RangeReport(
        range_id, status, store=number, path_convention=convention, cores=_small(cores), cpu_seconds=_seconds(cpu)
    )


def _inner(item: Mapping[str, Any]) -> list[Any] | None:
    found = item.get("eventRanges")
    return found if isinstance(found, list) else None


def _report(item: Mapping[str, Any], archive: ZipFile | None) -> RangeReport:
    store, convention = _store(item.get("objstoreID"))
    return RangeReport(
        range_id=str(item.get("eventRangeID")),
        status=str(item.get("eventStatus")),
        error_code=_small(item.get("errorCode")),
        error_diag=_text(item.get("errorDiag")),
        store=store,
        path_convention=_small(item.get("pathConvention")) if convention is None else convention,
        cores=_small(item.get("coreCount")),
        cpu_seconds=_seconds(item.get("cpuConsumptionTime")),
        zip_file=archive,
    )


def _archive(value: Any) -> ZipFile | None:
    """Return the archive that an item names; one without a name is none, as with pilots that send it empty."""
    if not isinstance(value, Mapping) or not value.get("lfn"):
        return None
    store, convention = _store(value.get("objstoreID"))
    checksum = next((f"{kind}:{value[name]}" for name, kind in _CHECKSUMS if value.get(name)), None)
    return ZipFile(
        lfn=repaired(str(value["lfn"]))[:4000],
        store=store,
        fsize=_number(value.get("fsize")),
        checksum=repaired(checksum)[:36] if checksum else None,
        path_convention=_small(value.get("pathConvention")) if convention is None else convention,
    )


_CHECKSUMS: Final = (("adler32", "ad"), ("md5", "md5"))


def _store(value: Any) -> tuple[int | None, int | None]:
    """Return store and path convention out of ``<id>[/<convention>]``."""
    number, _, convention = str(value).partition("/")
    return _number(number), _small(convention)


def _number(value: Any) -> int | None:
    """Return a whole number, also out of text; what is none is as good as absent."""
    try:
        found = int(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if abs(found) <= _MOST else None


def _small(value: Any) -> int | None:
    found = _number(value)
    return found if found is not None and abs(found) <= _MOST_CODE else None


def _seconds(value: Any) -> float | None:
    try:
        found = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if math.isfinite(found) and 0 <= found < _MOST_CODE else None


def _text(value: Any) -> str | None:
    return repaired(str(value)) if value not in (None, "") else None
