"""The epochs of a training: draw mini-batches, step, validate, write files, report."""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.c2st import NOT_COMPUTED, c2st_of_control_jets
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc, roc_auc_error
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, figures_of_regions
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.network.domain.base import ControlJets, StepSums
from cal_ratio_trainer.progress import ProgressLine, duration, progress, with_prefix
from cal_ratio_trainer.runs.figure_data import EpochHistograms, histograms_of, ranges_of
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.networks import remove_network, write_network
from cal_ratio_trainer.runs.recommendation import epochs_without_progress, kept_epochs, ks_sums, lacks_control_region
from cal_ratio_trainer.runs.record import Timings
from cal_ratio_trainer.runs.stored import HISTORY_NAMES, HistoryRow, write_history
from cal_ratio_trainer.training.checkpoint import TrainingState, save_checkpoint
from cal_ratio_trainer.training.optimizers import learning_rate_at
from cal_ratio_trainer.training.setup import Training
from cal_ratio_trainer.training.signals import StopRequest, TrainingStopped
from cal_ratio_trainer.training.step import StepJets
from cal_ratio_trainer.workers.executor import prefetched

_MAX_C2ST_JETS, _TRAINED_PER_C2ST_JET = 20_000, 50


class TrainingDiverged(UserError):
    """The loss or a weight is NaN or infinite: the training cannot go on, and needs other settings."""


class Observer:
    """Follows a training from outside, in its first process; this base does nothing.

    Attributes:
        reason: sentence on why the training is to end before its next epoch; empty if it goes on.
    """

    reason = ""

    def prepare(self, settings: TrainSettings) -> None:
        """Hook before the training files are read. Raises UserError for settings that it cannot serve."""

    @contextmanager
    def following(
        self, run: RunFolder, training: Training, history: Sequence[HistoryRow], record: Mapping[str, Any]
    ) -> Iterator[None]:
        """Encloses the epochs and the last files of a training.

        Args:
            run: folder of the run, which has its settings and its record.
            training: the training.
            history: a row for each finished epoch of a run that goes on.
            record: content of run.json.
        """
        yield

    def columns(self, main: ScoredJets) -> HistoryRow:
        """Returns further columns of the history, from the scores of the main validation part after an epoch."""
        return {}

    def after_epoch(self, history: Sequence[HistoryRow], histograms: EpochHistograms, seconds_left: float) -> None:
        """Hook before the checkpoint of each epoch.

        Args:
            history: a row for each epoch so far.
            histograms: score histograms of the newest epoch.
            seconds_left: estimated time until the last epoch ends. [s]
        """

    def see(self, history: Sequence[HistoryRow]) -> None:
        """Hook between two epochs; sets `reason` to end the training."""

    def evaluated(self, figures: TestFigures) -> None:
        """Hook after the last evaluation of the test part, also of a run that was stopped."""

    def drawn(self) -> dict[str, Any]:
        """Waits for all figures of the run. Returns their number and cost for run.json; empty without figures."""
        return {}

    def ended(self, run: RunFolder, figures: TestFigures | None) -> None:
        """Hook after the record of a run says that it has ended.

        Args:
            run: its folder.
            figures: metrics on the test part; None if the training was stopped or failed.
        """


NO_OBSERVER = Observer()


