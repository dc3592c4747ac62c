"""Every epoch's figures for TensorBoard, where it is installed; nothing else depends on them."""

import importlib.util
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.history import HistoryRow

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

FOLDER = "tensorboard"

_log = logging.getLogger(__name__)

_GROUPS = {
    "loss": ("original_lossf", "val_original_lossf"),
    "accuracy": ("original_acc", "val_original_acc", "val_auc"),
    "adversary": ("adv_loss", "adv_acc", "val_adv_loss", "val_adv_acc"),
    "adversary in main update": (
        *("original_adv_lossf", "original_adv_acc"),
        *("val_original_adv_lossf", "val_original_adv_acc"),
    ),
}
_KS_RANGES = {"low": "K-S low pt", "mid": "K-S mid pt", "high": "K-S high pt"}


class EventLog:
    """The event file of a run; made by `event_log`."""

    def __init__(self, writer: "EventFileWriter") -> None:
        self._writer = writer

    def add(self, epoch: int, row: HistoryRow) -> None:
        """Write the figures of an epoch; what is NaN is left out."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag_of(name), simple_value=value) for name, value in row.items() if value == value]
        self._writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=values)))
        self._writer.flush()

    def start_at(self, epoch: int) -> None:
        """Say that epochs from this one on are written anew: a killed process may have left some that do not count."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=epoch, session_log=start))


def tag_of(name: str) -> str:
    """Where a value of the history stands in TensorBoard: its group, then its name.

    >>> tag_of("val_original_lossf"), tag_of("ks_bib_hist"), tag_of("ks_bib_low_expected"), tag_of("ks_low_mc")
    ('loss/val_original_lossf', 'K-S/ks_bib_hist', 'K-S low pt/ks_bib_low_expected', 'K-S low pt/ks_low_mc')
    """
    for group, names in _GROUPS.items():
        if name in names:
            return f"{group}/{name}"
    if not name.startswith("ks_"):
        return f"other/{name}"
    inside = next((group for word, group in _KS_RANGES.items() if word in name.split("_")), "K-S")
    return f"{inside}/{name}"


@contextmanager
def event_log(run: RunDirectory, settings: TrainSettings, history: Sequence[HistoryRow]) -> Iterator[EventLog | None]:
    """The event file of a run in its folder `tensorboard`; None where it is not wanted or TensorBoard is missing.

    Args:
        run: the run.
        settings: whether it is wanted.
        history: the epochs that are done; they are written where a run had no event file so far.
    """
    if not settings.tensorboard or importlib.util.find_spec("tensorboard") is None:
        yield None
        return
    folder = run.path / FOLDER
    is_new = not _has_events(folder)
    _wait_for_a_later_name(folder)
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(folder))
    except (ImportError, TypeError) as error:
        # Protobuf refuses code that was made for another version of it with a TypeError.
        _log.warning("nothing is written for TensorBoard, whose installation does not work: %s", error)
        yield None
        return
    log = EventLog(writer)
    if is_new:
        for epoch, row in enumerate(history):
            log.add(epoch, row)
    else:
        log.start_at(len(history))
    try:
        yield log
    finally:
        writer.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """Readers take the files by name, and names begin with the second: two of one second could change places."""
    seconds = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
    newest = max((int(second) for second in seconds if second.isdecimal()), default=0)
    if newest == int(time.time()):
        time.sleep(max(0.0, newest + 1 - time.time()))


def _has_events(folder: Path) -> bool:
    return any(folder.glob("events.out.tfevents.*"))
