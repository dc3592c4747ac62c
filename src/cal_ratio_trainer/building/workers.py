"""Workers of a build, for all of its passes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.leases import Leases, lease_file
from cal_ratio_trainer.ntuple.pieces import remove_pieces
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import Executor, Key, Task, WorkerLost
from cal_ratio_trainer.workers.files import on_shared_disk
from cal_ratio_trainer.workers.opening import opened_executor


@dataclass(frozen=True)
class Job:
    """`function(report, *arguments)` on a file, by its name for messages; another process can import the function."""

    file: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Progress:
    """Progress of the jobs under way, shown on a line; work of a lost worker that is repeated counts once."""

    def __init__(self) -> None:
        self.line: ProgressLine | None = None
        self.units: dict[Key, int] = {}

    def report(self, key: Key, done: int, of: int) -> None:
        """Shows that `done` units of a job are done."""
        more = done - self.units.get(key, 0)
        if more > 0 and self.line is not None:
            self.units[key] = done
            self.line.advance(more)


class Workers:
    """Runs jobs in this process, several, or a cluster; made by `opened_workers`.

    Attributes:
        output: the file that all jobs work for.
    """

    def __init__(self, executor: Executor, output: Path, progress: _Progress) -> None:
        self._executor, self.output, self._progress = executor, output, progress

    @property
    def are_alone(self) -> bool:
        """True where this process does everything itself, and arguments need not travel."""
        return self._executor.is_alone

    def results(
        self,
        jobs: Iterable[Job],
        line: ProgressLine | None = None,
        finished: Callable[[Any], None] = lambda result: None,
    ) -> list[Any]:
        """Runs all jobs; another worker repeats those of a lost one.

        Args:
            jobs: taken when needed, so that only those under way are in memory.
            line: shows the progress that jobs report.
            finished: called with each result when it is ready.

        Returns:
            Their results in the order of the jobs; it does not depend on who works.

        Raises:
            InputFileError: every worker that was given a job was lost.
            Whatever a job raises.
        """
        self._progress.line, self._progress.units = line, {}
        names: list[str] = []
        found: dict[int, Any] = {}
        for done in self._executor.all_of(self._tasks(jobs, names)):
            if isinstance(done.error, WorkerLost):
                raise InputFileError(names[done.key[0]], f"{done.error} while it was read (out of memory?)")
            if done.error is not None:
                raise done.error
            found[done.key[0]] = done.result
            finished(done.result)
        return [found[number] for number in range(len(names))]

    def _tasks(self, jobs: Iterable[Job], names: list[str]) -> Iterator[Task]:
        for number, job in enumerate(jobs):
            names.append(job.file)
            if self._executor.is_elsewhere:
                lease = lease_file(self.output).absolute()
                yield Task((number, 0), on_shared_disk, (lease, job.function, *job.arguments))
            else:
                yield Task((number, 0), job.function, job.arguments)


@contextmanager
def opened_workers(
    settings: SchedulingSettings, output: Path, inputs: int, say: Callable[[str], None]
) -> Iterator[Workers]:
    """Workers of the settings; no other process makes `output` meanwhile, and no pieces of it remain afterwards.

    Args:
        settings: name the scheduler, and how many processes.
        output: the file that is to be made.
        inputs: number of files to read.
        say: called with text for the user.

    Raises:
        InputFileError: another process makes `output`.
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    progress = _Progress()
    with Leases() as leases:
        if leases.take(output) is None:
            raise InputFileError(output, "is being made by another process")
        remove_pieces(output.absolute())
        try:
            with opened_executor(settings, inputs, progress.report, say) as executor:
                yield Workers(executor, output, progress)
        finally:
            remove_pieces(output.absolute())