@dataclass(frozen=True)
class TrainingLoop:
    """The epochs of one training in its run folder.

    Of several processes all run the same steps, each on its share of the jets; the first alone validates, writes files
    and prints.

    Attributes:
        training: data, networks and mini-batches.
        run: folder of the run.
        run_id: `id` of run.json; None for a run of an earlier version, and in processes that write no files.
        patience_from: epoch from which early stopping counts.
        observer: follows the training.
        timings: seconds by stage.
    """

    training: Training
    run: RunFolder
    run_id: str | None = None
    patience_from: int = 0
    observer: Observer = NO_OBSERVER
    timings: Timings = field(default_factory=Timings)

    def fit(self, start: TrainingState, epochs: int, stop: StopRequest) -> TrainingState:
        """Trains until `epochs` epochs are done in all, or early stopping ends the training.

        Args:
            start: epoch and step to begin with.
            epochs: planned number of epochs, those of `start` included; the schedule of the learning rate is for these.
            stop: read after every step.

        Raises:
            TrainingStopped: a signal came to one of the processes; the checkpoint holds everything up to the last step.
            TrainingDiverged: the loss or a weight became NaN or infinite; files and checkpoint are those of the epoch
                before.
        """
        sampler, state = self.training.sampler, start
        total = (epochs - start.epoch) * len(sampler.main)
        drawn = prefetched(lambda: map(sampler.epoch, range(start.epoch, epochs)))
        with progress("train", total, "main jets") as line, closing(drawn):
            try:
                while state.epoch < epochs and not self._is_to_end_early(state.history):
                    state = self._epoch(state, epochs, drawn, stop, line)
            finally:
                # The next fold's jets may need the room that those of a step take.
                self.training.tensors.expect(())
        return state

    def _epoch(
        self, state: TrainingState, epochs: int, drawn: Iterator[list[StepJets]], stop: StopRequest, line: ProgressLine
    ) -> TrainingState:
        begin, main_jets = time.perf_counter(), 0
        step, tensors, ranks = self.training.step, self.training.tensors, self.training.ranks
        sums = step.new_sums(tensors.device, state.sums)
        steps = next(drawn)
        step.prepare(tensors, steps, state.epoch)
        if tensors.gathers:
            tensors.expect([step.read_jets(jets) for jets in steps[state.step :]])
        settings = self.training.settings
        for number in range(state.step, len(steps)):
            place = state.epoch * len(steps) + number
            rate = learning_rate_at(settings.schedule, settings.learning_rate, place, epochs * len(steps))
            step.set_learning_rate(rate)
            step(tensors, steps[number], state.epoch, number, sums)
            step.add_to_average(place)
            main_jets += len(steps[number].main)
            line.advance(len(steps[number].main))
            if self._is_to_stop(stop):
                ranks.all_reduce_sum_([sums.sums])
                self._checkpoint(replace(state, step=number + 1, sums=sums.values()))
                raise TrainingStopped(self._how_to_go_on(state.epoch, number + 1), stop.exit_status)
        ranks.all_reduce_sum_([sums.sums])
        self._refuse_divergence(state.epoch, sums)
        self._require_equal_weights()
        stepped = time.perf_counter()
        data, shows_test = self.training.data, settings.epoch_plots_of == "test"
        main, control = (
            self._logits(data.main.positions(Part.VALIDATION)),
            self._logits(data.control_positions(Part.VALIDATION)),
        )
        test = self._logits(data.main.positions(Part.TEST)) if shows_test else None
        judged = self._logits(data.judged_positions(Part.VALIDATION))
        state = replace(state, epoch=state.epoch + 1, step=0, sums=None)
        if ranks.is_first:
            row, histograms, scored = evaluate_epoch(self.training, sums, main, control, test)
            evaluated = time.perf_counter()
            row |= region_columns(self.training, scored["control"], judged, state.epoch, epochs)
            if settings.schedule != "constant":
                row["learning_rate"] = step.learning_rate
            row |= self.observer.columns(scored["main"])
            validated = time.perf_counter()
            self.timings.c2st += validated - evaluated
            state = replace(state, history=[*state.history, row])
            self.run.refuse_removed(self.run_id)
            write_epoch(self.run, self.run_id, self.training, state.history, histograms)
            seconds = (sum(self.timings.epochs) + time.perf_counter() - begin) / (len(self.timings.epochs) + 1)
            self.observer.after_epoch(state.history, histograms, (epochs - len(state.history)) * seconds)
            self._checkpoint(state)
            self.timings.add_epoch(begin, stepped, validated, main_jets)
            self._report(state.history, epochs, line)
        ranks.barrier()
        if self._is_to_stop(stop) and state.epoch < epochs:
            raise TrainingStopped(self._how_to_go_on(state.epoch, 0), stop.exit_status)
        return state

    def _logits(self, positions: IndexArray) -> Tensor:
        """Logits [jets, 3] without dropout; of several processes each scores its share, and the first gets all."""
        ranks, share = self.training.ranks, self.training.ranks.share(len(positions))
        own = positions if share is None else positions[share]
        return ranks.gather(self.training.step.logits(self.training.tensors, own), len(positions))

    def _is_to_stop(self, stop: StopRequest) -> bool:
        """True where a signal has come to any of the processes: all stop after the same step."""
        signal_number = self.training.ranks.all_reduce_max(stop.signal_number or 0)
        if signal_number:
            stop.signal_number = signal_number
        return signal_number != 0

    def _is_to_end_early(self, history: list[HistoryRow]) -> bool:
        """True in all processes if the first, which has the history, sees no progress or its observer has a reason."""
        patience, is_over = self.training.settings.early_stopping, False
        if self.training.ranks.is_first:
            self.observer.see(history)
            is_over = bool(self.observer.reason)
            if patience is not None and not is_over:
                waited = min(epochs_without_progress(history), len(history) - self.patience_from)
                is_over = waited >= patience
        return self.training.ranks.all_reduce_max(int(is_over)) == 1

    def _refuse_divergence(self, epoch: int, sums: StepSums) -> None:
        loss, _ = sums.mean("main")
        weights = torch.cat([weight.detach().flatten() for weight in self.training.step.classifier.parameters()])
        if math.isfinite(loss) and bool(weights.isfinite().all()):
            return
        settings = self.training.settings
        before = f"; the network of epoch {epoch - 1} is in {self.run.path}" if epoch else ""
        strength = settings.agreement_strength
        or_strength = f" or agreement_strength ({strength:g})" if strength is not None else ""
        raise TrainingDiverged(
            f"the training diverged: loss or weights became NaN or infinite in epoch {epoch}{before}. Start again with "
            f"a smaller learning_rate ({settings.learning_rate:g}){or_strength}, and look at the weights of the jets"
        )

    def _require_equal_weights(self) -> None:
        ranks = self.training.ranks
        if ranks.place.processes == 1:
            return
        weights = torch.cat([weight.detach().flatten() for weight in self.training.step.classifier.parameters()])
        digest = hashlib.sha256(weights.numpy(force=True).tobytes()).hexdigest()
        remedy = "all need processors or GPUs of one kind and the same PyTorch, so that they round alike"
        ranks.require_equal("weights after an epoch", digest, remedy)

    def _checkpoint(self, state: TrainingState) -> None:
        if not self.training.ranks.is_first:
            return
        self.run.refuse_removed(self.run_id)
        state = replace(state, threads=torch.get_num_threads())
        save_checkpoint(self.run.checkpoint_file, self.training.step, state, self.run_id)

    def _report(self, history: list[HistoryRow], epochs: int, line: ProgressLine) -> None:
        line.message(epoch_line(history, epochs, self.timings))
        line.advance(0, note=short_note(history, epochs))
        domain = self.training.step.domain
        if domain is not None and (warning := domain.warning(history)):
            line.message(f"warning: {warning}")

    def _how_to_go_on(self, epoch: int, step: int) -> str:
        return (
            f"stopped in epoch {epoch} after {step} of {self.training.sampler.splits} steps; everything is in "
            f"{self.run.path}, go on with '{command_to_go_on(self.run)}'"
        )


