"""Executor of the settings: this process, local worker processes, or a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cal_ratio_trainer.config.shared import SchedulingSettings
from cal_ratio_trainer.workers.executor import Done, Executor, Key, Task


class OwnProcess(Executor):
    """Executor in this process, without a scheduler."""

    is_alone = True

    def __init__(self, on_progress: Callable[[Key, int, int], None]) -> None:
        self._on_progress = on_progress
        self._tasks: deque[Task] = deque()

    @property
    def places(self) -> int:
        """One."""
        return 1

    def submit(self, task: Task) -> None:
        """Submits a task, which runs in its turn."""
        self._tasks.append(task)

    def wait(self, seconds: float) -> list[Done]:
        """Runs the next task."""
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        try:
            result = task.function(lambda done, of: self._on_progress(task.key, done, of), *task.arguments)
        except Exception as error:
            return [Done(task.key, error=error)]
        return [Done(task.key, result)]

    def close(self, finishes_tasks: bool) -> None:
        """Does nothing."""
        self._tasks.clear()


@contextmanager
def opened_executor(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Iterator[Executor]:
    """Executor that the settings ask for; closed when the block ends.

    Args:
        settings: name the scheduler, and how many processes.
        tasks: minimum number of tasks; one needs no second process, unless it can be cut.
        on_progress: told how far each task is: its key, units done, units in all.
        say: told what the user should know.

    Raises:
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    executor = _make(settings, tasks, on_progress, say)
    try:
        yield executor
    except BaseException:
        executor.close(finishes_tasks=False)
        raise
    executor.close(finishes_tasks=True)


def _make(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Executor:
    if settings.scheduler is None or tasks == 0:
        return OwnProcess(on_progress)
    if settings.scheduler != "local":
        from cal_ratio_trainer.workers.dask_cluster import DaskCluster

        return DaskCluster(settings.scheduler, on_progress, say)
    if settings.workers == 1 or os.name != "posix":
        return OwnProcess(on_progress)
    from cal_ratio_trainer.workers.local_processes import LocalProcesses

    return LocalProcesses(settings.workers, on_progress)
