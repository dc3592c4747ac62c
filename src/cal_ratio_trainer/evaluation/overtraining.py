"""Scores of jets that were trained on, held against those of the test part."""

from dataclasses import dataclass

from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, main_histograms
from cal_ratio_trainer.evaluation.ks import KsComparison, expected_ks, weighted_ks
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label


@dataclass(frozen=True)
class TrainTestKs:
    """The K-S distance of train and test scores of the jets of one label on one output."""

    label: Label
    output: Label
    comparison: KsComparison


@dataclass(frozen=True)
class Overtraining:
    """Train against test.

    Attributes:
        train: the three outputs of signal, QCD and BIB jets that were trained on.
        distances: one for each output and label, by output.
    """

    train: ScoreHistograms
    distances: tuple[TrainTestKs, ...]

    def distance(self, label: Label, output: Label) -> KsComparison:
        """The comparison of one label on one output."""
        return next(each.comparison for each in self.distances if (each.label, each.output) == (label, output))


def overtraining(train: ScoredJets, test: ScoredJets) -> Overtraining:
    """Train and test scores by label and output, weighted jet by jet; NaN where one of them has no jets.

    Args:
        train: jets that were trained on, all or a sample of them, scored as the test jets are.
        test: the test jets.
    """
    return Overtraining(
        main_histograms(train),
        tuple(_distance(train, test, label, output) for output in Label for label in Label),
    )


def _distance(train: ScoredJets, test: ScoredJets, label: Label, output: Label) -> TrainTestKs:
    first, second = train.sample(label, output), test.sample(label, output)
    reference = expected_ks(first.effective_number, second.effective_number)
    return TrainTestKs(label, output, KsComparison(weighted_ks(first, second), reference))
