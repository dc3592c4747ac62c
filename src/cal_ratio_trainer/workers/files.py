"""Processing of many files by an executor: each whole, or in pieces whose results are joined in order.

The process that runs this holds the lease of each file that is under way. If a worker is lost, another one can have its
file at once, and other commands on the same list see that a process works on it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from cal_ratio_trainer.files.leases import Lease
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import WAIT_S, Done, Executor, Key, Report, SchedulerError, Task
from cal_ratio_trainer.workers.pieces import remove_all_remains, remove_remains_of

_WHOLE, _JOINED = -1, -2

Result = TypeVar("Result")


class _Request(Protocol):
    @property
    def output(self) -> Path: ...

    @property
    def written(self) -> tuple[Path, ...]: ...


Request = TypeVar("Request", bound=_Request)


@dataclass(frozen=True)
class Pieces:
    """Pieces of a large file, in order."""

    pieces: tuple[Any, ...]


@dataclass(frozen=True)
class Steps(Generic[Request, Result]):
    """Steps for a file: `whole`, `piece` and `join` run in the executor, the others in this process.

    Attributes:
        begun: gives the request for the executor, once this process has the lease.
        whole: does a file, or cuts it if it is large and may be cut: (report, request, may be cut).
        piece: does a piece, and gives a result for `join`: (report, request, piece).
        join: joins the results of all pieces, in order: (report, request, results).
        elsewhere: gives the result of a file that another process works on.
        failed: gives the result of a file that raised an error, or raises an error that is not the file's own.
    """

    begun: Callable[[Request], Request]
    whole: Callable[[Report, Request, bool], Result | Pieces]
    piece: Callable[[Report, Request, Any], Any]
    join: Callable[[Report, Request, list[Any]], Result]
    elsewhere: Callable[[Request], Result]
    failed: Callable[[Request, BaseException], Result]


def do_files(
    executor: Executor,
    requests: Sequence[Request],
    steps: Steps[Request, Result],
    lease_timeout: float,
    finished: Callable[[Result], None],
) -> list[Result]:
    """Processes all files that no other process works on.

    Removes what killed processes left of the outputs, also if nothing is to be done for them.

    Args:
        executor: runs the steps.
        requests: one per file, each with an `output` of its own; all its files are `written`.
        steps: steps for a file.
        lease_timeout: a lease without a heartbeat for this long is stale. [s]
        finished: called with the result of each finished file.

    Returns:
        One result per request, in their order; it does not depend on the number of workers.

    Raises:
        SchedulerError: the scheduler cannot be used.
        Any error of the steps that `steps.failed` raises again.
    """
    written = {path: request.output for request in requests for path in request.written}
    remove_all_remains(written, lease_timeout)
    results = _FileLoop(executor, requests, steps, lease_timeout, finished).run()
    # Lost workers have left files behind too.
    remove_all_remains(written, lease_timeout)
    return results


@dataclass
class _File:
    """A file that is under way."""

    request: Any
    parts: list[Any] = field(default_factory=list)
    tasks: int = 0
    error: BaseException | None = None


class _FileLoop(Generic[Request, Result]):
    def __init__(
        self,
        executor: Executor,
        requests: Sequence[Request],
        steps: Steps[Request, Result],
        lease_timeout: float,
        finished: Callable[[Result], None],
    ) -> None:
        self._executor, self._requests, self._steps, self._finished = executor, requests, steps, finished
        self._leases = [Lease(request.output, lease_timeout) for request in requests]
        self._waiting = deque(range(len(requests)))
        self._ready: deque[Task] = deque()
        self._open: dict[int, _File] = {}
        self._under_way = 0
        self._results: dict[int, Result] = {}

    def run(self) -> list[Result]:
        try:
            while self._waiting or self._open:
                self._give_out()
                if self._under_way:
                    for done in self._executor.wait(WAIT_S):
                        self._take_in(done)
                elif self._waiting:
                    # Other processes, which may be dead, hold the leases of all remaining files.
                    time.sleep(min(WAIT_S, self._leases[0].watch_s / 10))
        finally:
            for number in self._open:
                self._leases[number].release()
        return [self._results[number] for number in range(len(self._requests))]

    def _give_out(self) -> None:
        # Some more than can be done at the same time, so that nobody waits; not all, for others may share the list.
        most = 1 if self._executor.is_alone else 2 * self._executor.places
        while self._ready and self._under_way < most:
            self._submit(self._ready.popleft())
        for _ in range(len(self._waiting)):
            if self._under_way >= most:
                return
            self._begin(self._waiting.popleft())

    def _begin(self, number: int) -> None:
        request, lease = self._requests[number], self._leases[number]
        try:
            is_taken = lease.take()
        except OSError as error:
            self._finish(number, self._steps.failed(request, error))
            return
        if is_taken:
            self._open[number] = _File(self._steps.begun(request))
            self._submit(self._task((number, _WHOLE), self._steps.whole, not self._executor.is_alone))
        elif lease.is_watched:
            self._waiting.append(number)
        else:
            self._finish(number, self._steps.elsewhere(request))

    def _task(self, key: Key, function: Callable[..., Any], argument: Any) -> Task:
        request = self._open[key[0]].request
        return Task(key, function, (request, argument), request.output)

    def _submit(self, task: Task) -> None:
        self._under_way += 1
        self._open[task.key[0]].tasks += 1
        self._executor.submit(task)

    def _take_in(self, done: Done) -> None:
        number, which = done.key
        file = self._open[number]
        self._under_way -= 1
        file.tasks -= 1
        if done.error is not None:
            if isinstance(done.error, SchedulerError) or not isinstance(done.error, Exception):
                raise done.error
            file.error = file.error or done.error
            self._ready = deque(task for task in self._ready if task.key[0] != number)
        elif which == _WHOLE and isinstance(done.result, Pieces):
            pieces = done.result.pieces
            file.parts = [None] * len(pieces)
            self._ready += [self._task((number, i), self._steps.piece, piece) for i, piece in enumerate(pieces)]
        elif which in (_WHOLE, _JOINED):
            self._close(number, done.result)
        else:
            file.parts[which] = done.result
            if None not in file.parts:
                self._ready.appendleft(self._task((number, _JOINED), self._steps.join, file.parts))
        if file.error is not None and file.tasks == 0:
            # Not before all of its pieces have ended: they leave files behind.
            self._close(number, self._failure(number, file.error))

    def _failure(self, number: int, error: BaseException) -> Result:
        request = self._requests[number]
        if self._leases[number].is_lost():
            # This process was suspended for so long that another one took over, and removed what it was writing.
            return self._steps.elsewhere(request)
        remove_remains_of(request.output)
        return self._steps.failed(request, error)

    def _close(self, number: int, result: Result) -> None:
        del self._open[number]
        self._leases[number].release()
        self._finish(number, result)

    def _finish(self, number: int, result: Result) -> None:
        self._results[number] = result
        self._finished(result)


@dataclass
class FileProgress:
    """Adds up the progress of the tasks; the total becomes known file by file.

    Attributes:
        line: progress line.
        files: number of files.
    """

    line: ProgressLine
    files: int
    _done: dict[Key, int] = field(default_factory=dict)
    _opened: set[int] = field(default_factory=set)
    _expected: int = 0
    _finished: int = 0
    _passed_over: int = 0

    def report(self, key: Key, done: int, of: int) -> None:
        """Records how far a task is. The work of a lost worker is done again, and counts once."""
        before = self._done.get(key)
        if before is None:
            self._opened.add(key[0])
            self._expected += of
            # Files that were not opened yet are taken to be like those that were.
            to_open = max(self.files - self._passed_over, len(self._opened))
            self.line.expect(self._expected * to_open / len(self._opened))
        self._done[key] = max(done, before or 0)
        more = self._done[key] - (before or 0)
        if more:
            self.line.advance(more, f"{self._finished} of {self.files} files done")

    def finish(self, read: bool) -> None:
        """Counts a finished file; `read` says whether all of it was read in this run."""
        self._finished += 1
        self._passed_over += not read
