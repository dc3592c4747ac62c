"""The files a run leaves: after every epoch, and at its end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, writing
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.scoring import logits_of
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.history import write_history
from cal_ratio_trainer.runs.networks import with_digest
from cal_ratio_trainer.runs.recommendation import kept_epochs
from cal_ratio_trainer.runs.scored_parts import scored_control, scored_jets, scored_main
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, MAIN_FILE
from cal_ratio_trainer.training.checkpoint import Progress
from cal_ratio_trainer.training.epoch import EpochResult

_TRAINED_STREAM = 3


def write_epoch(
    run: RunDirectory,
    run_id: str | None,
    settings: TrainSettings,
    classifier: Classifier,
    progress: Progress,
    result: EpochResult,
) -> None:
    """Weights that are kept, the newest network, history and histograms; weights no longer kept are removed."""
    epoch = len(progress.history) - 1
    network = with_digest(keras_model_bytes(classifier.shape, classifier.weights()), run_id, epoch)
    write_bytes(run.path / "keras" / "final_model.keras", network)
    kept = kept_epochs(progress.history, settings.keep_weights, settings.ks_limit)
    if epoch in kept:
        write_bytes(run.weights_file(epoch), network)
    result.histograms.write(run.histograms_file(epoch))
    write_history(run, progress.history)
    # Last: until the history has this epoch, the newest is the one before, and final_model.keras is not its network.
    for earlier in range(epoch):
        if earlier not in kept:
            run.weights_file(earlier).unlink(missing_ok=True)


@dataclass(frozen=True)
class ScoredTestPart:
    """The test jets of both files with the scores of the network, and some that it was trained on to hold them against.

    Attributes:
        main: the main test part.
        control: the control test part; empty for a training without control region.
        trained: main jets of the training part, at most as many as the test part has.
        pt_ranges: in which data and MC are compared.
    """

    main: ScoredJets
    control: ScoredControlJets
    trained: ScoredJets
    pt_ranges: tuple[PtRange, ...]

    @property
    def figures(self) -> TestFigures:
        """The figures of merit."""
        return evaluate_test_sample(self.main, self.control, self.trained, pt_ranges=self.pt_ranges)


def score_test_part(
    classifier: Classifier, tensors: TrainingTensors, data: TrainingData, settings: TrainSettings
) -> ScoredTestPart:
    """Score the test part of both files, and a sample of the training part that the run's seed draws."""
    main = logits_of(classifier, tensors.jets, data.main.positions(Part.TEST))
    control = logits_of(classifier, tensors.jets, data.control_positions(Part.TEST))
    positions = _some_trained(data, settings.seed)
    trained = logits_of(classifier, tensors.jets, positions).softmax(dim=1).cpu().numpy()
    sample = data.main
    return ScoredTestPart(
        scored_main(data, Part.TEST, main),
        scored_control(data, Part.TEST, control),
        scored_jets(sample.jets.scalars.take(positions), trained, sample.weight[positions], sample.metadata),
        ranges_of(settings.pt_ranges, data.control.metadata.scaling),
    )


def _some_trained(data: TrainingData, seed: int) -> NDArray[np.int64]:
    trained, wanted = data.main.positions(Part.TRAIN), len(data.main.positions(Part.TEST))
    if len(trained) <= wanted:
        return trained
    return np.sort(np.random.default_rng([seed, _TRAINED_STREAM]).choice(trained, wanted, replace=False))


def write_test_sample(run: RunDirectory, data: TrainingData, scored: ScoredTestPart) -> None:
    """Write the test jets of each file with weights and scores: later analyses need no training file."""
    files = {"main": (MAIN_FILE, scored.main.scores), "control": (CONTROL_FILE, scored.control.scores)}
    for kind, sample in data.samples.items():
        name, scores = files[kind]
        positions = sample.positions(Part.TEST)
        jets = sample.test_jets.with_columns(
            {
                "weight": sample.loss_weight[positions],
                "evaluation_weight": sample.weight[positions],
                **{f"jet_nn_{label.output}": scores[:, label] for label in Label},
            }
        )
        note = f"test part of run {run.name}, scored by its newest network"
        metadata = sample.metadata.model_copy(update={"notes": [*sample.metadata.notes, note]})
        with writing(run.path / name) as writer:
            for start in range(0, len(jets), ROWS_A_GROUP):
                writer.write(jets.slice(start, start + ROWS_A_GROUP))
            writer.finish(metadata)
