"""TensorBoard events of a run, where TensorBoard is installed: history, figures, hyper-parameters, figures of merit."""

import importlib.util
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting.catalogue import epoch_plot_names
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training.monitoring import (
    end_of_epoch,
    epoch_metrics,
    figure_name,
    hyper_parameters,
    merit_metrics,
)

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

FOLDER = "tensorboard"

_EPOCHS_WITH_IMAGES = 20
"""Approximate number of epochs whose figures are written: TensorBoard shows ten images of a name by default."""

_log = logging.getLogger(__name__)


class EventLog:
    """Event file of a run; made by `event_log`."""

    def __init__(self, writer: "EventFileWriter", run: RunFolder, settings: TrainSettings) -> None:
        self._writer, self._run, self._settings = writer, run, settings
        self._epochs = self._next_images = 0
        self._epochs_per_image = -(-settings.epochs // _EPOCHS_WITH_IMAGES)
        self._merits: dict[str, float] = {}

    def add(self, history: Sequence[HistoryRow]) -> None:
        """Writes new epochs, without their NaN values, and the figures that are drawn already."""
        for epoch in range(self._epochs, len(history)):
            self._add_scalars(epoch_metrics(history[epoch]), epoch)
        self._epochs = len(history)
        self._add_images(waits=True)
        self._writer.flush()

    def finish(self, figures: TestFigures) -> None:
        """Takes the figures of merit of the newest epoch on the test part."""
        self._merits = merit_metrics(figures)

    def close(self) -> None:
        """Writes the figures of merit and all remaining figures that are drawn, and closes the file."""
        if self._merits:
            self._add_scalars(self._merits, self._epochs - 1)
        self._add_images(waits=False)
        self._writer.close()

    def add_hyper_parameters(self) -> None:
        """Writes the settings for the dashboard HPARAMS; without declared columns it shows those that differ first."""
        from tensorboard.compat.proto.event_pb2 import Event

        # `hparams.api` offers the same function and needs TensorFlow.
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        settings = hparams_pb(hyper_parameters(self._settings), trial_id=self._run.name)
        self._writer.add_event(Event(wall_time=time.time(), summary=settings))

    def _add_scalars(self, values: Mapping[str, float], epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = Event(wall_time=end_of_epoch(self._run, epoch), step=epoch, summary=Summary(value=shown))
        self._writer.add_event(event)

    def _add_images(self, waits: bool) -> None:
        """Writes the figures of epochs in order: TensorBoard takes an earlier epoch after a later one for a restart.

        Args:
            waits: stop at the first epoch whose figures are not all drawn; otherwise write those that are there.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        while self._next_images < self._epochs:
            epoch = self._next_images
            names = epoch_plot_names(epoch, with_control=bool(self._settings.control_files))
            files = {name.partition("_")[2]: self._run.path / f"{name}.png" for name in names}
            drawn = {name: file for name, file in files.items() if file.is_file()}
            if waits and len(drawn) < len(files):
                return
            for name, file in drawn.items():
                image = Summary.Image(height=600, width=800, colorspace=3, encoded_image_string=file.read_bytes())
                summary = Summary(value=[Summary.Value(tag=figure_name(name), image=image)])
                self._writer.add_event(Event(wall_time=end_of_epoch(self._run, epoch), step=epoch, summary=summary))
            self._next_images += self._epochs_per_image


@contextmanager
def event_log(run: RunFolder, settings: TrainSettings, history: Sequence[HistoryRow]) -> Iterator[EventLog | None]:
    """Opens the event file of a run in its folder `tensorboard`; None if it is switched off or cannot be imported.

    A continued run is written again from its first epoch: one file, no epoch twice, and current names throughout.

    Args:
        run: the run.
        settings: of the run.
        history: finished epochs.
    """
    if not settings.tensorboard or importlib.util.find_spec("tensorboard") is None:
        yield None
        return
    folder = run.path / FOLDER
    earlier = list(folder.glob("events.out.tfevents.*"))
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        log = EventLog(EventFileWriter(str(folder)), run, settings)
        log.add_hyper_parameters()
    except (ImportError, TypeError) as error:
        # Protobuf raises a TypeError for code that was generated by another version of it.
        _log.warning("nothing is written for TensorBoard, whose installation does not work: %s", error)
        yield None
        return
    log.add(history)
    for file in earlier:
        file.unlink()
    try:
        yield log
    finally:
        try:
            log.close()
        except OSError as error:
            # The run itself is complete by now, or has ended for a reason of its own.
            _log.warning("the events for TensorBoard are incomplete: %s", error)
