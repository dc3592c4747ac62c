"""What the processes of one training do that neither write nor speak, and what the first tells them."""

import json
from pathlib import Path

from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.training.checkpoint import Progress, state_bytes, take_state
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.loop import TrainingDiverged
from cal_ratio_trainer.training.ranks import Ranks
from cal_ratio_trainer.training.setup import Work, new_training, plan_of, prepared_work
from cal_ratio_trainer.training.signals import NOTHING_CHANGED, StopRequest, TrainingStopped, stop_requests

COMPLETE = "all files are complete"
"""What the first says to those that wait for it to write the end."""


def take_part(ranks: Ranks) -> None:
    """What every process but the first does: it shares one training after the other, and neither writes nor speaks.

    Args:
        ranks: the processes.

    Raises:
        TrainingStopped, UserError: as `train`.
    """
    # Also while the first writes the end, or completes a fold set: a process that is gone would end all.
    with stop_requests() as stop:
        while (told := json.loads(ranks.word_of_first(""))) is not None:
            if stop.signal_number:
                raise TrainingStopped(NOTHING_CHANGED, stop.exit_status)
            _take_part_in(Start.told_by_first(told), ranks, stop)


def _take_part_in(start: Start, ranks: Ranks, stop: StopRequest) -> None:
    work = prepared_work(start, lambda text: None, lambda figures: "", ranks)
    told = json.loads(ranks.word_of_first(""))
    take_state(work.step, ranks.bytes_of_first(b""))
    training = new_training(RunDirectory(Path(told["run"])), work)
    try:
        with plan_of(training).watching():
            training.fit(Progress(told["epoch"], told["step"]), told["epochs"], stop)
    except (TrainingStopped, TrainingDiverged):
        # All have stopped at the same place, and the first still completes its files.
        ranks.word_of_first("")
        raise
    agree_on_late_signal(ranks, stop)


def agree_on_late_signal(ranks: Ranks, stop: StopRequest) -> None:
    """Take a signal that came to any process while the first wrote the end for one to all."""
    ranks.word_of_first(COMPLETE)
    stop.signal_number = ranks.largest(stop.signal_number or 0) or None


def tell_the_others(run: RunDirectory, work: Work, progress: Progress, epochs: int) -> None:
    """Say where the training begins; the others wait for it."""
    if work.ranks.place.processes > 1:
        told = {"run": str(run.path), "epoch": progress.epoch, "step": progress.step, "epochs": epochs}
        work.ranks.word_of_first(json.dumps(told))
        work.ranks.bytes_of_first(state_bytes(work.step))
