"""What analysis tasks are worth to brokerage, into the table TASK_EVALUATION."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.daemons.metric_locks import is_due
from pandaserver.daemons.scripts.metric_collector import USER_EVAL
from pandaserver.dataservice import metrics
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("task_evaluator")

_LOCK: Final = "pandaTaskEval"
METRIC: Final = "analy_task_eval"
MINUTES: Final = 10.0

#: Minutes after which a task that has no jobs any more is forgotten.
KEEP_MINUTES: Final = 120.0


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Evaluate tasks that have jobs, unless another machine has just done it."""
    tbuf, log = required(tbuf), LogWrapper(_log, None)
    if not is_due(tbuf, _LOCK, METRIC, MINUTES):
        log.info("done already, here or on another machine")
        return
    values = evaluate(tbuf)
    forgotten = tbuf.storeEvaluations(METRIC, values, KEEP_MINUTES)
    log.info(f"evaluated tasks={len(values)} forgotten={forgotten}")
    if values and not task_progress(tbuf):
        log.info("the progress of tasks is not known, because there is no task layer: none goes before others for it")


def evaluate(tbuf: TaskBuffer) -> dict[int, dict[str, Any]]:
    """Return the value of each task with active jobs."""
    limits = tbuf.getConfigValues("analy_eval")
    users = {user: left for row in tbuf.getMetric(USER_EVAL) for user, left in row.value.items()}
    return metrics.task_values(
        tbuf.getLiveTasks(),
        users,
        task_progress(tbuf),
        float(limits.get("PROGRESS_TO_BOOST_A", metrics.BOOST_A)),
        float(limits.get("PROGRESS_TO_BOOST_B", metrics.BOOST_B)),
    )


def task_progress(tbuf: TaskBuffer) -> Mapping[int, float]:  # noqa: ARG001
    """Return how much of each task is done, in percent. Only the task layer knows; until there is one, of none."""
    return {}
