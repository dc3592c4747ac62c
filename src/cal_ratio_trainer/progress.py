"""Progress of long tasks: one live line on a terminal, plain lines elsewhere.

All of it goes to standard error; standard output is for results.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from cal_ratio_trainer.errors import harmless

_FIRST_LINE_AFTER_S = 2.0
_LINE_INTERVAL_S = 10.0

_live_lines: list["ProgressLine"] = []
"""At most one task, which has the live line; tasks within it and in worker processes print plain lines."""

_OF_WORKERS = "CAL_RATIO_TRAINER_PROGRESS"
"""Variable that tells a worker process to show plain lines, for the live line is its parent's, or nothing."""

_is_shown = ContextVar("progress is shown", default=os.environ.get(_OF_WORKERS) != "none")


class _RateColumn(ProgressColumn):
    """Column with the units per second, e.g. '12.3k jets/s'."""

    def render(self, task: Task) -> Text:
        return Text(f"{with_prefix(task.speed or 0.0)} {task.fields['unit']}/s")


class _LeftColumn(ProgressColumn):
    """Column with the time left, e.g. '1 min 15 s left'; empty while it is not known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.time_remaining is None else f"{duration(task.time_remaining)} left")


def with_prefix(number: float) -> str:
    """Formats a number with three digits and k, M or G.

    >>> with_prefix(12345.0), with_prefix(7.0), with_prefix(2.5e6), with_prefix(5000.0), with_prefix(999.6)
    ('12.3k', '7.00', '2.50M', '5.00k', '1.00k')
    """
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        scaled = abs(number) / limit
        if scaled >= 0.9995 or limit == 1.0:
            decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{number / limit:.{decimals}f}{letter}"
    raise AssertionError("the last limit takes every number")


def duration(seconds: float) -> str:
    """Formats a duration in seconds for a person.

    >>> duration(3.14159), duration(75), duration(3700.0)
    ('3.1 s', '1 min 15 s', '1 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


class ProgressLine:
    """Progress of one task with a known or unknown total; `progress` makes it."""

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0.0
        self.start = self.last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task = None
        self._is_shown = _is_shown.get()
        is_first = not _live_lines and _OF_WORKERS not in os.environ
        if self._is_shown and is_first and (sys.stderr.isatty() or _is_notebook()):
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                TextColumn("{task.percentage:>3.0f} %"),
                _RateColumn(),
                _LeftColumn(),
                # Whatever is too long for the terminal is cut off: the line stays one line.
                TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
                # In a notebook a widget; else the stream behind ours, which would escape the bar's control characters.
                console=Console()
                if _is_notebook()
                else Console(file=getattr(sys.stderr, "rich_proxied_file", sys.stderr)),
                transient=True,
                expand=True,
            )
            self._task = self._bar.add_task(description, total=total, unit=unit, note="")

    def __enter__(self) -> "ProgressLine":
        if self._bar is not None:
            _live_lines.append(self)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            _live_lines.remove(self)

    def advance(self, amount: float = 1.0, note: str | None = None) -> None:
        """Adds `amount` units to those done; `note` is shown at the end of the line."""
        self.done += amount
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, amount)
            if note is not None:
                self._bar.update(self._task, note=note)
        else:
            self._plain_line(note)

    def expect(self, total: float | None) -> None:
        """Sets the total number of units, if it becomes known during the task."""
        self.total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def message(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if self._bar is not None:
            self._bar.console.print(harmless(text), markup=False, highlight=False)
        elif self._is_shown:
            print(text, file=sys.stderr, flush=True)

    def _plain_line(self, note: str | None) -> None:
        if not self._is_shown:
            return
        now = time.monotonic()
        elapsed = now - self.start
        if elapsed < _FIRST_LINE_AFTER_S or now - self.last_line < _LINE_INTERVAL_S:
            return
        self.last_line = now
        rate = self.done / elapsed
        share = f"{100 * self.done / self.total:.0f} %, " if self.total else ""
        left = f", {duration((self.total - self.done) / rate)} left" if self.total and rate > 0 else ""
        tail = f", {note}" if note else ""
        text = f"{self.description}: {share}{self.done:.0f} {self.unit}, {with_prefix(rate)} {self.unit}/s{left}{tail}"
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: float | None, unit: str) -> Iterator[ProgressLine]:
    """Shows the progress of a task: `with progress("convert", n_events, "events") as line: line.advance(500)`.

    Args:
        description: The task in one or two words.
        total: Number of units; None if it is not known.
        unit: Name of the unit, plural.
    """
    with ProgressLine(description, total, unit) as line:
        yield line


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Shows progress inside the block, or nothing; within a block that shows nothing, nothing is shown."""
    token = _is_shown.set(shown and _is_shown.get())
    try:
        yield
    finally:
        _is_shown.reset(token)


def environment_of_workers() -> dict[str, str]:
    """Variables for a worker process, which shows progress in plain lines, or none where this process shows none."""
    return {_OF_WORKERS: "plain" if _is_shown.get() else "none"}


def _is_notebook() -> bool:
    # Without ipywidgets a live line could not be replaced there, and each refresh would stay.
    return "ipykernel" in sys.modules and find_spec("ipywidgets") is not None and Console().is_jupyter
