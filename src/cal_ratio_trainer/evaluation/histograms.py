"""Weighted histograms: the type, and those of the network's outputs by class that score figures are drawn from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import BoolArray, FloatArray, ScoredJets
from cal_ratio_trainer.jets.labels import Label

Doubles = NDArray[np.float64]

LINEAR_EDGES = np.linspace(0.0, 1.0, 30)
"""29 equal bins."""

_LOG_ODDS = np.linspace(-9.0, 9.0, 37)

LOGIT_EDGES = np.concatenate([[0.0], 1 / (1 + np.exp(-_LOG_ODDS)), [1.0]])
"""36 bins of width 1/2 in ln(p / (1 - p)) from -9 to 9, and a bin at each end for the rest up to 0 and 1."""

BINNINGS = {"linear": LINEAR_EDGES, "logit": LOGIT_EDGES}

MAIN_CLASSES = (Label.SIGNAL, Label.QCD, Label.BIB)
CONTROL_CLASSES = ("data", "mc")


@dataclass(frozen=True, eq=False)
class WeightedHistogram:
    """Weighted histogram of one group of jets in one quantity.

    The sums are numpy arrays: counting scores takes twice as long with `hist`, whose sums also differ in their last
    digits from those that runs have stored.

    Attributes:
        edges: [bins + 1], rising.
        sums: [bins] sums of weights; [bins + 2] with underflow and overflow at the ends where these were counted.
        squares: variances of these sums: sums of squared weights, where jets have one entry each.
        jets: number of jets with an entry, those outside the edges too.
    """

    edges: Doubles
    sums: Doubles
    squares: Doubles
    jets: int

    @classmethod
    def filled(cls, values: FloatArray, weights: FloatArray, edges: Doubles) -> Self:
        """Counts [jets] values with their weights; the last bin includes its upper edge."""
        sums, squares = (np.histogram(values, edges, weights=each)[0] for each in (weights, weights**2))
        return cls(edges, sums, squares, len(values))

    @property
    def contents(self) -> Doubles:
        """Sums of weights, [bins]."""
        return self._inside(self.sums)

    @property
    def errors(self) -> Doubles:
        """Standard deviations of the contents, [bins]."""
        result: Doubles = np.sqrt(self._inside(self.squares))
        return result

    def normalised(self) -> tuple[Doubles, Doubles]:
        """Contents and standard deviations, [bins] each, as shares of all weight, underflow and overflow included.

        Returns:
            NaN where the group is empty or its weights do not sum to more than 0.
        """
        total = float(self.sums.sum())
        if not total > 0:
            nothing = np.full(len(self.edges) - 1, math.nan)
            return nothing, nothing
        return self.contents / total, self.errors / total

    @property
    def outside(self) -> tuple[float, float]:
        """Shares of the weight below and above the edges; 0 where there is none or it was not counted."""
        total = float(self.sums.sum())
        if not (total > 0 and len(self.sums) > len(self.edges)):
            return 0.0, 0.0
        return float(self.sums[0]) / total, float(self.sums[-1]) / total

    def ratio_to(self, reference: "WeightedHistogram") -> tuple[Doubles, Doubles]:
        """Normalised contents over those of a reference, with the standard deviation of the numerator alone; [bins].

        Returns:
            NaN where the reference has no content.
        """
        below, _ = reference.normalised()
        contents, errors = (
            np.divide(each, below, out=np.full_like(each, math.nan), where=below > 0) for each in self.normalised()
        )
        return contents, errors

    def mean(self) -> tuple[float, float]:
        """Weighted mean and its standard deviation, each entry taken at the centre of its bin.

        For bins that hold one whole number each it is the mean itself. Underflow and overflow are left out.

        Returns:
            NaN where the weights do not sum to more than 0.
        """
        total = float(self.contents.sum())
        if not total > 0:
            return math.nan, math.nan
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        mean = float((self.contents * centres).sum()) / total
        squares = self._inside(self.squares)
        return mean, math.sqrt(float((squares * np.square(centres - mean)).sum())) / total

    def __add__(self, other: "WeightedHistogram") -> "WeightedHistogram":
        """Both groups together; they must have no jet in common.

        Raises:
            ValueError: they have other bins.
        """
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("histograms with different bins cannot be added")
        return WeightedHistogram(
            self.edges, self.sums + other.sums, self.squares + other.squares, self.jets + other.jets
        )

    def _inside(self, values: Doubles) -> Doubles:
        return values[1:-1] if len(values) > len(self.edges) else values


@dataclass(frozen=True, eq=False)
class Spectra:
    """The distributions of several groups of jets in one variable.

    Attributes:
        variable: name of the column.
        edges: [bins + 1].
        groups: histograms of the groups that hold jets, by name.
    """

    variable: str
    edges: Doubles
    groups: Mapping[str, WeightedHistogram]


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Weighted histograms of one network output, one class of jets per row, as they are stored.

    Attributes:
        output: short name of the output: 'qcd', 'sig' or 'bib'.
        edges: [bins + 1], rising; the last bin includes its upper edge.
        classes: names of the rows.
        sums: [classes, bins] sums of weights.
        squares: [classes, bins] sums of squared weights.
        jets: [classes] number of jets, those outside the edges too.
    """

    output: str
    edges: Doubles
    classes: tuple[str, ...]
    sums: Doubles
    squares: Doubles
    jets: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = (len(self.classes), len(self.edges) - 1)
        if self.sums.shape != shape or self.squares.shape != shape or self.jets.shape != shape[:1]:
            raise ValueError(f"sums {self.sums.shape}, squares {self.squares.shape}, jets {self.jets.shape} must fit")

    def __getitem__(self, name: str) -> WeightedHistogram:
        """The histogram of one class."""
        row = self.classes.index(name)
        return WeightedHistogram(self.edges, self.sums[row], self.squares[row], int(self.jets[row]))

    def __add__(self, other: "ScoreHistogram") -> "ScoreHistogram":
        """The histogram of the jets of both; a class that only one has is kept with its jets.

        Raises:
            ValueError: they have other outputs or bins.
        """
        if self.output != other.output or not np.array_equal(self.edges, other.edges):
            raise ValueError(f"histograms of {self.output} and {other.output} cannot be added")
        classes = tuple(dict.fromkeys([*self.classes, *other.classes]))
        sums, squares = np.zeros((2, len(classes), len(self.edges) - 1))
        jets = np.zeros(len(classes), dtype=np.int64)
        for part in (self, other):
            rows = [classes.index(name) for name in part.classes]
            sums[rows] += part.sums
            squares[rows] += part.squares
            jets[rows] += part.jets
        return ScoreHistogram(self.output, self.edges, classes, sums, squares, jets)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as JSON and YAML take them."""
        arrays = {name: getattr(self, name).tolist() for name in ("edges", "sums", "squares", "jets")}
        return {"output": self.output, "classes": list(self.classes), **arrays}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, number for number.

        Raises:
            KeyError, ValueError: not such a histogram.
        """
        return cls(
            output=str(plain["output"]),
            edges=np.array(plain["edges"], dtype=np.float64),
            classes=tuple(plain["classes"]),
            sums=np.array(plain["sums"], dtype=np.float64),
            squares=np.array(plain["squares"], dtype=np.float64),
            jets=np.array(plain["jets"], dtype=np.int64),
        )


