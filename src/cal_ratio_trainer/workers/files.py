"""Processing of many files by an executor: each whole, or in pieces whose results are joined in order.

The process that runs this holds the lease of each file that is under way, so that a lost worker's file is free for
another worker at once, while other runs on the same list see that somebody is at it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from cal_ratio_trainer.files.leases import Lease, Leases, lease_file
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import WAIT_S, Done, Executor, Key, Report, SchedulerError, Task

_WHOLE, _JOINED = -1, -2
_LOOKS_FOR_THE_DISK = 20
_BETWEEN_LOOKS_S = 0.5


class _HasOutput(Protocol):
    @property
    def output(self) -> Path: ...


Request = TypeVar("Request", bound=_HasOutput)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pieces:
    """A file is large: these are its pieces, in order."""

    pieces: tuple[Any, ...]


@dataclass(frozen=True)
class Steps(Generic[Request, Result]):
    """Steps for a file: `whole`, `piece` and `join` run in the executor, the others in this process.

    Attributes:
        begun: the request as the executor gets it, once this process has the lease.
        whole: does a file, or cuts it where it is large and may be cut: (report, request, may be cut).
        piece: does a piece: (report, request, piece); what it gives goes to `join`.
        join: puts the results of all pieces, in order, together: (report, request, results).
        elsewhere: the result of a file that another process works on.
        failed: the result of a file that raised an error, or the error again where it is not the file's own.
        discard: removes what the pieces of a file have left behind.
    """

    begun: Callable[[Request], Request]
    whole: Callable[[Report, Request, bool], Result | Pieces]
    piece: Callable[[Report, Request, Any], Any]
    join: Callable[[Report, Request, list[Any]], Result]
    elsewhere: Callable[[Request], Result]
    failed: Callable[[Request, BaseException], Result]
    discard: Callable[[Request], None]


def do_files(
    executor: Executor,
    requests: Sequence[Request],
    steps: Steps[Request, Result],
    leases: Leases,
    finished: Callable[[int, Result], None],
) -> list[Result]:
    """Processes all files that no other process works on.

    Args:
        executor: runs the steps.
        requests: one per file, each with an `output` of its own.
        steps: steps for a file.
        leases: holds the files under way for this process.
        finished: called with the number of each finished file, and its result.

    Returns:
        One result per request, in their order; it does not depend on the number of workers.

    Raises:
        SchedulerError: the scheduler cannot be used.
        Whatever the steps raise that `steps.failed` does not take for the file's own fault.
    """
    return _FileLoop(executor, requests, steps, leases, finished).run()


@dataclass
class _File:
    """A file that is under way."""

    lease: Lease
    request: Any
    pieces: tuple[Any, ...] = ()
    parts: dict[int, Any] = field(default_factory=dict)
    tasks: int = 0
    error: BaseException | None = None


class _FileLoop(Generic[Request, Result]):
    def __init__(
        self,
        executor: Executor,
        requests: Sequence[Request],
        steps: Steps[Request, Result],
        leases: Leases,
        finished: Callable[[int, Result], None],
    ) -> None:
        self._executor, self._requests, self._steps = executor, requests, steps
        self._leases, self._tell = leases, finished
        self._waiting = deque(range(len(requests)))
        self._suspects: deque[int] = deque()
        self._ready: deque[Task] = deque()
        self._open: dict[int, _File] = {}
        self._under_way = 0
        self._results: dict[int, Result] = {}

    def run(self) -> list[Result]:
        while self._waiting or self._open or self._suspects:
            self._give_out()
            if self._under_way:
                for done in self._executor.wait(WAIT_S):
                    self._take_in(done)
            elif self._suspects:
                time.sleep(min(WAIT_S, self._leases.watch_s / 10))
        return [self._results[number] for number in range(len(self._requests))]

    def _give_out(self) -> None:
        # Some more than can be done at the same time, so that nobody waits; not all, for others may share the list.
        most = 1 if self._executor.is_alone else 2 * self._executor.places
        while self._under_way < most and (self._ready or self._waiting or self._suspects):
            if self._ready:
                self._submit(self._ready.popleft())
            elif self._waiting:
                self._begin(self._waiting.popleft())
            elif not self._look_at_suspects():
                return

    def _look_at_suspects(self) -> bool:
        """Tries again files of processes that may be dead; False if all must wait."""
        before = len(self._suspects)
        for number in [self._suspects.popleft() for _ in range(before)]:
            self._begin(number)
        return len(self._suspects) < before

    def _begin(self, number: int) -> None:
        request = self._requests[number]
        try:
            lease = self._leases.take(request.output)
        except OSError as error:
            self._finish(number, self._steps.failed(request, error))
            return
        if lease is not None:
            self._open[number] = _File(lease, self._steps.begun(request))
            self._submit(self._task((number, _WHOLE), self._steps.whole, not self._executor.is_alone))
        elif self._leases.is_suspect(request.output):
            self._suspects.append(number)
        else:
            self._finish(number, self._steps.elsewhere(request))

    def _task(self, key: Key, function: Callable[..., Any], argument: Any) -> Task:
        request = self._open[key[0]].request
        if self._executor.is_elsewhere:
            return Task(key, on_shared_disk, (lease_file(request.output).absolute(), function, request, argument))
        return Task(key, function, (request, argument))

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
            self._fail(number, file, done.error)
        elif which == _WHOLE and isinstance(done.result, Pieces):
            file.pieces = done.result.pieces
            self._ready += [self._task((number, i), self._steps.piece, piece) for i, piece in enumerate(file.pieces)]
        elif which in (_WHOLE, _JOINED):
            self._close(number, done.result)
            return
        else:
            file.parts[which] = done.result
        if file.tasks == 0 and file.error is not None:
            # Not before all of its pieces have ended: they leave files behind.
            self._close(number, self._failure(number, file, file.error))
        elif which >= 0 and len(file.parts) == len(file.pieces):
            parts = [file.parts[i] for i in range(len(file.pieces))]
            self._ready.appendleft(self._task((number, _JOINED), self._steps.join, parts))

    def _fail(self, number: int, file: _File, error: BaseException) -> None:
        if isinstance(error, SchedulerError) or not isinstance(error, Exception):
            raise error
        file.error = file.error or error
        self._ready = deque(task for task in self._ready if task.key[0] != number)

    def _failure(self, number: int, file: _File, error: BaseException) -> Result:
        if file.pieces:
            self._steps.discard(self._requests[number])
        if file.lease.lost:
            # This process stood still for so long that another one took over, and removed what it was writing.
            return self._steps.elsewhere(self._requests[number])
        return self._steps.failed(self._requests[number], error)

    def _close(self, number: int, result: Result) -> None:
        self._leases.release(self._open.pop(number).lease)
        self._finish(number, result)

    def _finish(self, number: int, result: Result) -> None:
        self._results[number] = result
        self._tell(number, result)


def on_shared_disk(report: Report, lease: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a task on a worker of a cluster, after a check that the worker sees the output disk.

    Raises:
        SchedulerError: it does not see the lease, which the process that gives out the work holds.
    """
    for _ in range(_LOOKS_FOR_THE_DISK):
        if lease.exists():
            return function(report, *arguments)
        # A network file system may take its time to show what another machine has just made.
        time.sleep(_BETWEEN_LOOKS_S)
    import socket

    raise SchedulerError(
        f"the worker on {socket.gethostname()} does not see {lease.parent} as it is here: workers of a cluster "
        "need the output folder on a disk that they share with this machine"
    )


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

    def finish(self, number: int, read: bool) -> None:
        """Counts a finished file; `read` tells whether all of it was read in this run."""
        self._finished += 1
        self._passed_over += not read
