"""Figures drawn by a few processes beside the main work, which never waits for them.

`submit` returns at once. The newest figure is drawn first, a newer figure of the same name replaces one that still
waits, and `finish` makes sure that all are there.
"""

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.style import FigureLabels
from cal_ratio_trainer.progress import ProgressLine, progress
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


@dataclass(frozen=True)
class Request:
    """Figure to draw, its folder and its heading."""

    drawing: Drawing
    folder: Path
    labels: FigureLabels


@dataclass(frozen=True)
class Answer:
    """Outcome: the error or None, and the CPU time that it took. [s]"""

    error: Exception | None
    seconds: float


class DrawingChild(Child):
    """A process that draws, at low priority; it ends when it is stopped, not by signals that reach the whole job."""

    def __init__(self) -> None:
        """Starts it. Raises OSError if the system cannot start another process."""
        super().__init__(niceness=_NICENESS, ignores_sigterm=True, environment=_ONE_THREAD)

    def draw(self, request: Request) -> Answer:
        """Lets it draw one figure, and waits for that.

        Raises:
            ChildDied: it ended or gives no answer; it is of no use any more.
        """
        try:
            done = self.run(Task((0, 0), _drawn_for_parent, (request,)), _PATIENCE_S)
        except PICKLING_ERRORS as error:
            return Answer(DrawingFailed(f"{request.drawing.name} cannot be sent to another process: {error}"), 0.0)
        if done.error is not None:
            return Answer(DrawingFailed(f"{request.drawing.name}: {done.error}"), 0.0)
        answer: Answer = done.result
        return answer


def drawn(request: Request) -> Answer:
    """Draws a figure in this process; a failure is an answer too."""
    begin = time.thread_time()
    error: Exception | None = None
    try:
        request.drawing.write(request.folder, request.labels)
    except OSError as failure:
        error = failure
    except Exception:
        error = DrawingFailed(f"{request.drawing.name} cannot be drawn:\n{traceback.format_exc()}")
    return Answer(error, time.thread_time() - begin)


def _drawn_for_parent(report: Report, request: Request) -> Answer:
    return drawn(request)


