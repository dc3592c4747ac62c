"""Interface of all executors (they take tasks, report progress and return results); cores and threads of a process."""

import os
import pickle
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cal_ratio_trainer.errors import UserError

Item = TypeVar("Item")

_END = object()

WAIT_S = 0.5
"""Timeout of a wait for tasks that end. [s]"""

Key = tuple[int, int]
"""Identifies a task: the number of its file, and of its piece of that file."""

Report = Callable[[int, int], None]
"""Reports the progress of a task: units done, and units in all."""


def available_cores() -> int:
    """Number of cores that this process may use: a batch system often gives fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def prefetched(make: Callable[[], Iterator[Item]]) -> Generator[Item, None, None]:
    """The items of an iterator, made in a thread, one ahead of their use.

    Args:
        make: gives the iterator; it is called, used and closed in that thread, for what it opens may belong to one.

    Raises:
        Whatever the iterator raises, when its turn comes.
    """
    with ThreadPoolExecutor(max_workers=1) as maker:
        items = maker.submit(make).result()
        try:
            following: Future[Item | object] = maker.submit(next, items, _END)
            while True:
                item = following.result()
                if item is _END:
                    return
                following = maker.submit(next, items, _END)
                yield item  # type: ignore[misc]  # not the mark of the end
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                maker.submit(close).result()


def at_intervals(report: Report, interval_s: float) -> Report:
    """Returns a report that passes on the first and the last progress of a task, and between them one per interval."""
    last_s = 0.0

    def seldom(done: int, of: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if done == 0 or done >= of or now_s - last_s >= interval_s:
            last_s = now_s
            report(done, of)

    return seldom


class SchedulerError(UserError):
    """The executor that was asked for cannot be used: no such cluster, no package, no shared disk."""


class WorkerLost(Exception):
    """Every worker that was given this task was lost: most likely it needs more memory than they have."""


class TaskFailed(Exception):
    """Error of a task that cannot be pickled as it is; the message is its type and text."""


@dataclass(frozen=True)
class Task:
    """Task: `function(report, *arguments)`, a function that other processes can import.

    Attributes:
        key: numbers of its file and piece.
        function: does it.
        arguments: arguments of the function after the report.
        output: file that the task is for, whose lease the giver of the task holds; None for a task without lease.
    """

    key: Key
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    output: Path | None = None

    def run_in_worker(self, report: Report) -> Any:
        """Runs it in a process that returns the result, or the error, pickled. Errors carry the traceback as a note.

        Raises:
            TaskFailed: the error cannot be pickled and unpickled; a pool of processes would break at it.
            Any other error of the function, without its causes, which Dask would pickle too.
        """
        try:
            return self.function(report, *self.arguments)
        except Exception as error:
            failure, chain = error, traceback.format_exc()
        failure.__cause__ = failure.__context__ = None
        try:
            pickle.loads(pickle.dumps(failure))  # noqa: S301 - bytes of this very process
        except Exception:
            failure = TaskFailed(f"{type(failure).__name__}: {failure}")
        failure.add_note(chain)
        raise failure.with_traceback(None)


@dataclass(frozen=True)
class Done:
    """Result of a task, or the error that it raised."""

    key: Key
    result: Any = None
    error: BaseException | None = None


class Executor(ABC):
    """Runs tasks, in any order; made by `opening.opened_executor`.

    A task whose worker is lost runs again on another. It must therefore leave nothing half done.

    Attributes:
        is_alone: True if this process does everything itself, so that cutting a file into pieces gains nothing.
        is_elsewhere: True if other machines may do the work, which have to see the same files.
        on_progress: called with the progress of a task: its key, units done, units in all.
    """

    is_alone = False
    is_elsewhere = False

    def __init__(self) -> None:
        self.on_progress: Callable[[Key, int, int], None] = lambda key, done, of: None

    @property
    @abstractmethod
    def places(self) -> int:
        """Number of tasks in parallel, at least 1."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Submits a task."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Done]:
        """Waits, up to a timeout, for tasks that end, and returns them. Progress is passed on meanwhile.

        Raises:
            SchedulerError: the executor is lost.
        """

    @abstractmethod
    def close(self, finishes_tasks: bool) -> None:
        """Ends the executor; after an error, running tasks are abandoned."""

    def all_of(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """Runs all tasks and yields results as they are ready. Submits only as many as keep all workers busy."""
        waiting, under_way = iter(tasks), 0
        while True:
            while under_way < 2 * self.places and (task := next(waiting, None)) is not None:
                self.submit(task)
                under_way += 1
            if not under_way:
                return
            for done in self.wait(WAIT_S):
                under_way -= 1
                yield done
