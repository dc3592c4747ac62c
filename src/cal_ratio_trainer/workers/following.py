"""Progress of many files by files, units and rate, whoever does them and however often."""

from dataclasses import dataclass, field

from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import Key


@dataclass
class Following:
    """Adds up what the tasks tell; the total becomes known file by file.

    Attributes:
        line: where it is shown.
        files: how many files there are.
    """

    line: ProgressLine
    files: int
    _done: dict[Key, int] = field(default_factory=dict)
    _opened: set[int] = field(default_factory=set)
    _expected: int = 0
    _finished: int = 0
    _passed_over: int = 0

    def report(self, key: Key, done: int, of: int) -> None:
        """A task is so far. What a lost worker had done is done again, and counts once."""
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
            self.line.advance(more, self._note())

    def finish(self, number: int, read: bool) -> None:
        """A file is done with; `read` says whether all of it was read in this run."""
        self._finished += 1
        self._passed_over += not read

    def _note(self) -> str:
        return f"{self._finished} of {self.files} files done"
