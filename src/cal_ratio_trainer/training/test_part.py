"""The test part of a training: scores, figures of merit, and the files that later analyses read."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, JetsWriter
from cal_ratio_trainer.network.classifier import logits_of
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, JUDGED_FILE, MAIN_FILE, REGION, scored_jets
from cal_ratio_trainer.training.setup import Training

_TRAINED_STREAM = 3


@dataclass(frozen=True)
class ScoredTestPart:
    """Scores of the test jets of both files, and of training jets to compare them with.

    Attributes:
        main: the main test part.
        control: the control test part; empty for a training without control region.
        judged: that of control regions that are judged only; None without any.
        trained: main jets of the training part, at most as many as the test part has.
        pt_ranges: in which data and MC are compared.
    """

    main: ScoredJets
    control: ScoredJets
    judged: ScoredJets | None
    trained: ScoredJets
    pt_ranges: tuple[PtRange, ...]

    def figures(self, c2st_seed: int | None = None) -> TestFigures:
        """The figures of merit; see `evaluate_test_sample`."""
        return evaluate_test_sample(
            self.main,
            self.control,
            self.trained,
            pt_ranges=self.pt_ranges,
            c2st_seed=c2st_seed,
            judged=self.judged,
        )


def score_test_part(training: Training) -> ScoredTestPart:
    """Scores the test part of both files, and a sample of the training part that the run's seed draws."""
    data, tensors, settings = training.data, training.tensors, training.settings
    classifier, sample = training.step.network, data.main
    control = logits_of(classifier, tensors, data.control_positions(Part.TEST))
    judged = logits_of(classifier, tensors, data.judged_positions(Part.TEST))
    positions, wanted = sample.positions(Part.TRAIN), len(sample.positions(Part.TEST))
    if len(positions) > wanted:
        random = np.random.default_rng([settings.seed, _TRAINED_STREAM])
        positions = np.sort(random.choice(positions, wanted, replace=False))

    def scored(some: IndexArray) -> ScoredJets:
        scores = logits_of(classifier, tensors, some).softmax(dim=1).cpu().numpy()
        return scored_jets(sample.jets.scalars.take(some), scores, sample.weight[some], sample.metadata)

    return ScoredTestPart(
        scored(sample.positions(Part.TEST)),
        scored_control(data, data.control, Part.TEST, control),
        None if data.judged is None else scored_control(data, data.judged, Part.TEST, judged),
        scored(positions),
        ranges_of(settings.pt_ranges, data.control.metadata.scaling),
    )


def write_test_sample(run: Run, data: TrainingData, scored: ScoredTestPart) -> None:
    """Writes the test jets of each file with weights and scores: later analyses need no training file."""
    files = {"main": (MAIN_FILE, scored.main.scores), "control": (CONTROL_FILE, scored.control.scores)}
    if scored.judged is not None:
        files["judged"] = (JUDGED_FILE, scored.judged.scores)
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
        if data.compares_regions and sample.region is not None:
            numbers = sample.region[positions].astype(np.int32)
            jets = jets.with_columns({REGION: pa.DictionaryArray.from_arrays(numbers, sample.region_names)})
        note = f"test part of run {run.name}, scored by its newest network"
        metadata = sample.metadata.model_copy(update={"notes": [*sample.metadata.notes, note]})
        with writing(run.path / name, JetsWriter) as writer:
            for start in range(0, len(jets), ROWS_A_GROUP):
                writer.write(jets.slice(start, start + ROWS_A_GROUP))
            writer.finish(metadata)


def scored_main(data: TrainingData, part: Part, logits: Tensor) -> ScoredJets:
    """Main jets of a part with their scores, without the masses and kinematics that figures of an epoch do not need."""
    positions = data.main.positions(part)
    return ScoredJets(
        scores=logits.softmax(dim=1).cpu().numpy(),
        labels=data.main.jets.label[positions],
        weights=data.main.weight[positions],
    )


def scored_control(data: TrainingData, control: TrainingSample, part: Part, logits: Tensor) -> ScoredJets:
    """Jets of a part of `data.control` or `data.judged` with their scores, by region if results are shown for each."""
    positions = control.positions(part)
    has_regions = data.compares_regions and control.region is not None
    return ScoredJets.control(
        scores=logits.softmax(dim=1).cpu().numpy(),
        is_data=control.is_data[positions],
        weights=control.weight[positions],
        scaled_pt=control.jets["jet_pt"][positions],
        events=control.events[positions],
        region_names=control.region_names if has_regions else (),
        region=control.region[positions] if has_regions and control.region is not None else None,
    )
