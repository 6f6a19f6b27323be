"""The flags that a job carries in ``specialHandling`` and ``eventService``, as names instead of letters."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

#: Name of a flag -> the words that set it. ``debug`` is the only flag with two spellings.
FLAG_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "accept_partial": ("ap",),
    "all_events_ok": ("at",),
    "build_job": ("bj",),
    "keep_events": ("de",),
    "decrement_attempts": ("df",),
    "debug": ("debug", "dm"),
    "dynamic_events": ("dy",),
    "encoded_parameters": ("ej",),
    "express": ("express",),
    "fake": ("fake",),
    "hpo": ("ho",),
    "event_positions": ("if",),
    "input_prestaging": ("ip",),
    "no_looping_check": ("lc",),
    "merge_at_object_store": ("mo",),
    "no_exec_string_conversion": ("nc",),
    "on_site_merging": ("om",),
    "push_status_changes": ("pc",),
    "push_job": ("pj",),
    "pmerge": ("pm",),
    "log_to_object_store": ("po",),
    "register_event_files": ("re",),
    "resurrect_consumers": ("rs",),
    "job_cloning": ("sc",),
    "scout": ("sj",),
    "prefetcher": ("up",),
    "secrets": ("us",),
    "use_zip_to_pin": ("uz",),
    "virtual_payload": ("vp",),
    "write_input_to_file": ("wf",),
}

#: Name of a flag that carries a value -> what stands before the value.
VALUE_PREFIXES: Final[dict[str, str]] = {
    "alternative_stage_out": "ao:",
    "ddm_backend": "ddm:",
    "home_cloud": "hc:",
    "lumi_block": "lb:",
    "retry_ram": "rr:",
    "request_type": "rt=",
    "task_queued_time": "tq=",
    "clone_mode": "sc:",
}

#: Values of ``eventService``.
EVENT_SERVICE, EVENT_SERVICE_MERGE, JOB_CLONING, JUMBO, CO_JUMBO, FINE_GRAINED = range(1, 7)

#: Kinds of jobs whose input is a stream of event ranges.
CONSUMERS: Final = frozenset({EVENT_SERVICE, JUMBO, FINE_GRAINED})


@lru_cache(1000)  # a job is asked for twenty flags when it is sent
def words_of(special_handling: str | None) -> frozenset[str]:
    """Split the comma list."""
    return frozenset(word.strip() for word in (special_handling or "").split(",") if word.strip())


def has_flag(special_handling: str | None, name: str) -> bool:
    """Tell whether that flag of ``FLAG_WORDS`` is set."""
    return not words_of(special_handling).isdisjoint(FLAG_WORDS[name])


def flag_value(special_handling: str | None, name: str) -> str | None:
    """Return what follows the prefix of that flag of ``VALUE_PREFIXES``, or None if the flag is absent."""
    prefix = VALUE_PREFIXES[name]
    return next(
        (word[len(prefix) :] for word in sorted(words_of(special_handling)) if word.startswith(prefix)),
        None,
    )


def with_flag(special_handling: str | None, name: str, on: bool) -> str | None:
    """Return the comma list with that flag set or removed; None stands for an empty list."""
    kept = [w for w in (special_handling or "").split(",") if w.strip() and w.strip() not in FLAG_WORDS[name]]
    return ",".join([*kept, *FLAG_WORDS[name][:1]] if on else kept) or None