@dataclass
class _Waiting:
    request: Request
    order: tuple[int, int]
    attempts: int = 0
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.request.folder / self.request.drawing.name


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
        self._changed = threading.Condition()
        self._waiting: dict[Path, _Waiting] = {}
        self._in_work: set[Path] = set()
        self._undrawn: dict[Path, tuple[_Waiting, Exception]] = {}
        self._threads: list[threading.Thread] = []
        self._submitted = self._deaths = self.drawn = 0
        self._is_closed = False
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
        with self._changed:
            return len(self._waiting) + len(self._in_work)

    def submit(self, drawings: Iterable[Drawing], folder: Path, labels: FigureLabels, order: int = 0) -> None:
        """Hands figures over to be drawn.

        Args:
            drawings: the figures; those of one file name replace each other, the newest stays.
            folder: output folder.
            labels: their labels.
            order: those of a higher one are drawn first, those of the same one as they came.
        """
        with self._changed:
            for drawing in drawings:
                self._submitted += 1
                new = _Waiting(Request(drawing, folder, labels), (order, -self._submitted))
                self._waiting[new.path] = new
                self._undrawn.pop(new.path, None)
            self._grow()
            self._changed.notify_all()
        while not self._processes and self._draw_one():
            pass

    def finish(self, description: str = "plots") -> dict[Path, Exception]:
        """Waits until all is drawn, and draws too where there is much; what the disk did not take is tried once more.

        Returns:
            What could not be drawn.
        """
        with self._changed:
            for path, (failed, error) in list(self._undrawn.items()):
                if isinstance(error, OSError):
                    self._waiting.setdefault(path, failed)
                    del self._undrawn[path]
            self._grow()
            self._changed.notify_all()
        if total := self.waiting:
            with progress(description, total, "figures") as line:
                self._draw_the_rest(line, helps=total > _WORTH_A_PROCESS)
        return {path: error for path, (_, error) in self._undrawn.items()}

    def close(self) -> None:
        """Drops what waits and ends the processes; figures being drawn are completed."""
        with self._changed:
            self._waiting.clear()
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_FAREWELL_S)

    def _draw_the_rest(self, line: ProgressLine, helps: bool) -> None:
        while left := self.waiting:
            line.advance((line.total or 0) - left - line.done)
            if (helps or not self._is_working) and self._draw_one(untried=self._is_working):
                continue
            with self._changed:
                self._changed.wait(_LOOK_EVERY_S)
        line.advance((line.total or 0) - line.done)

    def _draw_one(self, untried: bool = False) -> bool:
        """Draws one figure in this process; false where there is none, or none that killed no process yet."""
        with self._changed:
            waiting = self._next(untried)
        if waiting is not None:
            self._take_note(waiting, drawn(waiting.request))
        return waiting is not None

    @property
    def _is_working(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _grow(self) -> None:
        wanted = min(self._processes, 1 + len(self._waiting) // _WORTH_A_PROCESS)
        while len(self._threads) < wanted and self._deaths < _MAX_DEATHS:
            self._threads.append(threading.Thread(target=self._serve, daemon=True, name="drawing pool"))
            self._threads[-1].start()

    def _next(self, untried: bool = False) -> _Waiting | None:
        # Two processes at one file could finish in the wrong order.
        free = [
            waiting
            for path, waiting in self._waiting.items()
            if path not in self._in_work and not (untried and waiting.attempts)
        ]
        if not free:
            return None
        chosen = max(free, key=lambda waiting: waiting.order)
        del self._waiting[chosen.path]
        self._in_work.add(chosen.path)
        return chosen

    def _take(self) -> _Waiting | None:
        with self._changed:
            while not self._is_closed and self._deaths < _MAX_DEATHS:
                chosen = self._next()
                if chosen is not None:
                    return chosen
                self._changed.wait()
        return None

    def _serve(self) -> None:
        worker: DrawingChild | None = None
        try:
            while (waiting := self._take()) is not None:
                try:
                    worker = worker or DrawingChild()
                    answer = worker.draw(waiting.request)
                except (ChildDied, OSError) as error:
                    if worker is not None:
                        worker.stop()
                    worker = None
                    self._put_back(waiting, error)
                else:
                    self._take_note(waiting, answer)
        finally:
            if worker is not None:
                worker.stop()

    def _take_note(self, waiting: _Waiting, answer: Answer) -> None:
        with self._changed:
            self._in_work.discard(waiting.path)
            self.drawn += 1
            self.busy_s += answer.seconds
            if answer.error is not None:
                self._give_up(waiting, answer.error)
            self._changed.notify_all()

    def _put_back(self, waiting: _Waiting, error: Exception) -> None:
        waiting.attempts += 1
        with self._changed:
            self._deaths += 1
            if self._deaths == 1:
                _log.warning("a process that draws figures %s; another one goes on", error)
            self._in_work.discard(waiting.path)
            if waiting.attempts < _MAX_ATTEMPTS or not isinstance(error, ChildDied):
                self._waiting.setdefault(waiting.path, waiting)
            else:
                self._give_up(waiting, error)
            self._changed.notify_all()

    def _give_up(self, waiting: _Waiting, error: Exception) -> None:
        if not self._undrawn:
            _log.warning("%s cannot be drawn: %s", waiting.path, error)
        if waiting.path not in self._waiting:
            self._undrawn[waiting.path] = (waiting, error)


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
            undrawn = pool.finish("draw")
        else:
            undrawn = _draw_with_progress(pool, drawings, folder, labels)
    if undrawn:
        raise next(iter(undrawn.values()))
    return [folder / f"{drawing.name}{suffix}" for drawing in drawings for suffix in labels.suffixes]


def _draw_with_progress(
    pool: DrawingPool, drawings: Sequence[Drawing], folder: Path, labels: FigureLabels
) -> dict[Path, Exception]:
    with progress("draw", len(drawings), "figures") as line:
        for drawing in drawings:
            pool.submit([drawing], folder, labels)
            line.advance()
    return pool.finish("draw")
