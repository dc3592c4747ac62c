"""Jets together with the network's scores: what the figures of merit are computed from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.kinematics import JetKinematics
from cal_ratio_trainer.evaluation.sample import FloatArray, Sample, check_finite
from cal_ratio_trainer.jets.labels import Label

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredJets:
    """Main-sample jets (signal, QCD, BIB) with their scores; checked when made.

    Attributes:
        scores: [jets, 3], the outputs in the order of `Label`: QCD, signal, BIB.
        labels: [jets], see `Label`.
        weights: [jets], any scale per class: all figures normalise a class by itself. May be negative.
        higgs_mass: [jets] true mH of signal jets in GeV, anything for the others; None where not known.
        scalar_mass: [jets] true mS likewise.
        kinematics: what efficiencies are shown against; None where not known.

    Raises:
        NonFiniteInput: a score or weight is NaN or infinite.
        ValueError: the shapes do not fit, or a label is not one of `Label`.
    """

    scores: FloatArray
    labels: NDArray[np.integer[Any]]
    weights: FloatArray
    higgs_mass: FloatArray | None = None
    scalar_mass: FloatArray | None = None
    kinematics: JetKinematics | None = None

    def __post_init__(self) -> None:
        jets = len(self.scores)
        columns = [self.labels, self.weights, self.higgs_mass, self.scalar_mass]
        if self.scores.shape != (jets, len(Label)) or any(c is not None and c.shape != (jets,) for c in columns):
            raise ValueError(f"scores {self.scores.shape} must be [jets, {len(Label)}] and all other columns [jets]")
        if self.kinematics is not None and not self.kinematics.fits(jets):
            raise ValueError(f"all kinematics must be [{jets}]")
        if not np.isin(self.labels, list(Label)).all():
            raise ValueError(f"labels must be of {[int(label) for label in Label]}, found {np.unique(self.labels)}")
        check_finite("scores", self.scores)
        check_finite("weights", self.weights)

    def __len__(self) -> int:
        return len(self.scores)

    def count(self, label: Label) -> int:
        """How many jets carry a label."""
        return int(np.count_nonzero(self.labels == label))

    def sample(self, label: Label, output: Label) -> Sample:
        """One output's scores of the jets of one label, with their weights."""
        chosen = self.positions[label]
        return Sample(self.scores[chosen, output], self.weights[chosen])

    def signal_sample(self, higgs_mass: float) -> Sample:
        """The signal output's scores of the signal jets of one mH in GeV, with their weights."""
        chosen = self.positions[Label.SIGNAL]
        if self.higgs_mass is not None:
            chosen = chosen[self.higgs_mass[chosen] == higgs_mass]
        return Sample(self.scores[chosen, Label.SIGNAL], self.weights[chosen])

    @cached_property
    def higgs_masses(self) -> tuple[float, ...]:
        """The mH of signal jets in GeV, each once, rising; none where they are not known."""
        if self.higgs_mass is None:
            return ()
        masses = np.unique(self.higgs_mass[self.positions[Label.SIGNAL]])
        return tuple(float(mass) for mass in masses[np.isfinite(masses)])

    @cached_property
    def predictions(self) -> NDArray[np.intp]:
        """The label of the largest output, [jets]; the first of equal ones."""
        largest: NDArray[np.intp] = np.argmax(self.scores, axis=1)
        return largest

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], ...]:
        """Where the jets of each label stand, in the order of `Label`."""
        return tuple(np.flatnonzero(self.labels == label) for label in Label)


@dataclass(frozen=True, eq=False)
class ScoredControlJets:
    """Control-region jets (multijet data and MC) with their scores; checked when made.

    Attributes:
        scores: [jets, 3], the outputs in the order of `Label`.
        is_data: [jets], true for data, false for MC.
        weights: [jets], the matched control weights. May be negative.
        scaled_pt: [jets], (pt - min) / (max - min) as in the training file, in [0, 1] for the default range.

    Raises:
        NonFiniteInput: a score, weight or pt is NaN or infinite.
        ValueError: the shapes do not fit.
    """

    scores: FloatArray
    is_data: BoolArray
    weights: FloatArray
    scaled_pt: FloatArray

    def __post_init__(self) -> None:
        jets = len(self.scores)
        columns = (self.is_data, self.weights, self.scaled_pt)
        if self.scores.shape != (jets, len(Label)) or any(column.shape != (jets,) for column in columns):
            raise ValueError(f"scores {self.scores.shape} must be [jets, {len(Label)}] and all other columns [jets]")
        if self.is_data.dtype != np.bool_:
            raise ValueError(f"is_data must be boolean, found {self.is_data.dtype}")
        check_finite("control-region scores", self.scores)
        check_finite("control-region weights", self.weights)
        check_finite("control-region jet pt", self.scaled_pt)

    def __len__(self) -> int:
        return len(self.scores)
