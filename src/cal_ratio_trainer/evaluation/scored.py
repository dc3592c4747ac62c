"""Inputs of the figures of merit, checked for finite values: weighted samples, jets with scores, their kinematics."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import Label

FloatArray = NDArray[np.floating[Any]]

ROUNDING = 1e-12
"""Sums of shares that differ by less are equal. [1]"""


def effective_number(weights: NDArray[np.floating[Any]]) -> float:
    """Effective sample size, (sum w)^2 / sum w^2; 0 if there is no weight.

    Source: L. Kish, Survey Sampling (1965), section 11.7.
    """
    weights = np.asarray(weights, dtype=np.float64)
    # Not weights @ weights: BLAS starts threads for it, which wait for each other on a busy machine.
    return effective_number_of(float(weights.sum()), float(np.square(weights).sum()))


def effective_number_of(sum_of_weights: float, sum_of_squares: float) -> float:
    """Effective sample size from the sums of weights and of their squares, for jets that are counted as they come."""
    return sum_of_weights**2 / sum_of_squares if sum_of_squares > 0 else 0.0


class NonFiniteInput(UserError):
    """Inputs of a figure of merit are NaN or infinite; the message names them and their number."""

    def __init__(self, name: str, bad: int, total: int) -> None:
        self.name, self.bad, self.total = name, bad, total
        super().__init__(f"{bad} of {total} {name} are NaN or infinite; expected finite numbers")


def check_finite(name: str, values: FloatArray) -> None:
    """Refuses arrays with NaN or infinity.

    Raises:
        NonFiniteInput: some of the values are; `name` says of what, in the plural.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise NonFiniteInput(name, int(finite.size - np.count_nonzero(finite)), int(finite.size))


@dataclass(frozen=True, eq=False)
class WeightedSample:
    """Values of one quantity with a weight each; checked when made.

    Attributes:
        values: [jets], any unit.
        weights: [jets]; may be negative (MC generators give such).

    Raises:
        NonFiniteInput: a value or weight is NaN or infinite.
        ValueError: not two one-dimensional arrays of one length.
    """

    values: FloatArray
    weights: FloatArray

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.shape != self.weights.shape:
            raise ValueError(f"values {self.values.shape} and weights {self.weights.shape} must be two equal [jets]")
        check_finite("values", self.values)
        check_finite("weights", self.weights)

    @classmethod
    def unweighted(cls, values: FloatArray) -> "WeightedSample":
        """Every value with weight 1."""
        return cls(values, np.ones(len(values)))

    @classmethod
    def concatenated(cls, samples: Sequence["WeightedSample"]) -> "WeightedSample":
        """All of them, at least one, in order."""
        return cls(
            np.concatenate([sample.values for sample in samples]),
            np.concatenate([sample.weights for sample in samples]),
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def effective_number(self) -> float:
        """See the function `effective_number`."""
        return effective_number(self.weights)


BARREL_ETA = 1.4
"""Long-lived particles with |eta| below this count as barrel, the others as endcap."""


@dataclass(frozen=True, eq=False)
class JetKinematics:
    """Quantities of jets; None where a file does not hold them, NaN where one jet's is not known.

    Attributes:
        pt: [jets], GeV, not scaled.
        eta: [jets].
        phi: [jets], rad.
        llp_eta: [jets] of the true long-lived particle of signal jets.
        llp_lxy: [jets] its decay's distance from the beam, mm.
        llp_lz: [jets] its decay's distance from the interaction point along the beam, mm, signed.
        cluster_mass: [jets] invariant mass of the clusters, GeV.
        cluster_width: [jets] mean distance of the clusters from their centre, weighted by pt.
    """

    pt: FloatArray | None = None
    eta: FloatArray | None = None
    phi: FloatArray | None = None
    llp_eta: FloatArray | None = None
    llp_lxy: FloatArray | None = None
    llp_lz: FloatArray | None = None
    cluster_mass: FloatArray | None = None
    cluster_width: FloatArray | None = None

    def fits(self, jets: int) -> bool:
        """True where every array that is there is [jets]."""
        values = (getattr(self, field.name) for field in fields(self))
        return all(column is None or column.shape == (jets,) for column in values)


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
        kinematics: quantities that efficiencies are shown against; None where not known.

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
        """Number of jets with a label."""
        return int(np.count_nonzero(self.labels == label))

    def sample(self, label: Label, output: Label) -> WeightedSample:
        """Scores of the jets of one label on one output, with their weights."""
        chosen = self.positions[label]
        return WeightedSample(self.scores[chosen, output], self.weights[chosen])

    def signal_sample(self, higgs_mass: float | None = None) -> WeightedSample:
        """Signal outputs of the signal jets of one mH in GeV (None: of all), with their weights."""
        chosen = self.positions[Label.SIGNAL]
        if self.higgs_mass is not None and higgs_mass is not None:
            chosen = chosen[self.higgs_mass[chosen] == higgs_mass]
        return WeightedSample(self.scores[chosen, Label.SIGNAL], self.weights[chosen])

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
        """Positions of the jets of each label, in the order of `Label`."""
        return tuple(np.flatnonzero(self.labels == label) for label in Label)


@dataclass(frozen=True, eq=False)
class ScoredControlJets:
    """Control-region jets (multijet data and MC) with their scores; checked when made.

    Attributes:
        scores: [jets, 3], the outputs in the order of `Label`.
        is_data: [jets], true for data, false for MC.
        weights: [jets], the matched control weights. May be negative.
        scaled_pt: [jets], (pt - min) / (max - min) as in the training file, in [0, 1] for the default range.
        events: [jets] a number that all jets of an event share; None where each jet counts as an event.
        region_names: names of the control regions where there are several, or of those that are judged only.
        region: [jets], number of each jet's region; None where there is one without a name.

    Raises:
        NonFiniteInput: a score, weight or pt is NaN or infinite.
        ValueError: the shapes do not fit.
    """

    scores: FloatArray
    is_data: BoolArray
    weights: FloatArray
    scaled_pt: FloatArray
    events: NDArray[np.integer[Any]] | None = None
    region_names: tuple[str, ...] = ()
    region: NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        jets = len(self.scores)
        columns = (self.is_data, self.weights, self.scaled_pt, self.events, self.region)
        if self.scores.shape != (jets, len(Label)) or any(c is not None and c.shape != (jets,) for c in columns):
            raise ValueError(f"scores {self.scores.shape} must be [jets, {len(Label)}] and all other columns [jets]")
        if self.is_data.dtype != np.bool_:
            raise ValueError(f"is_data must be boolean, found {self.is_data.dtype}")
        check_finite("control-region scores", self.scores)
        check_finite("control-region weights", self.weights)
        check_finite("control-region jet pt", self.scaled_pt)

    def __len__(self) -> int:
        return len(self.scores)

    def by_region(self) -> "dict[str, ScoredControlJets]":
        """The jets of each region that has a name, by name."""
        found = {}
        for number, name in enumerate(self.region_names):
            here = np.flatnonzero(self.region == number)
            events = None if self.events is None else self.events[here]
            found[name] = ScoredControlJets(
                self.scores[here], self.is_data[here], self.weights[here], self.scaled_pt[here], events
            )
        return found
