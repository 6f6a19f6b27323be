"""Retry rules after a job has failed: what operators want done when a certain error comes.

Every action changes how a task goes on. Without a task layer there is nothing to change, which the log says plainly.
Rules are asked after the commit that failed the job: a process that dies in between loses that line of the log. An
action that does change something belongs into that commit, and ``evaluate_retry_rules`` can be called there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("RetrialModule")


def apply_retry_rules(task_buffer: TaskBuffer, ids: Sequence[int], sources: Sequence[str]) -> int:
    """Find the rules for those of the jobs that have failed; return how many active ones apply.

    ``sources`` are error columns in the order in which they are asked.
    """
    if not ids:
        return 0
    active = 0
    for decision in task_buffer.evaluateRetryRules(list(ids), list(sources)):
        rule = decision.rule
        log = LogWrapper(_log, f"<PandaID={decision.PandaID}>")
        told = f"rule={rule.id} {rule.source}={rule.code} action={rule.action} parameters={rule.parameters}"
        if decision.dry_run:
            log.info(f"{told} dry run: the rule or its action is not active")
            continue
        active += 1
        if decision.task is None:
            log.info(f"{told} nothing to do: the job belongs to no task, so nobody makes another attempt")
        else:
            log.warning(f"{told} task={decision.task} not done: this server has no task layer")
    return active