def evaluate_epoch(
    training: Training, sums: StepSums, main_logits: Tensor, control_logits: Tensor, test_logits: Tensor | None = None
) -> tuple[HistoryRow, EpochHistograms, dict[str, ScoredJets]]:
    """Row of the history and histograms of an epoch, and the validation parts 'main' and 'control' with their scores.

    Losses, accuracies, AUC and K-S come from the whole validation part, in inference mode; training losses and
    accuracies are means over the epoch's mini-batches. Epochs are chosen by these.

    Args:
        training: the training.
        sums: of the epoch's steps.
        main_logits, control_logits: [jets, 3] without dropout, of the main and control validation part.
        test_logits: the same of the main test part, for its histograms; None takes those of the validation part.
    """
    data = training.data
    main = data.scored_main(Part.VALIDATION, main_logits)
    control = data.scored_control(data.control, Part.VALIDATION, control_logits)
    ks = ks_of_control_jets(control, ranges_of(training.settings.pt_ranges, data.control.metadata.scaling))
    row = _losses(training, sums, main_logits, control_logits)
    if len(control):
        row |= ks.to_dict()
    row["val_auc"] = roc_auc(main)
    row["val_auc_error"] = roc_auc_error(main, data.main.events[data.main.positions(Part.VALIDATION)])
    # Every history has the earlier program's columns: NaN without control region, or without adversary.
    row = {name: row.pop(name, math.nan) for name in HISTORY_NAMES} | row
    if test_logits is None:
        histograms = histograms_of(main, control, ks)
    else:
        histograms = histograms_of(data.scored_main(Part.TEST, test_logits), control, ks, "test")
    return row, histograms, {"main": main, "control": control}


