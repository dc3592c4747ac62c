"""Classifier two-sample test (C2ST) of control data and MC: can a network that is trained to tell them apart do so?

K-S compares one output in one range of pt at a time. A classifier sees the joint distribution of outputs and pt, and is
not among the terms that a training minimises. An AUC of 1/2 means that it finds no difference.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.ks import PT_RANGES, PtRange
from cal_ratio_trainer.evaluation.roc import auc_error
from cal_ratio_trainer.evaluation.scored import BoolArray, FloatArray, ScoredJets, WeightedSample

FOLDS = 5
MAX_JETS = 40_000
"""Number of control jets that the test reads at most; of more, whole events are drawn."""

MIN_JETS = 50
"""Number of jets of data and of MC below which there is no result."""

_MAX_LOG_ODDS = 12.0
_WIDTHS = (32, 32, 1)
# Products of matrices of this size are computed by one thread in any BLAS: the result depends on no number of threads.
_BATCH = 128
_PASSES, _MIN_STEPS = 10, 60
_LEARNING_RATE, _DECAYS, _TINY = 5e-3, (0.9, 0.999), 1e-8
_PERMUTATIONS = 100


@dataclass(frozen=True)
class C2stFigure:
    """AUC with which a classifier tells data from MC; all NaN where there are too few jets.

    Attributes:
        auc: of jets that it was not trained on. [1]
        error: standard error of `auc`, see `auc_error`.
        expected: mean AUC of identical distributions.
        spread: its standard deviation.
    """

    auc: float
    error: float
    expected: float
    spread: float

    @property
    def excess(self) -> float:
        """Excess of the AUC over that of identical distributions, in units of their spread."""
        return (self.auc - self.expected) / self.spread if self.spread else math.nan

    def named(self, prefix: str) -> dict[str, float]:
        """Figures under flat names that begin with a prefix."""
        figures = {name: getattr(self, name) for name in ("auc", "error", "expected", "spread", "excess")}
        return {f"{prefix}_{name}": value for name, value in figures.items()}


NOT_COMPUTED = C2stFigure(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class ControlRegionC2st:
    """C2ST of the control region.

    Attributes:
        pt_ranges: the ranges, in the order of `ranges`.
        overall: all jets.
        ranges: the same classifier on the jets of each range.
        jets: number of jets that were used.
    """

    pt_ranges: tuple[PtRange, ...]
    overall: C2stFigure
    ranges: tuple[C2stFigure, ...]
    jets: int

    def to_dict(self) -> dict[str, float]:
        """Flat names: 'c2st_auc', '_error', '_expected', '_spread', '_excess'; 'c2st_low_auc', ... of a pt range."""
        figures = self.overall.named("c2st")
        for pt_range, figure in zip(self.pt_ranges, self.ranges, strict=True):
            figures |= figure.named(f"c2st_{pt_range.name}")
        return figures


def c2st_of_control_jets(
    jets: ScoredJets, seed: int = 1, pt_ranges: tuple[PtRange, ...] = PT_RANGES, max_jets: int = MAX_JETS
) -> ControlRegionC2st:
    """Trains a small network to tell data from MC by the log-odds of the three outputs and pt, in 5 folds by event.

    Each jet is judged by the network that has not seen its event. Weights enter with their sign, in training and AUC,
    and only their ratios within data and within MC matter.

    The null distribution comes from labels (with their weights) exchanged between events, scores fixed. Its standard
    deviation is multiplied by sqrt(2): in cross-validation each pair of jets of two folds counts twice, each of
    them once in the training and once in the test. To lowest order the AUC minus 1/2 is a sum over pairs,
    sum_i y_i sum_j K_ij y_j; fixed scores give it half of its variance. Without this factor the excess of identical
    distributions would have a standard deviation of 1.3 to 1.4.

    Args:
        jets: the control region with the matched control weights; without event numbers each jet is an event.
        seed: of folds, mini-batches, initial weights and permutations; the same seed gives the same result.
        pt_ranges: in which the AUC is also given.
        max_jets: of more jets whole events are drawn, see `MAX_JETS`.

    Returns:
        NaN where data or MC, overall or in a range, have less than `MIN_JETS` jets or weights that sum to 0 or less.

    Source: D. Lopez-Paz and M. Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
    """
    random = np.random.default_rng(seed)
    events = np.arange(len(jets)) if jets.events is None else np.unique(jets.events, return_inverse=True)[1]
    # A position in a random order for each event.
    place = random.permutation(int(events.max(initial=-1)) + 1)[events]
    used = np.flatnonzero(np.cumsum(np.bincount(place))[place] <= max_jets)
    events, place = events[used], place[used]
    is_data, weights, pt = jets.is_data[used], jets.weights[used].astype(np.float64), jets.scaled_pt[used]
    if not _is_enough(is_data, weights):
        return ControlRegionC2st(pt_ranges, NOT_COMPUTED, (NOT_COMPUTED,) * len(pt_ranges), len(used))
    # Rounding brings scores beyond 1.
    probability = np.clip(jets.scores[used].astype(np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        log_odds = np.clip(np.log(probability) - np.log1p(-probability), -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
    inputs = np.column_stack([log_odds, pt])
    scores = _out_of_fold(inputs, is_data, weights, place % FOLDS, random)
    figures = [
        _figure(scores[here], is_data[here], weights[here], events[here], random)
        for here in (pt >= -math.inf, *((pt >= each.low) & (pt < each.high) for each in pt_ranges))
    ]
    return ControlRegionC2st(pt_ranges, figures[0], tuple(figures[1:]), len(used))


def _is_enough(is_data: BoolArray, weights: NDArray[np.float64]) -> bool:
    kinds = (is_data, ~is_data)
    return all(np.count_nonzero(kind) >= MIN_JETS and weights[kind].sum() > 0 for kind in kinds)


def _out_of_fold(
    inputs: NDArray[np.float64],
    is_data: BoolArray,
    weights: NDArray[np.float64],
    fold: NDArray[np.intp],
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Score of each jet by the network of its fold, [jets]; the networks of all folds are trained side by side.

    Two hidden layers, ReLU; cross-entropy; Adam (Kingma and Ba, ICLR 2015) with a learning rate that falls to 0 as a
    cosine.
    """
    spread = inputs.std(axis=0)
    values = ((inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    trained = [np.flatnonzero(fold != number) for number in range(FOLDS)]
    steps = max(_MIN_STEPS, _PASSES * len(fold) * (FOLDS - 1) // FOLDS // _BATCH)
    batches = np.stack([_batches(jets, steps, random) for jets in trained], axis=1)
    factors = np.stack([_balanced(is_data, weights, jets) for jets in trained])
    networks = np.arange(FOLDS)[:, None]
    target = is_data.astype(np.float32)
    layers = _initial(values.shape[1], random)
    moments = [(np.zeros_like(each), np.zeros_like(each)) for each in layers]
    for step in range(steps):
        chosen = batches[step]
        activations = _forward(layers, values[chosen])
        probability = 1 / (1 + np.exp(-np.clip(activations[-1][..., 0], -60, 60)))
        slope = (factors[networks, chosen] * (probability - target[chosen]) / _BATCH)[..., None]
        gradients = _backward(layers, activations, slope)
        first, second = (1 - decay ** (step + 1) for decay in _DECAYS)
        rate = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps)) * math.sqrt(second) / first
        for layer, gradient, (mean, square) in zip(layers, gradients, moments, strict=True):
            mean += (1 - _DECAYS[0]) * (gradient - mean)
            square += (1 - _DECAYS[1]) * (gradient * gradient - square)
            layer -= (rate * mean / (np.sqrt(square) + _TINY)).astype(np.float32)
    scores = np.zeros(len(fold), np.float32)
    for number in range(FOLDS):
        network = [layer[number] for layer in layers]
        for jets in np.array_split(np.flatnonzero(fold == number), len(fold) // _BATCH + 1):
            scores[jets] = _forward(network, values[jets])[-1][:, 0]
    return scores


def _batches(jets: NDArray[np.intp], steps: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Positions of the jets of each step, [steps, batch]: all jets in random order, again and again."""
    needed = steps * _BATCH
    passes = [random.permutation(jets) for _ in range(math.ceil(needed / len(jets)))]
    return np.concatenate(passes)[:needed].reshape(steps, _BATCH)


def _balanced(is_data: BoolArray, weights: NDArray[np.float64], jets: NDArray[np.intp]) -> NDArray[np.float32]:
    """Weights [all jets] of which data and MC of the given jets have the same sum, 1 per jet on average."""
    sums = [weights[jets[is_data[jets] == kind]].sum() for kind in (False, True)]
    # A fold can lack what the whole sample has, where some weights are negative.
    mc, data = (len(jets) / (2 * total) if total > 0 else 0.0 for total in sums)
    return (weights * np.where(is_data, data, mc)).astype(np.float32)


def _initial(inputs: int, random: np.random.Generator) -> list[NDArray[np.float32]]:
    """Kernel [folds, inputs, outputs] and bias [folds, 1, outputs] of each layer (He et al., ICCV 2015)."""
    layers: list[NDArray[np.float32]] = []
    for width in _WIDTHS:
        kernel = random.standard_normal((FOLDS, inputs, width)) * math.sqrt(2 / inputs)
        layers += [kernel.astype(np.float32), np.zeros((FOLDS, 1, width), np.float32)]
        inputs = width
    return layers


def _forward(layers: list[NDArray[np.float32]], values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Values and activations of each layer, [..., jets, width]."""
    activations = [values]
    for kernel, bias in zip(layers[::2], layers[1::2], strict=True):
        below = activations[-1] if len(activations) == 1 else np.maximum(activations[-1], 0, out=activations[-1])
        activations.append(below @ kernel + bias)
    return activations


def _backward(
    layers: list[NDArray[np.float32]], activations: list[NDArray[np.float32]], slope: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Gradients of all kernels and biases; `slope` [folds, jets, 1] is that of the output."""
    gradients: list[NDArray[np.float32]] = []
    for number in reversed(range(len(_WIDTHS))):
        gradients += [slope.sum(axis=1, keepdims=True), activations[number].swapaxes(1, 2) @ slope]
        slope = (slope @ layers[2 * number].swapaxes(1, 2)) * (activations[number] > 0)
    return gradients[::-1]


def _figure(
    scores: FloatArray,
    is_data: BoolArray,
    weights: NDArray[np.float64],
    events: NDArray[np.intp],
    random: np.random.Generator,
) -> C2stFigure:
    if not _is_enough(is_data, weights):
        return NOT_COMPUTED
    data, mc = (WeightedSample(scores[kind], weights[kind]) for kind in (is_data, ~is_data))
    order = np.argsort(scores, kind="stable")
    falls_together = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    shares = np.stack([np.where(kind, weights / weights[kind].sum(), 0.0) for kind in (is_data, ~is_data)])
    by_event = np.argsort(events, kind="stable")
    sizes = np.bincount(events)
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    aucs = []
    for _ in range(_PERMUTATIONS):
        # Events in a random order, each with its jets together: labels of one event mostly go to one other event.
        drawn = random.permutation(len(sizes))
        ends = np.cumsum(sizes[drawn])
        within = np.arange(len(scores)) - np.repeat(ends - sizes[drawn], sizes[drawn])
        source = np.empty(len(scores), dtype=np.intp)
        source[by_event] = by_event[np.repeat(starts[drawn], sizes[drawn]) + within]
        aucs.append(_auc(shares[:, source[order]], falls_together))
    auc = _auc(shares[:, order], falls_together)
    error = auc_error(data, mc, events[is_data], events[~is_data])
    return C2stFigure(auc, error, float(np.mean(aucs)), math.sqrt(2) * float(np.std(aucs)))


def _auc(shares: NDArray[np.float64], starts: NDArray[np.intp]) -> float:
    """AUC from the shares of data and MC, [2, jets] by rising score; equal scores begin at `starts`."""
    data, mc = np.add.reduceat(shares, starts, axis=1)
    return float((data * (np.cumsum(mc) - mc / 2)).sum())
