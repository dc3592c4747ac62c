"""Executor of the settings: this process, local processes, which are replaced when they die, or a Dask cluster."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.workers.child import FAREWELL_S, PICKLING_ERRORS, Child, ChildDied
from cal_ratio_trainer.workers.executor import Done, Executor, Key, Task, WorkerLost

_MAX_DEATHS = 3
"""Processes that may die at a task; the first may be the victim of others that took all memory."""


class LocalProcesses(Executor):
    """Child processes, each with one task at a time. A task whose process died is done again by another one.

    Its last attempt is made alone: the others may have taken the memory that it needs.
    """

    def __init__(self, processes: int) -> None:
        super().__init__()
        self._processes = processes
        self._waiting: deque[Task] = deque()
        self._idle: list[Child] = []
        self._busy: dict[Connection[Any, Any], tuple[Child, Task]] = {}
        self._unsent: list[Done] = []
        self._deaths: Counter[Key] = Counter()

    @property
    def places(self) -> int:
        """Number of processes."""
        return self._processes

    def submit(self, task: Task) -> None:
        """Submits a task to any of the processes."""
        self._waiting.append(task)
        self._give_out()

    def wait(self, seconds: float) -> list[Done]:
        """See `Executor.wait`."""
        self._give_out()
        ended, self._unsent = self._unsent, []
        for connection in wait(list(self._busy), 0 if ended else seconds) if self._busy else []:
            child, task = self._busy[connection]  # type: ignore[index]
            try:
                said = child.receive()
            except ChildDied:
                del self._busy[child.connection]
                child.kill()
                self._deaths[task.key] += 1
                if self._deaths[task.key] == _MAX_DEATHS:
                    ended.append(Done(task.key, error=WorkerLost("a worker process died")))
                else:
                    self._waiting.appendleft(task)
                continue
            if isinstance(said, Done):
                del self._busy[child.connection]
                self._idle.append(child)
                # A later task may have the same key.
                self._deaths.pop(task.key, None)
                ended.append(Done(task.key, said.result, said.error))
            else:
                self.on_progress(task.key, *said)
        # Before the caller looks at what has ended.
        self._give_out()
        return ended

    def _give_out(self) -> None:
        while self._waiting and len(self._busy) < self._processes:
            tasks = (self._waiting[0], *(task for _, task in self._busy.values()))
            if self._busy and any(self._deaths[task.key] == _MAX_DEATHS - 1 for task in tasks):
                return
            child = self._idle.pop() if self._idle else Child()
            task = self._waiting.popleft()
            self._busy[child.connection] = (child, task)
            try:
                child.send(task)
            except PICKLING_ERRORS as error:
                del self._busy[child.connection]
                self._idle.append(child)
                self._unsent.append(Done(task.key, error=error))
            except ChildDied:
                # `wait` will notice.
                continue

    def close(self, finishes_tasks: bool) -> None:
        """See `Executor.close`."""
        children = [*self._idle, *(child for child, _ in self._busy.values())]
        self._waiting.clear()
        self._idle, self._busy = [], {}
        if not finishes_tasks:
            for child in children:
                with suppress(OSError):
                    child.terminate()
        # All are asked first, since each takes some time to end.
        for child in children:
            child.dismiss()
        until_s = time.monotonic() + FAREWELL_S
        for child in children:
            child.stop(max(0.0, until_s - time.monotonic()))


class OwnProcess(Executor):
    """Executor in this process, without a scheduler."""

    is_alone = True

    def __init__(self) -> None:
        super().__init__()
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
            result = task.function(lambda done, of: self.on_progress(task.key, done, of), *task.arguments)
        except Exception as error:
            return [Done(task.key, error=error)]
        return [Done(task.key, result)]

    def close(self, finishes_tasks: bool) -> None:
        """Does nothing."""
        self._tasks.clear()


@contextmanager
def opened_executor(settings: SchedulingSettings, tasks: int, say: Callable[[str], None] = print) -> Iterator[Executor]:
    """Executor that the settings ask for; closed when the block ends.

    Args:
        settings: name the scheduler, and how many processes.
        tasks: minimum number of tasks; one needs no second process, unless it can be cut.
        say: called with text for the user.

    Raises:
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    executor: Executor
    if settings.scheduler not in (None, "local") and tasks:
        from cal_ratio_trainer.workers.dask_cluster import DaskCluster

        executor = DaskCluster(settings.scheduler, say)
    elif settings.scheduler is None or tasks == 0 or settings.workers == 1 or os.name != "posix":
        executor = OwnProcess()
    else:
        executor = LocalProcesses(settings.workers)
    try:
        yield executor
    except BaseException:
        executor.close(finishes_tasks=False)
        raise
    executor.close(finishes_tasks=True)
