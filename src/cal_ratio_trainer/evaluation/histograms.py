"""Histograms of the network's outputs by class: counted once, small enough to be saved, enough to draw from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import BoolArray, FloatArray, ScoredControlJets, ScoredJets
from cal_ratio_trainer.jets.labels import Label

LINEAR_EDGES = np.linspace(0.0, 1.0, 30)
"""29 equal bins."""

LOGARITHMIC_EDGES = np.concatenate([np.linspace(0.0, 0.0007, 5), np.geomspace(0.001, 1.0, 50)])
"""4 bins up to 0.0007, one over the gap to 0.001, then 49 of equal ratio up to 1."""

BINNINGS = {"linear": LINEAR_EDGES, "log": LOGARITHMIC_EDGES}

MAIN_CLASSES = {"sig": Label.SIGNAL, "qcd": Label.QCD, "bib": Label.BIB}
CONTROL_CLASSES = ("data", "mc")


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """One network output, a row a class.

    Attributes:
        output: short name of the output: 'qcd', 'sig' or 'bib'.
        edges: [bins + 1], rising; the last bin holds its upper edge.
        classes: names of the rows.
        sums: [classes, bins] sums of weights.
        squares: [classes, bins] sums of squared weights.
        jets: [classes] number of jets, those outside the edges too.
    """

    output: str
    edges: NDArray[np.float64]
    classes: tuple[str, ...]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    jets: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = (len(self.classes), len(self.edges) - 1)
        if self.sums.shape != shape or self.squares.shape != shape or self.jets.shape != shape[:1]:
            raise ValueError(f"sums {self.sums.shape}, squares {self.squares.shape}, jets {self.jets.shape} must fit")

    def normalised(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Contents and standard deviations of one class, [bins] each, scaled so that the contents sum to 1.

        Returns:
            NaN where the class is empty or its weights do not sum to more than 0.
        """
        row = self.classes.index(name)
        total = float(self.sums[row].sum())
        if not total > 0:
            nothing = np.full(self.sums.shape[1], math.nan)
            return nothing, nothing
        return self.sums[row] / total, np.sqrt(self.squares[row]) / total

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
    """The three outputs in both binnings, in the order of `Label`; all that the score plots are drawn from."""

    linear: tuple[ScoreHistogram, ...]
    log: tuple[ScoreHistogram, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, as JSON takes them."""
        return {name: [histogram.to_dict() for histogram in getattr(self, name)] for name in BINNINGS}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{name: tuple(ScoreHistogram.from_dict(item) for item in plain[name]) for name in BINNINGS})


def main_histograms(jets: ScoredJets) -> ScoreHistograms:
    """Each output for signal, QCD and BIB."""
    rows = {name: jets.positions[label] for name, label in MAIN_CLASSES.items()}
    return histograms_by_class(jets.scores, jets.weights, rows)


def control_histograms(jets: ScoredControlJets, selected: BoolArray | None = None) -> ScoreHistograms:
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


def added(first: ScoreHistograms, second: ScoreHistograms) -> ScoreHistograms:
    """The histograms of the jets of both; classes that only one has stand there with its jets.

    Raises:
        ValueError: they have other outputs or bins.
    """
    return ScoreHistograms(
        **{
            name: tuple(_added(*pair) for pair in zip(getattr(first, name), getattr(second, name), strict=True))
            for name in BINNINGS
        }
    )


def _added(first: ScoreHistogram, second: ScoreHistogram) -> ScoreHistogram:
    if first.output != second.output or not np.array_equal(first.edges, second.edges):
        raise ValueError(f"histograms of {first.output} and {second.output} cannot be added")
    classes = tuple(dict.fromkeys([*first.classes, *second.classes]))
    sums, squares = np.zeros((2, len(classes), len(first.edges) - 1))
    jets = np.zeros(len(classes), dtype=np.int64)
    for part in (first, second):
        rows = [classes.index(name) for name in part.classes]
        sums[rows] += part.sums
        squares[rows] += part.squares
        jets[rows] += part.jets
    return ScoreHistogram(first.output, first.edges, classes, sums, squares, jets)


def _sorted(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, NDArray[np.float64]]:
    order = np.argsort(values)
    in_order = np.asarray(weights, dtype=np.float64)[order]
    running = np.zeros((2, len(values) + 1))
    np.cumsum(in_order, out=running[0, 1:])
    np.cumsum(np.square(in_order), out=running[1, 1:])
    return values[order], running


def _sums(values: FloatArray, running: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.searchsorted(values, edges, side="left")
    places[-1] = np.searchsorted(values, edges[-1], side="right")
    return np.diff(running[:, places], axis=1)