def region_columns(
    training: Training, control: ScoredJets, judged_logits: Tensor, done: int, epochs: int
) -> HistoryRow:
    """C2ST of the control regions; if there are several, or some that are judged only, K-S and C2ST of each.

    C2ST is NaN in epochs without. Its time has to be small beside that of the training, and the result must not depend
    on time: it reads one jet at most for every `_TRAINED_PER_C2ST_JET` main jets that were trained on since the last
    one.

    Args:
        training: the training.
        control: scored validation part of the control regions that are trained on.
        judged_logits: [jets, 3] without dropout, of the validation part of the regions that are judged only.
        done: number of finished epochs, this one included.
        epochs: planned number of epochs.
    """
    settings, data, row = training.settings, training.data, HistoryRow()
    every = settings.c2st_every
    is_due = every > 0 and (done % every == 0 or done >= epochs)
    tests = len(data.regions) + 1 if data.compares_regions else 1
    jets = min(_MAX_C2ST_JETS, len(training.sampler.main) * min(done, every) // _TRAINED_PER_C2ST_JET) // tests
    if every and len(control):
        c2st = c2st_of_control_jets(control, settings.seed, max_jets=jets).overall if is_due else NOT_COMPUTED
        row |= c2st.named("c2st")
    if not data.compares_regions:
        return row
    judged = None if data.judged is None else data.scored_control(data.judged, Part.VALIDATION, judged_logits)
    pt_ranges = ranges_of(settings.pt_ranges, data.control.metadata.scaling)
    for region in figures_of_regions(control, judged, pt_ranges, settings.seed if is_due else None, jets):
        for name, value in region.ks.to_dict().items():
            # Sums over the pt ranges; metrics of each range are in those of the test part.
            if name.removeprefix("ks_").partition("_")[2] in ("hist", "expected", "spread", "excess"):
                row[f"cr_{region.name}_{name}"] = value
        if every:
            row |= (region.c2st.overall if region.c2st is not None else NOT_COMPUTED).named(f"cr_{region.name}_c2st")
    return row


@torch.no_grad()
def _losses(training: Training, sums: StepSums, main_logits: Tensor, control_logits: Tensor) -> HistoryRow:
    """Losses and accuracies, and what the domain loss adds to them."""
    tensors, device = training.tensors, main_logits.device
    main = torch.from_numpy(training.data.main.positions(Part.VALIDATION)).to(device)
    losses = functional.cross_entropy(main_logits, tensors.target[main], reduction="none") * tensors.weight[main]
    correct = (main_logits.argmax(dim=1) == tensors.target[main]).float().mean()
    row = HistoryRow({"val_original_lossf": float(losses.mean()), "val_original_acc": float(correct)})
    row["original_lossf"], row["original_acc"] = sums.mean("main")
    if training.step.auxiliary_weight:
        row["auxiliary_loss"], row["auxiliary_acc"] = sums.mean("auxiliary")
    if training.step.domain is not None:
        chosen = torch.from_numpy(training.data.control_positions(Part.VALIDATION)).to(device)
        is_data, inputs = tensors.target[chosen].float(), tensors.jet[chosen]
        validation = ControlJets(control_logits, is_data, tensors.weight[chosen], inputs, region=tensors.region[chosen])
        row |= training.step.domain.metrics(sums, validation)
    return row


def write_epoch(
    run: RunFolder, run_id: str | None, training: Training, history: list[HistoryRow], histograms: EpochHistograms
) -> None:
    """Writes the newest network, weights that are kept, history and histograms; removes weights no longer kept."""
    network, settings, epoch = training.step.network, training.settings, len(history) - 1
    kept = kept_epochs(history, settings.keep_weights, settings.ks_limit)
    files = [run.path / "keras" / "final_model.keras", *([run.weights_file(epoch)] if epoch in kept else [])]
    write_network(files, network.shape, network.weights(), run_id, epoch)
    histograms.write(run.histograms_file(epoch))
    write_history(run.path, history)
    # Last: until the history has this epoch, the newest is the one before, and final_model.keras is not its network.
    for earlier in range(epoch):
        if earlier not in kept:
            remove_network(run.weights_file(earlier))


def command_to_go_on(run: RunFolder) -> str:
    """Command with which a user continues a run, or the set that it belongs to."""
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
    c2st = row.get("c2st_auc", math.nan)
    if math.isfinite(c2st):
        ks += f"C2ST {c2st:.3f}({row['c2st_excess']:+.1f}σ)  "
    adversary = "" if math.isnan(loss := row["val_original_adv_lossf"]) else f"adversary {loss:.3f}  "
    return (
        f"epoch {number:03d} ({len(history)} of {epochs})  loss {row['original_lossf']:.4g}  "
        f"val {row['val_original_lossf']:.4g}  "
        f"{adversary}AUC {row['val_auc']:.4f}  {ks}"
        f"{with_prefix(timings.jets_per_second)} jets/s  {duration(left)} left"
    )


def short_note(history: list[HistoryRow], epochs: int) -> str:
    """Short note on the newest epoch, for the live line."""
    row = history[-1]
    ks = "" if lacks_control_region([row]) else f", K-S {ks_sums([row])[0]:.2f}"
    return f"{len(history)} of {epochs} epochs, AUC {row['val_auc']:.4f}{ks}"