@dataclass(frozen=True)
class ScoreHistograms:
    """Histograms of the three outputs in both binnings, in the order of `Label`.

    Attributes:
        linear: equal bins from 0 to 1.
        logit: equal bins in ln(p / (1 - p)); logarithmic bins in p where a file of an earlier version was read.
    """

    linear: tuple[ScoreHistogram, ...]
    logit: tuple[ScoreHistogram, ...]

    older_names: ClassVar[Mapping[str, str]] = {"logit": "log"}
    """Binning that files of earlier versions hold in place of 'logit': equal ratios from 0.001 to 1, coarser below."""

    def __post_init__(self) -> None:
        wanted = [label.output for label in Label]
        if any([each.output for each in histograms] != wanted for histograms in (self.linear, self.logit)):
            raise ValueError(f"expected one histogram of each output ({', '.join(wanted)}) in each binning")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, as JSON takes them."""
        return {name: [histogram.to_dict() for histogram in getattr(self, name)] for name in BINNINGS}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; also reads files of earlier versions, which have logarithmic bins."""
        stored = {name: plain[name if name in plain else cls.older_names.get(name, name)] for name in BINNINGS}
        return cls(**{name: tuple(ScoreHistogram.from_dict(item) for item in stored[name]) for name in BINNINGS})

    def __add__(self, other: "ScoreHistograms") -> "ScoreHistograms":
        """The histograms of the jets of both; see `ScoreHistogram`."""
        return ScoreHistograms(
            **{
                name: tuple(
                    one + another for one, another in zip(getattr(self, name), getattr(other, name), strict=True)
                )
                for name in BINNINGS
            }
        )


def main_histograms(jets: ScoredJets) -> ScoreHistograms:
    """Each output for signal, QCD and BIB."""
    rows = {label.output: jets.positions[label] for label in MAIN_CLASSES}
    return histograms_by_class(jets.scores, jets.weights, rows)


def control_histograms(jets: ScoredJets, selected: BoolArray | None = None) -> ScoreHistograms:
    """Each output for control-region data and MC.

    Args:
        jets: the control region.
        selected: [jets] only those, e.g. a pt range; None for all.
    """
    everything = np.ones(len(jets), dtype=np.bool_) if selected is None else selected
    masks = (everything & jets.is_data, everything & ~jets.is_data)
    rows = {name: np.flatnonzero(mask) for name, mask in zip(CONTROL_CLASSES, masks, strict=True)}
    return histograms_by_class(jets.scores, jets.weights, rows)


def histograms_by_class(
    scores: FloatArray, weights: FloatArray, rows: Mapping[str, NDArray[np.intp]]
) -> ScoreHistograms:
    """Each output for classes of any name.

    Args:
        scores: [jets, 3] in the order of `Label`.
        weights: [jets].
        rows: name of a class -> positions of its jets.
    """
    made: dict[str, list[ScoreHistogram]] = {name: [] for name in BINNINGS}
    jets = np.array([len(positions) for positions in rows.values()], dtype=np.int64)
    for output in Label:
        # Sorted once, a class is counted in any binning by looking up its edges.
        ordered = [_sorted(scores[positions, output], weights[positions]) for positions in rows.values()]
        for name, edges in BINNINGS.items():
            sums, squares = np.stack([_sums(*sample, edges) for sample in ordered], axis=1)
            made[name].append(ScoreHistogram(output.output, edges, tuple(rows), sums, squares, jets))
    return ScoreHistograms(**{name: tuple(histograms) for name, histograms in made.items()})


def _sorted(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, Doubles]:
    order = np.argsort(values)
    in_order = np.asarray(weights, dtype=np.float64)[order]
    running = np.zeros((2, len(values) + 1))
    np.cumsum(in_order, out=running[0, 1:])
    np.cumsum(np.square(in_order), out=running[1, 1:])
    return values[order], running


def _sums(values: FloatArray, running: Doubles, edges: Doubles) -> Doubles:
    places = np.searchsorted(values, edges, side="left")
    places[-1] = np.searchsorted(values, edges[-1], side="right")
    return np.diff(running[:, places], axis=1)
