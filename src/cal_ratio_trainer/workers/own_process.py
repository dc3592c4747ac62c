"""This process does everything itself, one task after the other."""

from collections import deque
from collections.abc import Callable

from cal_ratio_trainer.workers.executor import Done, Executor, Key, Task


class OwnProcess(Executor):
    """No scheduler at all."""

    is_alone = True

    def __init__(self, on_progress: Callable[[Key, int, int], None]) -> None:
        self._on_progress = on_progress
        self._tasks: deque[Task] = deque()

    @property
    def places(self) -> int:
        """One."""
        return 1

    def submit(self, task: Task) -> None:
        """Do it when its turn comes."""
        self._tasks.append(task)

    def wait(self, seconds: float) -> list[Done]:
        """Do the next task."""
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        try:
            result = task.function(lambda done, of: self._on_progress(task.key, done, of), *task.arguments)
        except Exception as error:
            return [Done(task.key, error=error)]
        return [Done(task.key, result)]

    def close(self, in_peace: bool) -> None:
        """Nothing to do."""
        self._tasks.clear()
