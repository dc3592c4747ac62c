"""Figures drawn by a few processes beside the main work, which never waits for them.

`submit` returns at once. The newest figure is drawn first, a newer figure of the same name replaces one that still
waits, and `finish` makes sure that all are there. The processes are those of `workers.child`, not of `multiprocessing`,
whose processes would import the user's main module and with it PyTorch.
"""

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.style import FigureLabels
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.workers.child import PICKLING_ERRORS, Child, ChildDied
from cal_ratio_trainer.workers.executor import Report, Task, available_cores

_WORTH_A_PROCESS = 24
"""Figures that wait for a process before another one is started: about as many as it could draw while it starts."""
_MAX_ATTEMPTS = 2
_MAX_DEATHS = 5
_LOOK_EVERY_S = 0.1
_FAREWELL_S = 15.0
_NICENESS = 10
_PATIENCE_S = 300.0
"""Longer than any figure takes, on a machine with other things to do and with a slow disk to import from."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_log = logging.getLogger(__name__)


class DrawingFailed(Exception):
    """A figure could not be drawn, for another reason than the disk's; the message is the other process's traceback."""


@dataclass
class _Figure:
    drawing: Drawing
    folder: Path
    labels: FigureLabels
    order: tuple[int, int]
    attempts: int = 0

    @property
    def path(self) -> Path:
        return self.folder / self.drawing.name


def _drawn(
    report: Report | None, drawing: Drawing, folder: Path, labels: FigureLabels
) -> tuple[Exception | None, float]:
    """Draws a figure in this process; returns the error, if any, and the CPU time that it took. [s]"""
    begin = time.thread_time()
    error: Exception | None = None
    try:
        drawing.write(folder, labels)
    except OSError as failure:
        error = failure
    except Exception:
        error = DrawingFailed(f"{drawing.name} cannot be drawn:\n{traceback.format_exc()}")
    return error, time.thread_time() - begin


class DrawingPool:
    """Processes that draw; use it in a `with` block, and call `finish` where the figures are wanted.

    Leaving the block without `finish` drops what still waits; what is being drawn is completed.
    """

    def __init__(self, processes: int) -> None:
        """Makes a pool; processes start when there is something to draw.

        Args:
            processes: largest number; with 0 `submit` draws in this process, and returns at its end.
        """
        # Workers are started by means that only POSIX systems have.
        self._processes = processes if os.name == "posix" else 0
        self._lock = threading.Lock()
        self._waiting: dict[Path, _Figure] = {}
        self._in_work: set[Path] = set()
        self._undrawn: dict[Path, tuple[_Figure, Exception]] = {}
        self._threads: list[threading.Thread] = []
        self._idle: list[Child] = []
        self._submitted = self._deaths = self.drawn = 0
        self.busy_s = 0.0
        """Seconds of a processor that all figures so far took together; `drawn` is how many they are."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def seconds_a_figure(self) -> float | None:
        """Mean processor time per figure so far; None before the first. [s]"""
        return self.busy_s / self.drawn if self.drawn else None

    @property
    def waiting(self) -> int:
        """Figures that are not drawn yet."""
        with self._lock:
            return len(self._waiting) + len(self._in_work)

    def submit(self, drawings: Iterable[Drawing], folder: Path, labels: FigureLabels, order: int = 0) -> None:
        """Hands figures over to be drawn.

        Args:
            drawings: the figures; those of one file name replace each other, the newest stays.
            folder: output folder.
            labels: their labels.
            order: those of a higher one are drawn first, those of the same one as they came.
        """
        with self._lock:
            for drawing in drawings:
                self._submitted += 1
                figure = _Figure(drawing, folder, labels, (order, -self._submitted))
                self._waiting[figure.path] = figure
                self._undrawn.pop(figure.path, None)
        self._start(self._processes)
        while not self._processes and self._draw_here():
            pass

    def finish(self, description: str = "plots") -> dict[Path, Exception]:
        """Waits until all is drawn, with all cores; what the disk did not take is tried once more.

        Returns:
            What could not be drawn.
        """
        with self._lock:
            for path, (failed, error) in list(self._undrawn.items()):
                if isinstance(error, OSError):
                    self._waiting.setdefault(path, failed)
                    del self._undrawn[path]
        self._start(max(self._processes, available_cores()) if self._processes else 0)
        if total := self.waiting:
            with progress(description, total, "figures") as line:
                while left := self.waiting:
                    line.advance(total - left - line.done)
                    threads = list(self._threads)
                    if threads:
                        threads[0].join(_LOOK_EVERY_S)
                    else:
                        self._draw_here()
                line.advance(total - line.done)
        return {path: error for path, (_, error) in self._undrawn.items()}

    def close(self) -> None:
        """Drops what waits and ends the processes; figures being drawn are completed."""
        with self._lock:
            self._waiting.clear()
            threads = list(self._threads)
        for thread in threads:
            thread.join(_FAREWELL_S)
        for child in self._idle:
            child.stop()

    def _start(self, most: int) -> None:
        """Starts threads, each with a process, for the figures that wait."""
        with self._lock:
            wanted = min(most, 1 + len(self._waiting) // _WORTH_A_PROCESS) if self._waiting else 0
            while len(self._threads) < wanted and self._deaths < _MAX_DEATHS:
                self._threads.append(threading.Thread(target=self._serve, daemon=True, name="drawing pool"))
                self._threads[-1].start()

    def _serve(self) -> None:
        """Draws in a process what waits, then leaves the process for the next figures."""
        with self._lock:
            child = self._idle.pop() if self._idle else None
        while (figure := self._next_of_thread(child)) is not None:
            content = (figure.drawing, figure.folder, figure.labels)
            try:
                # The signals that reach the whole job do not end it.
                child = child or Child(niceness=_NICENESS, ignores_sigterm=True, environment=_ONE_THREAD)
                done = child.run(Task((0, 0), _drawn, content), _PATIENCE_S)
            except PICKLING_ERRORS as error:
                failure = DrawingFailed(f"{figure.drawing.name} cannot be sent to another process: {error}")
                self._take_note(figure, failure)
            except (ChildDied, OSError) as error:
                if child is not None:
                    child.stop()
                child = None
                self._put_back(figure, error)
            else:
                failed = None if done.error is None else DrawingFailed(f"{figure.drawing.name}: {done.error}")
                self._take_note(figure, *((failed,) if failed else done.result))

    def _next_of_thread(self, child: Child | None) -> _Figure | None:
        """The most urgent figure for a thread, which ends if there is none or too many processes have died."""
        with self._lock:
            figure = self._next() if self._deaths < _MAX_DEATHS else None
            if figure is None:
                self._threads.remove(threading.current_thread())
                self._idle += [child] if child is not None else []
            return figure

    def _next(self) -> _Figure | None:
        """The most urgent figure; None if there is none."""
        # Two processes at one file could finish in the wrong order.
        free = [figure for path, figure in self._waiting.items() if path not in self._in_work]
        if not free:
            return None
        chosen = max(free, key=lambda figure: figure.order)
        del self._waiting[chosen.path]
        self._in_work.add(chosen.path)
        return chosen

    def _draw_here(self) -> bool:
        """Draws one figure in this process, but none that killed another one; false if there is none."""
        with self._lock:
            figure = self._next()
        if figure is None:
            return False
        if figure.attempts:
            self._take_note(figure, DrawingFailed(f"{figure.drawing.name}: a process died drawing it"))
        else:
            self._take_note(figure, *_drawn(None, figure.drawing, figure.folder, figure.labels))
        return True

    def _take_note(self, figure: _Figure, error: Exception | None, seconds: float | None = None) -> None:
        with self._lock:
            self._in_work.discard(figure.path)
            if seconds is not None:
                self.drawn += 1
                self.busy_s += seconds
            if error is not None:
                if not self._undrawn:
                    _log.warning("%s cannot be drawn: %s", figure.path, error)
                if figure.path not in self._waiting:
                    self._undrawn[figure.path] = (figure, error)

    def _put_back(self, figure: _Figure, error: Exception) -> None:
        """Lets another process try the figure at which one died, or that none could be started for."""
        figure.attempts += isinstance(error, ChildDied)
        with self._lock:
            self._deaths += 1
            if self._deaths == 1:
                _log.warning("a process that draws figures %s; another one goes on", error)
            is_given_up = figure.attempts >= _MAX_ATTEMPTS
            if not is_given_up:
                self._in_work.discard(figure.path)
                self._waiting.setdefault(figure.path, figure)
        if is_given_up:
            self._take_note(figure, error)


def draw_in_parallel(drawings: Sequence[Drawing], folder: Path, labels: FigureLabels) -> list[Path]:
    """Draws several figures, with a progress line and one process per core, or none for few figures.

    Args:
        drawings: the figures.
        folder: output folder.
        labels: their labels.

    Returns:
        The files written, in the order of the drawings.

    Raises:
        OSError: a file cannot be written; those before and after it may be there.
        DrawingFailed, ChildDied: a figure cannot be drawn.
    """
    wanted = min(available_cores(), len(drawings) // _WORTH_A_PROCESS)
    with DrawingPool(wanted if wanted > 1 else 0) as pool:
        if wanted > 1:
            pool.submit(drawings, folder, labels)
        else:
            with progress("draw", len(drawings), "figures") as line:
                for drawing in drawings:
                    pool.submit([drawing], folder, labels)
                    line.advance()
        undrawn = pool.finish("draw")
    if undrawn:
        raise next(iter(undrawn.values()))
    return [folder / f"{drawing.name}{suffix}" for drawing in drawings for suffix in labels.suffixes]
