"""Workers of a build, for all of its passes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import Executor, Key, Task, WorkerLost
from cal_ratio_trainer.workers.opening import opened_executor
from cal_ratio_trainer.workers.pieces import remove_remains_of


class Workers:
    """Runs a function on many files in this process, several, or a cluster; made by `opened_workers`.

    Attributes:
        output: file that all of the work is for.
    """

    def __init__(self, executor: Executor, output: Path) -> None:
        self._executor, self.output = executor, output

    def results(
        self,
        function: Callable[..., Any],
        given: Iterable[tuple[str, tuple[Any, ...]]],
        line: ProgressLine | None = None,
        finished: Callable[[Any], None] = lambda result: None,
    ) -> list[Any]:
        """Runs `function(report, *arguments)`, which other processes can import, for each file.

        Args:
            function: called once per file; repeated by another worker if the first one is lost.
            given: name of the file for messages, and arguments; taken when needed, so that only those under way are in
                memory.
            line: shows the progress that the function reports.
            finished: called with each result when it is ready.

        Returns:
            The results in the order of the files; it does not depend on who works.

        Raises:
            InputFileError: every worker that was given a file was lost.
            Any error that the function raises.
        """
        names: list[str] = []
        units: dict[Key, int] = {}
        found: dict[int, Any] = {}

        def report(key: Key, done: int, of: int) -> None:
            # Work of a lost worker that is repeated counts once.
            more = done - units.get(key, 0)
            if more > 0 and line is not None:
                units[key] = done
                line.advance(more)

        def tasks() -> Iterator[Task]:
            for number, (name, arguments) in enumerate(given):
                names.append(name)
                yield Task((number, 0), function, arguments, self.output.absolute())

        self._executor.on_progress = report
        for done in self._executor.all_of(tasks()):
            if isinstance(done.error, WorkerLost):
                raise InputFileError(names[done.key[0]], f"{done.error} while it was read (out of memory?)")
            if done.error is not None:
                raise done.error
            found[done.key[0]] = done.result
            finished(done.result)
        return [found[number] for number in range(len(names))]


@contextmanager
def opened_workers(
    settings: SchedulingSettings, output: Path, inputs: int, say: Callable[[str], None]
) -> Iterator[Workers]:
    """Workers of the settings; no other process makes `output` meanwhile, and no pieces of it remain afterwards.

    Args:
        settings: name the scheduler, and how many processes.
        output: file that is to be made.
        inputs: number of files to read.
        say: called with text for the user.

    Raises:
        InputFileError: another process makes `output`.
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    with leased(output) as lease:
        if lease is None:
            raise InputFileError(output, "is being made by another process")
        remove_remains_of(output)
        try:
            with opened_executor(settings, inputs, say) as executor:
                yield Workers(executor, output)
        finally:
            remove_remains_of(output)
