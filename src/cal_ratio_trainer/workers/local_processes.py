"""Processes on this machine do the work; those that die are replaced, and their work is done again."""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from types import FrameType
from typing import Any

from cal_ratio_trainer.workers.executor import Done, Executor, Key, Task, WorkerLost
from cal_ratio_trainer.workers.processes import deaf_to_interrupts, end_with_parent, without_main_module

_Word = tuple[Key, int, int]
_LOSSES_UNTIL_ALONE = 2
_TERMINATED = 128 + signal.SIGTERM


class LocalProcesses(Executor):
    """A pool of processes.

    When one dies, the pool dies with all that was under way, and nobody says whose fault it was. All is done again in a
    new pool; what was under way twice goes, task by task, to a process where nothing else is done: what breaks that is
    to blame.
    """

    def __init__(self, processes: int, on_progress: Callable[[Key, int, int], None]) -> None:
        self._on_progress = on_progress
        self._common, self._lonely = _Pool(processes), _Pool(1)
        self._losses: Counter[Key] = Counter()
        self._to_be_alone: deque[Task] = deque()

    @property
    def places(self) -> int:
        """Number of processes."""
        return self._common.processes

    def submit(self, task: Task) -> None:
        """Do it in any of the processes."""
        if self._losses[task.key] < _LOSSES_UNTIL_ALONE:
            self._common.submit(task)
        else:
            self._to_be_alone.append(task)

    def wait(self, seconds: float) -> list[Done]:
        """See `Executor.wait`."""
        if self._to_be_alone and not self._lonely.under_way:
            self._lonely.submit(self._to_be_alone.popleft())
        under_way = [*self._common.under_way, *self._lonely.under_way]
        if under_way:
            wait(under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for pool in (self._common, self._lonely):
            for word in pool.words():
                self._on_progress(*word)
        ended, lost = self._common.ended()
        for task in lost:
            self._losses[task.key] += 1
            self.submit(task)
        ended_alone, to_blame = self._lonely.ended()
        blamed = [Done(task.key, error=WorkerLost("a process ended without a word")) for task in to_blame]
        return [*ended, *ended_alone, *blamed]

    def close(self, in_peace: bool) -> None:
        """See `Executor.close`."""
        self._common.close(in_peace)
        self._lonely.close(in_peace)


class _Pool:
    """Processes that are started when there is something to do, and anew after one of them died."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.under_way: dict[Future[Any], Task] = {}
        self._executor: ProcessPoolExecutor | None = None
        self._words: Queue[_Word] | None = None

    def submit(self, task: Task) -> None:
        try:
            with deaf_to_interrupts(), without_main_module():
                future = self._started().submit(_work, task)
        except BrokenProcessPool:
            # It broke since the last look; what was under way in it is found out about there.
            future = Future()
            future.set_exception(BrokenProcessPool())
        self.under_way[future] = task

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # Spawned processes start clean: forked ones would inherit locks of threads that do not exist in them. A
            # queue of their own, for one that was killed may have held its lock.
            context = multiprocessing.get_context("spawn")
            self._words = context.Queue()
            self._executor = ProcessPoolExecutor(self.processes, context, _start, (self._words,))
        return self._executor

    def words(self) -> list[_Word]:
        """Messages of the tasks since the last call."""
        found: list[_Word] = []
        with contextlib.suppress(queue.Empty):
            while self._words is not None:
                found.append(self._words.get_nowait())
        return found

    def ended(self) -> tuple[list[Done], list[Task]]:
        """Tasks that have ended, and those during which a process died."""
        done: list[Done] = []
        lost: list[Task] = []
        for future, task in [(future, task) for future, task in self.under_way.items() if future.done()]:
            del self.under_way[future]
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                lost.append(task)
            else:
                done.append(Done(task.key, error=error) if error is not None else Done(task.key, future.result()))
        if lost:
            # The others of a broken pool are lost too, whether or not they have been told so by now.
            lost += self.under_way.values()
            self.under_way.clear()
            self.close(in_peace=False)
        return done, lost

    def close(self, in_peace: bool) -> None:
        if self._executor is not None:
            if not in_peace:
                for process in list((self._executor._processes or {}).values()):
                    process.terminate()
            self._executor.shutdown(wait=in_peace, cancel_futures=not in_peace)
        self._executor = self._words = None


_words: "Queue[_Word] | None" = None


def _start(words: "Queue[_Word]") -> None:
    end_with_parent()
    signal.signal(signal.SIGTERM, _end)
    global _words
    _words = words
    # A process ends without waiting for somebody to listen to its last words.
    words.cancel_join_thread()


def _end(number: int, frame: FrameType | None) -> None:
    # An exception, so that what is half written is removed; once, for the pool ends all when the first is gone.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(_TERMINATED)


def _work(task: Task) -> Any:
    def report(done: int, of: int) -> None:
        if _words is not None:
            _words.put((task.key, done, of))

    try:
        return task.run_in_worker(report)
    except SystemExit:
        # The pool would take it for the result of this task, and give out the next one.
        os._exit(_TERMINATED)
