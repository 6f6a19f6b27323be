"""Input has arrived: the jobs that waited for it become ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


class Activator:
    """Activates jobs by the dataset that they wait for: a dispatch dataset, or the library of a build job."""

    def __init__(self, task_buffer: TaskBuffer) -> None:
        self._task_buffer = task_buffer

    def run(self, dataset: str, enforce: bool = False) -> list[int]:
        """Mark the dataset's files as ready and return the jobs that this activates.

        A dispatch dataset that is completed already is left alone, unless ``enforce`` is given.
        """
        return self._task_buffer.dispatchArrived(dataset, enforce)
