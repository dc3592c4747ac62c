"""The loop over epochs and steps."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.progress import ProgressLine, duration, progress, with_prefix
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.history import HistoryRow
from cal_ratio_trainer.runs.recommendation import ks_sums, lacks_control_region
from cal_ratio_trainer.runs.record import Timings
from cal_ratio_trainer.training.checkpoint import Progress, save_checkpoint
from cal_ratio_trainer.training.epoch import EpochResult, epoch_logits, evaluate_epoch
from cal_ratio_trainer.training.sampler import EpochsAhead, Sampler
from cal_ratio_trainer.training.signals import StopRequest, TrainingStopped
from cal_ratio_trainer.training.step import AdversarialStep
from cal_ratio_trainer.training.step_sums import Tally

_CONFIDENTLY_WRONG = 2 * math.log(2)


class TrainingDiverged(UserError):
    """The loss or a weight is NaN or infinite: nothing can be learned any more, and the settings have to change."""


@dataclass(frozen=True)
class Training:
    """All that one training works with; `fit` runs it.

    Attributes:
        settings: as the user gave them.
        run: where its files go.
        run_id: `id` of run.json; None for a run of an earlier version, and where this process writes no files.
        data: jets with parts and weights.
        tensors: the same on the device.
        step: networks and optimisers.
        sampler: draws the mini-batches.
        record_epoch: called with the progress and the result after each epoch; writes what an epoch leaves.

    Of several processes all run the same steps, each on its share of the jets; the first alone judges, writes and
    speaks.
    """

    settings: TrainSettings
    run: RunDirectory
    run_id: str | None
    data: TrainingData
    tensors: TrainingTensors
    step: AdversarialStep
    sampler: Sampler
    record_epoch: Callable[[Progress, EpochResult], None]
    timings: Timings = field(default_factory=Timings)

    def fit(self, start: Progress, epochs: int, stop: StopRequest) -> Progress:
        """Train until `epochs` epochs are done in all.

        Args:
            start: where to begin.
            epochs: how many epochs there are to be, those of `start` included.
            stop: looked at after every step.

        Raises:
            TrainingStopped: a signal came to one of the processes; the checkpoint holds everything up to the last step.
            TrainingDiverged: the loss or a weight became NaN or infinite; files and checkpoint are those of the epoch
                before.
        """
        state = start
        total = (epochs - start.epoch) * len(self.sampler.main)
        with progress("train", total, "main jets") as line, EpochsAhead(self.sampler, epochs) as drawn:
            try:
                while state.epoch < epochs:
                    state = self._epoch(state, drawn, stop, line)
            finally:
                # The next fold's jets may need the room that those of a step take.
                self.tensors.jets.expect(())
        return state

    def _epoch(self, state: Progress, drawn: EpochsAhead, stop: StopRequest, line: ProgressLine) -> Progress:
        begin, epochs = time.perf_counter(), drawn.epochs
        tally = Tally(self.tensors.jets.device, state.sums)
        steps = drawn.epoch(state.epoch)
        self.step.prepare(self.tensors, steps, state.epoch)
        if self.tensors.jets.gathers:
            self.tensors.jets.expect([self.step.read_jets(jets) for jets in steps[state.step :]])
        trained = 0
        for number in range(state.step, len(steps)):
            self.step(self.tensors, steps[number], state.epoch, number, tally)
            trained += len(steps[number].main)
            line.advance(len(steps[number].main))
            if self._is_to_stop(stop):
                tally.add_up(self.step.ranks)
                self._checkpoint(replace(state, step=number + 1, sums=tally.values()))
                raise TrainingStopped(self._farewell(state.epoch, number + 1), stop.exit_status)
        tally.add_up(self.step.ranks)
        self._refuse_divergence(state.epoch, tally)
        self._refuse_difference()
        stepped = time.perf_counter()
        state = self._end_of_epoch(state, tally, (begin, stepped, trained), epochs, line)
        self.step.ranks.meet()
        if self._is_to_stop(stop) and state.epoch < epochs:
            raise TrainingStopped(self._farewell(state.epoch, 0), stop.exit_status)
        return state

    def _end_of_epoch(
        self, state: Progress, tally: Tally, times: tuple[float, float, int], epochs: int, line: ProgressLine
    ) -> Progress:
        logits = epoch_logits(self.step, self.tensors, self.data)
        if not self.step.ranks.is_first:
            return replace(state, epoch=state.epoch + 1, step=0)
        begin, stepped, trained = times
        result = evaluate_epoch(self.step, self.tensors, self.data, tally, self.settings.pt_ranges, logits)
        looked = time.perf_counter()
        state = replace(state, epoch=state.epoch + 1, step=0, sums=None, history=[*state.history, result.row])
        self.run.refuse_removed(self.run_id)
        self.record_epoch(state, result)
        self._checkpoint(state)
        self._take_time(begin, stepped, looked, trained)
        line.message(epoch_line(state.history, epochs, self.timings))
        line.advance(0, note=short_note(state.history))
        if runs_away(state.history):
            line.message(
                "warning: the adversary's loss has passed 2 ln 2: it is confidently wrong, and the network is rewarded "
                f"for that, not for classifying; try an adversary_weight below {self.settings.adversary_weight:g}"
            )
        return state

    def _is_to_stop(self, stop: StopRequest) -> bool:
        """Whether a signal has come, to whichever process: all stop after the same step."""
        agreed = self.step.ranks.largest(stop.signal_number or 0)
        if agreed:
            stop.signal_number = agreed
        return agreed != 0

    def _refuse_divergence(self, epoch: int, tally: Tally) -> None:
        loss, _ = tally.mean("main")
        weights = torch.cat([weight.detach().flatten() for weight in self.step.classifier.parameters()])
        if math.isfinite(loss) and bool(weights.isfinite().all()):
            return
        before = f"; the network of epoch {epoch - 1} is in {self.run.path}" if epoch else ""
        raise TrainingDiverged(
            f"the training diverged: loss or weights became NaN or infinite in epoch {epoch}{before}. Start again with "
            f"a smaller learning_rate ({self.settings.learning_rate:g}) or adversary_weight "
            f"({self.settings.adversary_weight:g}), and look at the weights of the jets"
        )

    def _refuse_difference(self) -> None:
        if self.step.ranks.place.processes == 1:
            return
        weights = torch.cat([weight.detach().flatten() for weight in self.step.classifier.parameters()])
        digest = hashlib.sha256(weights.numpy(force=True).tobytes()).hexdigest()
        remedy = "all need processors or GPUs of one kind and the same PyTorch, so that they round alike"
        self.step.ranks.refuse_difference("weights after an epoch", digest, remedy)

    def _take_time(self, begin: float, stepped: float, looked: float, main_jets: int) -> None:
        end = time.perf_counter()
        self.timings.steps += stepped - begin
        self.timings.validation += looked - stepped
        self.timings.files += end - looked
        self.timings.main_jets += main_jets
        self.timings.epochs.append(end - begin)

    def _checkpoint(self, state: Progress) -> None:
        if not self.step.ranks.is_first:
            return
        self.run.refuse_removed(self.run_id)
        state = replace(state, threads=torch.get_num_threads())
        save_checkpoint(self.run.checkpoint_file, self.step, state, self.run_id)

    def _farewell(self, epoch: int, step: int) -> str:
        return (
            f"stopped in epoch {epoch} after {step} of {self.sampler.splits} steps; everything is in {self.run.path}, "
            f"go on with '{command_to_go_on(self.run)}'"
        )


def command_to_go_on(run: RunDirectory) -> str:
    """What a user types to go on with a run, or with the fold set that it belongs to."""
    model = run.numbered_folder.parent
    place = f"--output_path {model.parent} " if model.parent != Path(TrainSettings.defaults()["output_path"]) else ""
    return f"cr_trainer train {place}--model_name {model.name} --continue {run.number}"


def epoch_line(history: list[HistoryRow], epochs: int, timings: Timings) -> str:
    """One line on the newest epoch: losses, AUC, K-S with what identical distributions would give, rate, time left."""
    row, number = history[-1], len(history) - 1
    left = (epochs - len(history)) * (sum(timings.epochs) / len(timings.epochs))
    ks = ""
    if not lacks_control_region([row]):
        outputs = [(name, row[f"ks_{name}_hist"], row[f"ks_{name}_excess"]) for name in ("qcd", "sig", "bib")]
        ks = f"K-S {' '.join(f'{name} {total:.2f}({excess:+.1f}σ)' for name, total, excess in outputs)}  "
    adversary = "" if math.isnan(row["val_adv_loss"]) else f"adversary {row['val_adv_loss']:.3f}  "
    return (
        f"epoch {number:3d}/{epochs}  loss {row['original_lossf']:.4g}  val {row['val_original_lossf']:.4g}  "
        f"{adversary}AUC {row['val_auc']:.4f}  {ks}"
        f"{with_prefix(timings.jets_a_second)} jets/s  {duration(left)} left"
    )


def short_note(history: list[HistoryRow]) -> str:
    """The newest epoch in a few words, for the live line."""
    row = history[-1]
    ks = "" if lacks_control_region([row]) else f", K-S {ks_sums([row])[0]:.2f}"
    return f"epoch {len(history) - 1}: loss {row['val_original_lossf']:.3g}, AUC {row['val_auc']:.4f}{ks}"


def runs_away(history: list[HistoryRow]) -> bool:
    """True in the epoch in which the adversary's validation loss passes 2 ln 2.

    -adversary_weight * loss has no bound: a network can gain more by making the adversary confidently wrong than by
    classifying.
    """
    losses = [row["val_adv_loss"] for row in history]
    return losses[-1] > _CONFIDENTLY_WRONG and not any(loss > _CONFIDENTLY_WRONG for loss in losses[:-1])
