"""What the stock client makes of requests about tasks, where the task layer is not installed: each says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.client_rig import User

#: What every refusal says.
NOT_INSTALLED: Final = "the task layer is not installed"

TASK: Final = 20_000_001


@dataclass(frozen=True)
class TaskCall:
    """How a function is called. ``needs_role``: only the production role may."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] | None = None
    needs_role: bool = False
    #: Releases of the former line return this in place of the reason, for lack of room in the reply.
    former: Any = None
    #: The newest release gives no reasons for functions that return data, so there it is only status 255.
    newest_is_mute: bool = False


TASKS: Final[Mapping[str, TaskCall]] = {
    "insertTaskParams": TaskCall(({"taskName": "user.x", "vo": "testvo"},)),
    "killTask": TaskCall((TASK,)),
    "finishTask": TaskCall((TASK,), {"soft": True}),
    "retryTask": TaskCall((TASK,), {"newParams": {"site": "X"}}),
    "reload_input": TaskCall((TASK,)),
    "pauseTask": TaskCall((TASK,), needs_role=True),
    "resumeTask": TaskCall((TASK,), needs_role=True),
    "reactivateTask": TaskCall((TASK,), needs_role=True),
    "increase_attempt_nr": TaskCall((TASK,), {"increase": 3}, needs_role=True),
    "getTaskStatus": TaskCall((TASK,), newest_is_mute=True),
    "getTaskParamsMap": TaskCall((TASK,), newest_is_mute=True),
    "getJediTaskDetails": TaskCall(({"jediTaskID": TASK}, True, True), former=[255, None], newest_is_mute=True),
    "getJobIDsJediTasksInTimeRange": TaskCall(("2026-01-02 03:04:05",), former=[0, {}], newest_is_mute=True),
    "get_files_in_datasets": TaskCall((TASK,), newest_is_mute=True),
    "get_tasks_detailed_info_since": TaskCall(("2026-01-02 03:04:05", {"status": "done"}), newest_is_mute=True),
    "get_task_details_json": TaskCall((TASK,)),
    "get_parent_detailed_info": TaskCall((TASK,), newest_is_mute=True),
}


def refuses(user: User, function: str) -> None:
    """Check that a function comes back with the reason, as far as the release shows one."""
    wanted = TASKS[function]
    keywords = dict(wanted.keywords or {})
    if wanted.needs_role:
        told = str(user.call(function, *wanted.arguments, **keywords).returned)
        assert "production" in told, told
    outcome = user.call(function, *wanted.arguments, as_production=wanted.needs_role, **keywords)
    if user.speaks_v1 and wanted.newest_is_mute:
        assert outcome.returned == [255, None]
    elif wanted.former is not None and not user.speaks_v1:
        assert outcome.returned == wanted.former
    else:
        assert outcome.returned[0] == 0, outcome
        assert NOT_INSTALLED in str(outcome.returned[1]), outcome
