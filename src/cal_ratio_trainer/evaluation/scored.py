"""Inputs of all metrics, checked for finite values: weighted samples, and the table of jets with scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC, Label

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

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredJets:
    """Table of jets with their scores: of a main sample (signal, QCD, BIB) or of control regions; checked when made.

    Attributes:
        scores: [jets, 3], the outputs in the order of `Label`: QCD, signal, BIB.
        labels: [jets], see `Label`; in control regions `CONTROL_MC` and `CONTROL_DATA`.
        weights: [jets]; may be negative. Of main jets of any scale per class, as all metrics normalise a class by
            itself; of control jets the matched weights.
        columns: further columns by name, [jets] each; NaN for a jet of which the value is not known. Names in use:
            'mH', 'mS': true masses of signal jets, anything for the others [GeV].
            'scaled_pt': (pt - min) / (max - min) as in the training file, in [0, 1] for the default range.
            'pt' (not scaled) [GeV], 'eta', 'phi' [rad].
            'llp_eta', 'llp_lxy', 'llp_lz': true long-lived particle of signal jets: eta, distance of its decay from
            the beam, and signed distance from the interaction point along the beam [mm].
            'cluster_mass' [GeV], 'cluster_width': see `sculpting.cluster_mass_and_width`.
        events: [jets] a number that all jets of an event share; None where each jet counts as an event.
        region_names: names of the control regions if there are several, or of those that are judged only.
        region: [jets], number of each jet's region; None if there is one without a name.

    Raises:
        NonFiniteInput: a score or weight is NaN or infinite.
        ValueError: the shapes do not fit, or a label is not one of `Label`.
    """

    scores: FloatArray
    labels: NDArray[np.integer[Any]]
    weights: FloatArray
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    events: NDArray[np.integer[Any]] | None = None
    region_names: tuple[str, ...] = ()
    region: NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        jets = len(self.scores)
        columns = [self.labels, self.weights, self.events, self.region, *self.columns.values()]
        if self.scores.shape != (jets, len(Label)) or any(c is not None and c.shape != (jets,) for c in columns):
            raise ValueError(f"scores {self.scores.shape} must be [jets, {len(Label)}] and all other columns [jets]")
        if not np.isin(self.labels, list(Label)).all():
            raise ValueError(f"labels must be of {[int(label) for label in Label]}, found {np.unique(self.labels)}")
        check_finite("scores", self.scores)
        check_finite("weights", self.weights)

    @classmethod
    def control(
        cls,
        scores: FloatArray,
        is_data: BoolArray,
        weights: FloatArray,
        scaled_pt: FloatArray,
        events: NDArray[np.integer[Any]] | None = None,
        region_names: tuple[str, ...] = (),
        region: NDArray[np.integer[Any]] | None = None,
    ) -> Self:
        """Jets of control regions, multijet data and MC.

        Args:
            scores, weights, events, region_names, region: see `ScoredJets`.
            is_data: [jets], true for data, false for MC.
            scaled_pt: [jets], see `columns`.

        Raises:
            NonFiniteInput: a score, weight or pt is NaN or infinite.
            ValueError: the shapes do not fit.
        """
        if is_data.dtype != np.bool_:
            raise ValueError(f"is_data must be boolean, found {is_data.dtype}")
        for name, values in (("scores", scores), ("weights", weights), ("jet pt", scaled_pt)):
            check_finite(f"control-region {name}", values)
        labels = np.where(is_data, CONTROL_DATA, CONTROL_MC).astype(np.int8)
        return cls(scores, labels, weights, {"scaled_pt": scaled_pt}, events, region_names, region)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.intp]) -> Self:
        """The jets at some positions, in that order; their region has no name any more."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        events = None if self.events is None else self.events[rows]
        return type(self)(self.scores[rows], self.labels[rows], self.weights[rows], columns, events)

    def with_columns(self, **columns: FloatArray) -> Self:
        """The same jets with further columns, [jets] each."""
        return replace(self, columns={**self.columns, **columns})

    @property
    def higgs_mass(self) -> FloatArray | None:
        """[jets] true mH of signal jets in GeV; None where not known."""
        return self.columns.get("mH")

    @property
    def scaled_pt(self) -> FloatArray:
        """[jets], see `columns`. Raises KeyError without that column."""
        return self.columns["scaled_pt"]

    @cached_property
    def is_data(self) -> BoolArray:
        """[jets] true for data of a control region."""
        return np.asarray(self.labels == CONTROL_DATA)

    def by_region(self) -> dict[str, Self]:
        """The jets of each region that has a name, by name."""
        return {name: self.take(np.flatnonzero(self.region == number)) for number, name in enumerate(self.region_names)}

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
