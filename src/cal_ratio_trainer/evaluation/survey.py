"""Content of a file of jets: classes with their weights, columns, and samples of variables for the choice of bins."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import WeightedSample, effective_number_of
from cal_ratio_trainer.evaluation.variables import Variable, is_number, values_of
from cal_ratio_trainer.jets.cleaning import BEYOND_PI
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.schema import Feature
from cal_ratio_trainer.jets.table import Jets

SAMPLED_JETS = 20_000
"""Approximate number of jets of a file, spread over all of it, by which bins are chosen."""


@dataclass(frozen=True, order=True)
class JetClass:
    """Jets of one label; signal of one pair of masses apart.

    Attributes:
        label: see `Label`.
        masses: (mH, mS) in GeV of signal; None where they are not known, and for all other labels.
    """

    label: int
    masses: tuple[float, float] | None = None


@dataclass
class ClassTally:
    """Number of jets of a class, and their weights: sum, sum of squares, number of negative ones."""

    jets: int = 0
    sum_of_weights: float = 0.0
    sum_of_squares: float = 0.0
    negative: int = 0

    def __add__(self, other: "ClassTally") -> "ClassTally":
        return ClassTally(
            self.jets + other.jets,
            self.sum_of_weights + other.sum_of_weights,
            self.sum_of_squares + other.sum_of_squares,
            self.negative + other.negative,
        )

    @property
    def effective_number(self) -> float:
        """(sum w)^2 / sum w^2, see `evaluation.scored.effective_number`."""
        return effective_number_of(self.sum_of_weights, self.sum_of_squares)


@dataclass
class ColumnTally:
    """Content of a column.

    Attributes:
        entries: values, one per jet or one per constituent.
        null: not known.
        not_finite: NaN or infinite.
        not_measured: hold the number that stands for it (MSeg_t0: 99999).
        beyond_pi: angles that are larger than pi.
        low: smallest of the others; NaN where there is none.
        high: largest of them.
        text: holds text, of which only `entries` and `null` are known.
    """

    entries: int = 0
    null: int = 0
    not_finite: int = 0
    not_measured: int = 0
    beyond_pi: int = 0
    low: float = math.nan
    high: float = math.nan
    text: bool = False

    @property
    def is_odd(self) -> bool:
        """True where some values are no measurements."""
        return bool(self.null or self.not_finite or self.not_measured or self.beyond_pi)

    def add(self, values: NDArray[np.floating], feature: Feature | None) -> None:
        """Counts values that are known; the feature of the column says what stands for 'not measured'."""
        self.entries += len(values)
        finite = np.isfinite(values)
        self.not_finite += len(values) - int(np.count_nonzero(finite))
        if feature is not None and feature.not_measured is not None:
            measured = values != feature.not_measured
            self.not_measured += len(values) - int(np.count_nonzero(measured))
            finite &= measured
        kept = values if finite.all() else values[finite]
        if len(kept) == 0:
            return
        if feature is not None and (feature.angle == "phi" or feature.name == "jet_phi"):
            self.beyond_pi += int(np.count_nonzero(np.abs(kept) > BEYOND_PI))
        self.low = float(np.fmin(self.low, kept.min()))
        self.high = float(np.fmax(self.high, kept.max()))


@dataclass
class Survey:
    """Content of one file; filled batch by batch.

    Attributes:
        variables: those to take samples of.
        rows: number of jets in the file.
        weight_column: column of the weights.
        seed: of the choice of sampled jets.
        classes: jets and weights of each class.
        columns: content of each column, by name.
        samples: values of each variable by label, with the weights of their jets.
        bad_weights: jets whose weight is NaN or infinite; they count 0.
        unknown_weights: jets whose weight is not known; they count 1.
    """

    variables: Sequence[Variable]
    rows: int
    weight_column: str
    seed: int = 1
    classes: dict[JetClass, ClassTally] = field(default_factory=dict)
    columns: dict[str, ColumnTally] = field(default_factory=dict)
    samples: dict[Variable, dict[int, list[WeightedSample]]] = field(default_factory=dict)
    bad_weights: int = 0
    unknown_weights: int = 0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def add(self, jets: Jets) -> None:
        """Adds some jets."""
        weights = self._weights(jets)
        classes, positions = classes_of(jets)
        for place, jet_class in enumerate(classes):
            its = weights[positions == place]
            tally = ClassTally(len(its), float(its.sum()), float(np.square(its).sum()), int(np.count_nonzero(its < 0)))
            self.classes[jet_class] = self.classes.get(jet_class, ClassTally()) + tally
        self._add_columns(jets)
        self._add_samples(jets)

    def samples_of(self, variable: Variable) -> Iterator[WeightedSample]:
        """The sampled values of each label that has some."""
        for parts in self.samples.get(variable, {}).values():
            yield WeightedSample.concatenated(parts)

    def _weights(self, jets: Jets) -> NDArray[np.float64]:
        if self.weight_column in jets:
            column = jets.scalars.column(self.weight_column)
            self.unknown_weights += column.null_count
            if is_number(column):
                known = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
                self.bad_weights += int(np.count_nonzero(~np.isfinite(known)))
        else:
            self.unknown_weights += len(jets)
        return weights_of(jets, self.weight_column)

    def _add_columns(self, jets: Jets) -> None:
        features = jets.schema.columns
        for name in jets.scalars.column_names:
            column = jets.scalars.column(name)
            tally = self.columns.setdefault(name, ColumnTally())
            tally.null += column.null_count
            if is_number(column):
                tally.add(column.drop_null().cast(pa.float64(), safe=False).to_numpy(), features.get(name))
            else:
                tally.text = True
                tally.entries += len(column) - column.null_count
        for kind in jets.schema.constituents:
            values = jets.constituents[kind.name].values
            for position, name in enumerate(kind.columns):
                tally = self.columns.setdefault(name, ColumnTally())
                tally.add(np.ascontiguousarray(values[:, position]), features[name])

    def _add_samples(self, jets: Jets) -> None:
        share = SAMPLED_JETS / max(self.rows, 1)
        chosen = jets if share >= 1 else jets.where(self._random.random(len(jets)) < share)
        label, weights = chosen.label, weights_of(chosen, self.weight_column)
        for variable in self.variables:
            found = values_of(variable, chosen)
            by_label = self.samples.setdefault(variable, {})
            labels = label[found.jets]
            for each in np.unique(labels):
                its = labels == each
                sample = WeightedSample(found.values[its], weights[found.jets[its]])
                by_label.setdefault(int(each), []).append(sample)


def weights_of(jets: Jets, column: str) -> NDArray[np.float64]:
    """The weights [jets]: 1 where they are not known, 0 where they are NaN or infinite."""
    if column not in jets or not is_number(jets.scalars.column(column)):
        return np.ones(len(jets))
    weights = jets.scalars.column(column).cast(pa.float64(), safe=False).fill_null(1.0).to_numpy()
    finite = np.isfinite(weights)
    return weights if finite.all() else np.where(finite, weights, 0.0)


def classes_of(jets: Jets) -> tuple[list[JetClass], NDArray[np.int64]]:
    """The classes that jets belong to, and for each jet the position of its class, [jets]."""
    label, signal = jets.label, jets.label == Label.SIGNAL
    heavy, light = (_masses(jets, name)[signal] for name in ("llp_mH", "llp_mS"))
    # A pair of masses in one number, which sorts in a fraction of the time of two.
    pairs, of_signal = np.unique(heavy + 1j * light, return_inverse=True)
    others, of_others = np.unique(label[~signal], return_inverse=True)
    positions = np.zeros(len(jets), dtype=np.int64)
    positions[~signal] = of_others
    positions[signal] = len(others) + of_signal
    classes = [JetClass(int(each)) for each in others]
    for pair in pairs.tolist():
        known = pair.real >= 0 and pair.imag >= 0
        classes.append(JetClass(int(Label.SIGNAL), (pair.real, pair.imag) if known else None))
    return classes, positions


def _masses(jets: Jets, name: str) -> NDArray[np.float64]:
    masses: NDArray[np.float64] = jets[name].astype(np.float64) if name in jets else np.full(len(jets), math.nan)
    # NaN would be unequal to itself.
    known: NDArray[np.float64] = np.nan_to_num(masses, nan=-1.0)
    return known
