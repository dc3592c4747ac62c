"""The test jets of a fold set: every jet that the split puts in a test part, once, for the network that left it out.

A jet of fold j is in the test part of all networks but j. Its features are taken from one of those, it is scored by
network j, which has not seen its event at all.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.folds import FOLD
from cal_ratio_trainer.datasets.weights import WeightArray, file_weights
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.fold_networks import FoldClassifiers
from cal_ratio_trainer.runs.fold_set import FoldSet
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, MAIN_FILE, RunSample, TestJets

_EVALUATION_WEIGHT = "evaluation_weight"
_OVERWRITTEN = ("weight", _EVALUATION_WEIGHT)
"""Columns of a test sample in which the file's own weights do not stand any more."""


def fold_sample(fold_set: FoldSet, device: torch.device) -> RunSample:
    """The test jets of a set, from those that its networks left.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """
    settings = fold_set.settings
    main = _joined(fold_set, MAIN_FILE, settings)
    without = settings.cr_training_file is None
    control = main.without_jets() if without else _joined(fold_set, CONTROL_FILE, settings)
    return RunSample(main, control, settings, device)


def write_fold_sample(
    sample: RunSample, networks: FoldClassifiers, fold_set: FoldSet
) -> tuple[ScoredJets, ScoredControlJets]:
    """Score the jets, write both files into the folder of the set, and give the scores back."""
    main, control = sample.scored_by(networks)
    for part, scores in ((sample.main, main.scores), (sample.control, control.scores)):
        if not len(part.jets):
            continue
        columns = {f"jet_nn_{label.output}": scores[:, label] for label in Label}
        note = f"test part of the fold set {fold_set.run.name}, each jet scored by the newest network of its fold"
        metadata = part.metadata.model_copy(update={"notes": [note]})
        write_jets(fold_set.run.path / part.file.name, part.jets.with_columns(columns), metadata)
    return main, control


def _joined(fold_set: FoldSet, name: str, settings: TrainSettings) -> TestJets:
    left = [TestJets.read(run.path / name) for run in fold_set.folds]
    parts = []
    for fold in range(fold_set.rule.count):
        source = left[(fold + 1) % fold_set.rule.count]
        folds = fold_set.rule.folds_of(source.jets, source.file)
        parts.append(source.jets.where(folds == fold).with_columns({FOLD: folds[folds == fold]}))
    jets, file = Jets.concatenate(parts), fold_set.run.path / name
    weights = _on_one_scale(jets, settings, file)
    return TestJets(file, jets.with_columns({_EVALUATION_WEIGHT: weights}), left[0].metadata)


def _on_one_scale(jets: Jets, settings: TrainSettings, file: Path) -> WeightArray:
    """Weights for figures of merit, [jets].

    Each network scaled QCD to the signal, and MC to the data, of its own jets. Here a class gets one factor for all
    folds, so that jets of one class count among each other as in the file.
    """
    stored: WeightArray = jets[_EVALUATION_WEIGHT].astype(np.float64)
    if settings.weight_column in _OVERWRITTEN:
        return stored
    raw = file_weights(jets, settings.weight_column, settings.bad_weights, str(file))
    if not np.isfinite(raw).all():
        raise InputFileError(file, f"has jets whose {settings.weight_column} is not known")
    return raw * _factors(stored, raw, jets.label)


def _factors(stored: WeightArray, raw: WeightArray, labels: NDArray[np.int8]) -> WeightArray:
    factors = np.ones_like(raw)
    for label in np.unique(labels):
        mine = labels == label
        total = raw[mine].sum()
        factors[mine] = stored[mine].sum() / total if total else 1.0
    return factors
