"""Display of a run while it trains: its plots, its page, and its logs in TensorBoard and MLflow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.runs.figure_data import EpochHistograms
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training.event_log import event_log
from cal_ratio_trainer.training.finish import evaluate_test_part
from cal_ratio_trainer.training.loop import Observer
from cal_ratio_trainer.training.mlflow_log import mlflow_log, require_mlflow
from cal_ratio_trainer.training.run_plots import RunPlots
from cal_ratio_trainer.training.setup import Training

ShowRun = Callable[[RunFolder, float | None], None]
"""Shows a run, after each epoch with the seconds until its end, and with None when it has ended."""


class RunDisplay(Observer):
    """Shows what a run has so far; for one training."""

    def __init__(self, show: ShowRun | None = None, *, draws: bool = True) -> None:
        """Prepares the display.

        Args:
            show: writes the run's page; None writes none.
            draws: draw figures; otherwise they are left to `cr_trainer plot --run`.
        """
        self._show, self._draws = show, draws

    def prepare(self, settings: TrainSettings) -> None:
        """See `Observer`."""
        require_mlflow(settings)

    @contextmanager
    def following(
        self, run: RunFolder, training: Training, history: Sequence[HistoryRow], record: Mapping[str, Any]
    ) -> Iterator[None]:
        """See `Observer`."""
        self._run, self._training, settings = run, training, training.settings
        with (
            RunPlots(run, settings, training.data, draws=self._draws) as self._plots,
            event_log(run, settings, history) as events,
            mlflow_log(run, settings, history, record) as tracked,
        ):
            self._logs = [log for log in (events, tracked) if log is not None]
            self._plots.draw_missing(history)
            yield

    def after_epoch(self, history: Sequence[HistoryRow], histograms: EpochHistograms, seconds_left: float) -> None:
        """See `Observer`."""
        self._plots.after_epoch(
            history, histograms, lambda: evaluate_test_part(self._run, self._training, len(history) - 1)
        )
        for log in self._logs:
            log.add(history)
        if self._show is not None:
            self._show(self._run, seconds_left)

    def evaluated(self, figures: TestFigures) -> None:
        """See `Observer`."""
        self._plots.refresh(figures)

    def drawn(self) -> dict[str, Any]:
        """See `Observer`."""
        # A second ^C ends the waiting.
        self._plots.finish()
        return self._plots.described()

    def ended(self, run: RunFolder, figures: TestFigures | None) -> None:
        """See `Observer`."""
        if self._show is not None:
            self._show(run, None)
        if figures is not None:
            for log in self._logs:
                log.finish(figures)
