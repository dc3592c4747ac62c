"""What is said about the network after an epoch: losses, accuracies, AUC, K-S, score histograms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.network.domain.adversary import data_or_simulation_loss, right_guesses
from cal_ratio_trainer.runs.figure_data import EpochHistograms, histograms_of, ranges_of
from cal_ratio_trainer.runs.history import HISTORY_NAMES, HistoryRow
from cal_ratio_trainer.runs.scored_parts import judged_main, scored_control
from cal_ratio_trainer.training.step import AdversarialStep, IndexArray
from cal_ratio_trainer.training.step_sums import Tally


@dataclass(frozen=True)
class EpochResult:
    """Figures of an epoch, as a row for the history, and its histograms."""

    row: HistoryRow
    histograms: EpochHistograms


@dataclass(frozen=True)
class EpochLogits:
    """Logits [jets, 3] without dropout after an epoch: main and control validation part, main test part."""

    main: Tensor
    control: Tensor
    test: Tensor


def epoch_logits(step: AdversarialStep, tensors: TrainingTensors, data: TrainingData) -> EpochLogits:
    """What an epoch is judged by. Of several processes each scores its share, and the first has all."""
    return EpochLogits(
        _logits(step, tensors, data.main.positions(Part.VALIDATION)),
        _logits(step, tensors, data.control_positions(Part.VALIDATION)),
        _logits(step, tensors, data.main.positions(Part.TEST)),
    )


def _logits(step: AdversarialStep, tensors: TrainingTensors, positions: IndexArray) -> Tensor:
    share = step.ranks.share(len(positions))
    own = positions if share is None else positions[share]
    return step.ranks.gathered(step.logits(tensors, own), len(positions))


def evaluate_epoch(
    step: AdversarialStep,
    tensors: TrainingTensors,
    data: TrainingData,
    tally: Tally,
    pt_edges: Sequence[float],
    logits: EpochLogits,
) -> EpochResult:
    """Look at the network after an epoch, by its logits.

    Losses, accuracies, AUC and K-S come from the whole validation part, in inference mode; training losses and
    accuracies are means over the epoch's mini-batches. Epochs are chosen by these. The main histograms show the
    test part, as the manual has it.
    """
    main = judged_main(data, Part.VALIDATION, logits.main)
    control = scored_control(data, Part.VALIDATION, logits.control)
    ks = ks_of_control_jets(control, ranges_of(pt_edges, data.control.metadata.scaling))
    row = _losses(step, tensors, data, tally, logits.main, logits.control)
    # Without control region the columns that every history has are NaN, and there are no others.
    row |= ks.to_dict() if len(control) else dict.fromkeys(HISTORY_NAMES[:3], math.nan)
    row["val_auc"] = roc_auc(main)
    row = {name: row.pop(name) for name in HISTORY_NAMES} | row
    return EpochResult(row, histograms_of(judged_main(data, Part.TEST, logits.test), control, ks))


@torch.no_grad()
def _losses(
    step: AdversarialStep,
    tensors: TrainingTensors,
    data: TrainingData,
    tally: Tally,
    main_logits: Tensor,
    control_logits: Tensor,
) -> HistoryRow:
    row: HistoryRow = {}
    main = torch.from_numpy(data.main.positions(Part.VALIDATION)).to(main_logits.device)
    losses = functional.cross_entropy(main_logits, tensors.target[main], reduction="none") * tensors.weight[main]
    right = (main_logits.argmax(dim=1) == tensors.target[main]).float().mean()
    row["original_lossf"], row["original_acc"] = tally.mean("main")
    row["val_original_lossf"], row["val_original_acc"] = float(losses.mean()), float(right)
    row["adv_loss"], row["adv_acc"] = tally.mean("adversary")
    row["original_adv_lossf"], row["original_adv_acc"] = tally.mean("control")
    adversary = _adversary_on_validation(step, tensors, data, control_logits)
    row["val_adv_loss"], row["val_adv_acc"] = adversary
    row["val_original_adv_lossf"], row["val_original_adv_acc"] = adversary
    return row


def _adversary_on_validation(
    step: AdversarialStep, tensors: TrainingTensors, data: TrainingData, logits: Tensor
) -> tuple[float, float]:
    if not step.losses.adversary_weight:
        return math.nan, math.nan
    chosen = torch.from_numpy(data.control_positions(Part.VALIDATION)).to(logits.device)
    target = tensors.target[chosen].float()
    guesses = step.adversary.eval()(logits.softmax(dim=1))
    losses = tensors.weight[chosen] * data_or_simulation_loss(guesses, target)
    return float(losses.mean()), float(right_guesses(guesses, target).float().mean())
