"""Plots of a run while it trains: drawn in other processes, refreshed as often as their cost allows."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting import Drawing, figure_labels
from cal_ratio_trainer.plotting.catalogue import epoch_drawings, epoch_plot_names, final_drawings
from cal_ratio_trainer.plotting.pool import DrawingPool
from cal_ratio_trainer.runs.figure_data import EpochHistograms, ranges_of
from cal_ratio_trainer.runs.figures import drawings_of_history, stored_references
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.workers.executor import available_cores

_SHARE = 0.04
"""Largest share of the training's time that refreshing plots may take."""
_FIRST_SHARE = 0.2
"""The same for the first final plots, so that they exist soon after the start."""
_FIRST_GUESS_S = 2.0
_FIRST_GUESS_PER_FIGURE_S = 0.06

_log = logging.getLogger(__name__)


class RunPlots:
    """All plots of a run; a `with` block ends the processes that draw.

    Attributes:
        history: a row for each epoch so far.
        undrawn: after `finish`, the names of plots that could not be drawn, each with the reason.
    """

    def __init__(self, run: RunFolder, settings: TrainSettings, data: TrainingData, *, draws: bool = True) -> None:
        """Prepares drawing; processes start with the first plot.

        Args:
            run: folder of the plots; its record has the reference lines of the histories.
            settings: choice of plots, number of processes, labels.
            data: tells whether the jets are a demo's, and whether there is a control region.
            draws: draw anything; otherwise the plots are left to `cr_trainer plot --run`.
        """
        self._run, self._settings, self._draws = run, settings, draws
        self._labels = figure_labels(settings, *(sample.data_taking for sample in data.samples.values()))
        self._scaling = data.control.metadata.scaling
        self._with_control = "control" in data.samples
        self._references = stored_references(run.read_record())
        cores = max(1, available_cores() // 2)
        self._processes = cores if settings.plot_processes is None else settings.plot_processes
        self._pool = DrawingPool(self._processes)
        self.history: Sequence[HistoryRow] = ()
        self._histories_drawn = self._evaluated = time.perf_counter()
        self._evaluation_s = _FIRST_GUESS_S
        self._final_plots = 60
        self._waits: list[float] = []
        self._refresh_s: list[float] = []
        self.undrawn: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def draw_missing(self, history: Sequence[HistoryRow]) -> None:
        """Draws the plots of earlier epochs that a killed process left undrawn."""
        self.history = history
        if not self._draws or not self._settings.epoch_plots:
            return
        there = {path.name for path in self._run.path.iterdir()}
        for epoch, row in enumerate(history):
            names = epoch_plot_names(epoch, self._with_control)
            if not there.issuperset(f"{name}{suffix}" for name in names for suffix in self._labels.suffixes):
                self._draw_earlier(epoch, row)

    def after_epoch(
        self, history: Sequence[HistoryRow], histograms: EpochHistograms, evaluate: Callable[[], TestFigures]
    ) -> None:
        """Submits the newest epoch's plots, and refreshes histories and final plots where that is due.

        Args:
            history: a row for each epoch so far.
            histograms: of the newest.
            evaluate: scores the test part; called when the final plots are due.
        """
        begin = time.perf_counter()
        self.history, epoch = history, len(history) - 1
        if not self._draws:
            return
        if self._settings.epoch_plots:
            self._submit(
                epoch_drawings(epoch, histograms.histograms, histograms.ks, f"{histograms.main_part} part"), epoch
            )
        histories = self._histories()
        if self._is_due(self._histories_drawn, self._drawing_s(len(histories)), _SHARE):
            self._submit(histories, epoch)
            self._histories_drawn = time.perf_counter()
        self._waits.append(time.perf_counter() - begin)
        share = _SHARE if self._refresh_s else max(_SHARE, _FIRST_SHARE)
        if self._is_due(self._evaluated, self._evaluation_s + self._drawing_s(self._final_plots), share):
            self.refresh(evaluate())
            self._evaluation_s = time.perf_counter() - begin
            self._refresh_s.append(self._evaluation_s)

    def refresh(self, figures: TestFigures) -> None:
        """Draws the final plots of the newest epoch again."""
        if not self._draws:
            return
        drawings = final_drawings(figures)
        self._final_plots = len(drawings)
        self._submit(drawings, len(self.history) - 1)
        self._evaluated = time.perf_counter()

    def finish(self) -> None:
        """Draws the histories with the newest epoch, and waits until all plots are drawn."""
        if self._draws:
            self._submit(self._histories(), len(self.history))
        self.undrawn = {path.name: str(error) for path, error in self._pool.finish().items()}

    def described(self) -> dict[str, Any]:
        """Number and cost of the plots, for run.json."""
        waits, refreshes = self._waits, self._refresh_s
        return {
            "processes": self._processes,
            "drawn": self._pool.drawn,
            "seconds_a_plot": self._pool.seconds_a_figure,
            "epoch_wait_mean_s": sum(waits) / len(waits) if waits else None,
            "epoch_wait_max_s": max(waits, default=None),
            "refreshes": len(refreshes),
            "refreshes_s": sum(refreshes),
            "not_drawn": self.undrawn,
        }

    def _submit(self, drawings: Iterable[Drawing], epoch: int) -> None:
        self._pool.submit(drawings, self._run.path, self._labels, order=epoch)

    def _histories(self) -> list[Drawing]:
        return drawings_of_history(self.history, self._references, self._settings.has_adversary)

    def _draw_earlier(self, epoch: int, row: HistoryRow) -> None:
        try:
            stored = EpochHistograms.read(self._run.histograms_file(epoch))
        except InputFileError as error:
            _log.warning("the plots of epoch %d cannot be drawn: %s", epoch, error)
            return
        stored = stored.with_ks_of(row, ranges_of(self._settings.pt_ranges, self._scaling))
        self._submit(epoch_drawings(epoch, stored.histograms, stored.ks, f"{stored.main_part} part"), epoch)

    def _drawing_s(self, figures: int) -> float:
        return figures * (self._pool.seconds_a_figure or _FIRST_GUESS_PER_FIGURE_S) / max(1, self._processes)

    def _is_due(self, last: float, cost_s: float, share: float) -> bool:
        return cost_s < share * (time.perf_counter() - last)
