"""Many ntuples to files of jets: one after the other or several at a time, shared with other processes."""

import multiprocessing
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import Queue

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.ntuple.conversion import Report, convert_file
from cal_ratio_trainer.ntuple.failures import record_failures
from cal_ratio_trainer.ntuple.inputs import work_for
from cal_ratio_trainer.ntuple.request import Request
from cal_ratio_trainer.ntuple.summary import ConversionRow, ConversionSummary, Status
from cal_ratio_trainer.processes import end_with_parent
from cal_ratio_trainer.progress import ProgressLine, progress

_LOOK_EVERY_S = 0.1
_Events = tuple[int, int]


def convert_files(settings: ConvertSettings) -> ConversionSummary:
    """Convert all files of the settings; a bad one is a failed row and the others go on.

    Files that are done already, by the same options, are passed over; a file that another process converts at the
    moment is left to it. Files that fail are listed in failed_files.txt beside the results.

    Raises:
        ConfigError: no files, a file without a data type, signal without masses.
        SameOutput: two files would be written to one.
        OSError: an output cannot be written.
    """
    work = work_for(settings)
    with progress("convert", None, "events") as line:
        files = _Progress(line, len(work.requests))
        if settings.workers == 1 or len(work.requests) < 2:
            rows = list(_one_by_one(work.requests, files))
        else:
            rows = _in_processes(work.requests, min(settings.workers, len(work.requests)), files)
    record_failures(rows)
    return ConversionSummary((*rows, *work.not_found))


@dataclass
class _Progress:
    """Progress by events, whose total becomes known file by file."""

    line: ProgressLine
    files: int
    opened: int = 0
    finished: int = 0
    passed_over: int = 0
    events: int = 0

    def report(self, expected: int, read: int) -> None:
        """More events are expected (a file was opened), or were read."""
        if expected:
            self.opened += 1
            self.events += expected
            # Files that were not opened yet are taken to be like those that were.
            to_open = max(self.files - self.passed_over, self.opened)
            self.line.expect(self.events * to_open / self.opened)
        if read:
            self.line.advance(read, self._note())

    def finish(self, row: ConversionRow) -> None:
        """A file is done with."""
        self.finished += 1
        self.passed_over += row.status not in (Status.CONVERTED, Status.NO_JETS)
        if row.status is Status.FAILED:
            self.line.message(f"{row.file}: failed: {row.reason}")

    def _note(self) -> str:
        return f"{self.finished} of {self.files} files done"


def _one_by_one(requests: Iterable[Request], files: _Progress) -> Iterator[ConversionRow]:
    for request in requests:
        row = convert_file(request, files.report)
        files.finish(row)
        yield row


def _in_processes(requests: tuple[Request, ...], workers: int, files: _Progress) -> list[ConversionRow]:
    # Spawned processes start clean: forked ones would inherit locks of threads that do not exist in them.
    context = multiprocessing.get_context("spawn")
    events: Queue[_Events] = context.Queue()
    with ProcessPoolExecutor(workers, context, _start_worker, (events,)) as pool:
        futures = [pool.submit(_convert_in_worker, request) for request in requests]
        try:
            _follow(futures, requests, events, files)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [_row_of(future, request) for future, request in zip(futures, requests, strict=True)]


def _follow(
    futures: list[Future[ConversionRow]], requests: tuple[Request, ...], events: "Queue[_Events]", files: _Progress
) -> None:
    """Pass progress on until all is done."""
    request_of = dict(zip(futures, requests, strict=True))
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_LOOK_EVERY_S)
        for expected, read in _drained(events):
            files.report(expected, read)
        for future in done:
            files.finish(_row_of(future, request_of[future]))


def _drained(events: "Queue[_Events]") -> Iterator[_Events]:
    while True:
        try:
            yield events.get_nowait()
        except queue.Empty:
            return


def _row_of(future: Future[ConversionRow], request: Request) -> ConversionRow:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "a process ended without a word while files were converted (out of memory?); run again to go on"
        return ConversionRow(request.file, request.output, Status.FAILED, reason, data_type=request.selection.data_type)


_report_from_worker: Callable[[int, int], None] | None = None


def _start_worker(events: "Queue[_Events]") -> None:
    end_with_parent()
    global _report_from_worker
    _report_from_worker = lambda expected, read: events.put((expected, read))  # noqa: E731


def _convert_in_worker(request: Request) -> ConversionRow:
    report: Report = _report_from_worker or (lambda expected, read: None)
    return convert_file(request, report)
