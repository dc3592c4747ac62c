"""Choice of epochs: which are kept, and which one to take, by rules of one sentence each.

All rules look at the validation part only, so that figures quoted on the test part stay honest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cal_ratio_trainer.config.base import Rule

DEFAULT_RULE: Rule = "auc-near-lowest-ks"
RULES: dict[Rule, str] = {
    "auc-near-lowest-ks": "of the epochs on the Pareto front of AUC and K-S sum, the one with the highest AUC in units "
    "of its error minus excess of the K-S sum over identical distributions in units of its spread",
    "validation-loss": "the lowest loss of the network",
    "adversary": "the lowest loss of the adversary as the network's update computes it",
    "discriminator": "the lowest loss of the adversary as its own update computes it",
    "ks-sum": "the lowest K-S sum over the three outputs",
}
"""Each rule in words."""

WITHOUT_KS = "Without control region there is no K-S, and it is the epoch of the highest AUC"
"""The default rule for a training without control region, in words."""

_CRITERIA: dict[Rule, str] = {
    "validation-loss": "validation loss",
    "adversary": "adversary",
    "discriminator": "discriminator",
    "ks-sum": "K-S",
}
"""The name in `criteria` of each rule that takes the best of one figure."""

_LOSSES = {
    "validation loss": "val_original_lossf",
    "adversary": "val_original_adv_lossf",
    "discriminator": "val_adv_loss",
}

_USUAL_JETS, _USUAL_KS_SPREAD = 1000.0, 0.1
"""Numbers of jets of each kind, and the spread of the K-S sum that they give, where a history says nothing of them."""


def kept_epochs(history: Sequence[Mapping[str, float]], choice: Literal["rule", "all"], ks_limit: float) -> set[int]:
    """Numbers of the epochs whose weights are kept.

    'rule' keeps those whose BIB K-S sum is below `ks_limit`, the best by each of `best_epochs`, those on the
    Pareto front of AUC against K-S, and the newest. An epoch whose K-S is NaN passes no K-S rule and is never best.
    Without control region there is no K-S, and the Pareto front is the epoch of the highest AUC.
    """
    if choice == "all":
        return set(range(len(history)))
    passing = {epoch for epoch, row in enumerate(history) if row["ks_bib_hist"] < ks_limit}
    newest = {len(history) - 1} if history else set()
    return passing | set(best_epochs(history).values()) | pareto_epochs(history) | newest


def best_epochs(history: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """The best epoch by each of `criteria`, the earliest of equal ones; one without finite values is left out."""
    best = {name: _lowest(values) for name, values in criteria(history).items()}
    return {name: epoch for name, epoch in best.items() if epoch is not None}


def criteria(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Figures of which the lowest is the best, by epoch; NaN where not known.

    They are the loss of the network ('validation loss'), of the adversary as the network's update computes it
    ('adversary') and as its own does ('discriminator', left out in runs of earlier versions, whose histories have one
    number for both), and the K-S sum over the three outputs ('K-S').
    """
    found = {name: [row.get(key, math.nan) for row in history] for name, key in _LOSSES.items()}
    pairs = zip(found["adversary"], found["discriminator"], strict=True)
    if all(one == other or (math.isnan(one) and math.isnan(other)) for one, other in pairs):
        del found["discriminator"]
    return found | {"K-S": ks_sums(history)}


def _lowest(values: Sequence[float]) -> int | None:
    finite = [(value, epoch) for epoch, value in enumerate(values) if math.isfinite(value)]
    return min(finite)[1] if finite else None


def pareto_epochs(history: Sequence[Mapping[str, float]]) -> set[int]:
    """Epochs than which no other has an AUC as high and a K-S sum as low, one of them better."""
    aucs = [row.get("val_auc", math.nan) for row in history]
    return set(pareto_front(list(zip(aucs, ks_to_choose_by(history), strict=True))))


def epochs_without_progress(history: Sequence[Mapping[str, float]]) -> int:
    """Number of epochs after the newest one that was on the Pareto front when it was finished; all if none was."""
    for epoch in reversed(range(len(history))):
        if epoch in pareto_epochs(history[: epoch + 1]):
            return len(history) - 1 - epoch
    return len(history)


def ks_to_choose_by(history: Sequence[Mapping[str, float]]) -> list[float]:
    """K-S that epochs are chosen by: `ks_beyond_identical`, or 0 for all epochs of a training without control region.

    With equal K-S everywhere the AUC alone decides.
    """
    if lacks_control_region(history):
        return [0.0] * len(history)
    return [ks_beyond_identical(row) for row in history]


def lacks_control_region(history: Sequence[Mapping[str, float]]) -> bool:
    """True where no epoch has a finite K-S figure; with control region even a NaN distance has finite jet counts."""
    return not any(name.startswith("ks_") and math.isfinite(value) for row in history for name, value in row.items())


def ks_sums(history: Sequence[Mapping[str, float]]) -> list[float]:
    """For each epoch the K-S sums of the three outputs together; NaN where one of them is not known."""
    return [sum(row.get(f"ks_{output}_hist", math.nan) for output in ("qcd", "sig", "bib")) for row in history]


def ks_beyond_identical(row: Mapping[str, float]) -> float:
    """Excess of an epoch's K-S sum over that of identical distributions, in squares: sum^2 - expected^2.

    The root of it is about what a large sample would give, whatever the size of this one: for shifted and for locally
    distorted distributions of 100 to 50,000 jets within 12 % of the true distance where that is 1.3 times the expected
    one or more. The plain difference is up to 50 % low there, and in units of the spread it grows with the sample.
    Negative where the sum is below the expected one. Where the history has no expected sums, the sum alone counts.
    """
    (total,) = ks_sums([row])
    expected = math.fsum(row.get(f"ks_{output}_expected", 0.0) for output in ("qcd", "sig", "bib"))
    return total**2 - (expected**2 if math.isfinite(expected) else 0.0)


def recommended_epoch(history: Sequence[Mapping[str, float]], rule: Rule = DEFAULT_RULE) -> int | None:
    """The epoch that a rule chooses; None where no epoch has what it looks at.

    The default rule adds up differences in units of their errors: an epoch with an AUC higher by more errors than its
    K-S sum is higher by spreads is preferred. All errors are those of the epoch with the highest AUC. A K-S sum below
    that of identical distributions counts as that. A network whose outputs are all the same has no K-S distance at all,
    but its AUC of 1/2 is too low by far more errors. The choice is always on the Pareto front.
    Without control region the AUC decides among all epochs; of equal ones the earliest is chosen.

    Args:
        history: one row per epoch. Epochs of several runs may follow each other: each K-S sum is compared with that of
            identical distributions in its own sample.
        rule: one of `RULES`.

    Returns:
        A position in `history`.
    """
    if rule in _CRITERIA:
        found = criteria(history)
        # The history of an earlier version has a single loss of the adversary.
        return _lowest(found.get(_CRITERIA[rule], found["adversary"]))
    front = pareto_epochs(history)
    if len(front) < 2:
        # Without control region the front is the epoch of the highest AUC.
        return next(iter(front), None)
    highest = history[max(front, key=lambda epoch: history[epoch]["val_auc"])]
    auc_error, ks_spread = _auc_error(highest), _ks_figure(highest, "spread") or _USUAL_KS_SPREAD
    sums = ks_sums(history)

    def merit(epoch: int) -> tuple[float, float, int]:
        excess = max(sums[epoch] - _ks_figure(history[epoch], "expected"), 0.0)
        auc = history[epoch]["val_auc"]
        return auc / auc_error - excess / ks_spread, auc, -epoch

    return max(front, key=merit)


def _auc_error(row: Mapping[str, float]) -> float:
    """Standard error of an epoch's AUC; from the AUC where the history of an earlier version lacks it.

    Source: J. A. Hanley and B. J. McNeil, Radiology 143 (1982) 29, with as many jets of signal and background as the
    control region has of data.
    """
    known = row.get("val_auc_error", math.nan)
    if known > 0:
        return known
    auc = min(max(row["val_auc"], 0.5), 1 - 1e-6)
    jets = math.fsum(row.get(f"ks_{name}_data", math.nan) for name in ("low", "mid", "high"))
    jets = jets if jets > 1 else _USUAL_JETS
    pairs = auc / (2 - auc) + 2 * auc**2 / (1 + auc) - 2 * auc**2
    return math.sqrt((auc * (1 - auc) + (jets - 1) * pairs) / jets**2)


def _ks_figure(row: Mapping[str, float], figure: str) -> float:
    """Sum of the expected K-S or its spread over the outputs; 0 where not known.

    The three outputs sum to 1, so their distances rise and fall together: spreads are added, not put in quadrature.
    """
    total = math.fsum(row.get(f"ks_{output}_{figure}", 0.0) for output in ("qcd", "sig", "bib"))
    return total if math.isfinite(total) else 0.0


def classifying_epochs(history: Sequence[Mapping[str, float]]) -> list[int]:
    """Epochs whose 1/(1 - AUC) is at least half way from chance (2) to the highest, among those with AUC and K-S.

    Without control region, among those with AUC.
    For a good network this means at most twice the 1 - AUC of the best; one that is no better than chance is left out
    wherever a better one is.
    """
    known = [
        epoch
        for epoch, (row, beyond) in enumerate(zip(history, ks_to_choose_by(history), strict=True))
        if math.isfinite(row.get("val_auc", math.nan)) and math.isfinite(beyond)
    ]
    if not known:
        return []
    missed = min(1 - history[epoch]["val_auc"] for epoch in known)
    limit = max(2 * missed / (1 + 2 * missed), missed) if missed > 0 else missed
    return [epoch for epoch in known if 1 - history[epoch]["val_auc"] <= limit]


def mean_history(histories: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Row by row the mean over the folds, as far as all have come."""
    return [mean_row(rows) for rows in zip(*histories, strict=False)]


def mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure that all rows have; NaN where it is not known of one."""
    common = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in common}


@dataclass(frozen=True)
class BestEpochs:
    """Each network of a run at the epoch that a rule recommends in its own history.

    Attributes:
        epochs: of networks 0 ... K-1.
        row: the mean of these rows. The validation parts of the folds share most of their jets, so a mean of spreads
            is not divided by the root of their number.
    """

    epochs: tuple[int, ...]
    row: Mapping[str, float]

    @classmethod
    def of(cls, histories: Sequence[Sequence[Mapping[str, float]]], rule: Rule) -> "BestEpochs | None":
        """Best epochs by a rule; None if some network has no epoch with the quantity of the rule."""
        chosen = [recommended_epoch(history, rule) for history in histories]
        epochs = tuple(epoch for epoch in chosen if epoch is not None)
        if not epochs or len(epochs) < len(histories):
            return None
        return cls(epochs, mean_row([history[epoch] for history, epoch in zip(histories, epochs, strict=True)]))

    @property
    def words(self) -> str:
        """The epochs by network: '3+5+2'."""
        return "+".join(map(str, self.epochs))


@dataclass(frozen=True)
class BestEpoch:
    """The epoch that a rule recommends, by the validation part: AUC, K-S sum, and what identical distributions give."""

    epoch: int
    auc: float
    ks_sum: float
    ks_expected: float
    ks_spread: float

    @classmethod
    def of(cls, epoch: int, row: Mapping[str, float]) -> "BestEpoch":
        """Builds it from the epoch's row of the history."""
        expected, spread = (
            sum(row.get(f"ks_{output}_{figure}", math.nan) for output in ("qcd", "sig", "bib"))
            for figure in ("expected", "spread")
        )
        return cls(epoch, row.get("val_auc", math.nan), ks_sums([row])[0], expected, spread)

    @property
    def ks_excess(self) -> float:
        """Distance of the sum above the expected one, in units of its spread; this grows with the sample."""
        return (self.ks_sum - self.ks_expected) / self.ks_spread if self.ks_spread else math.nan


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points than which no other is at least as good in both figures and better in one.

    Args:
        points: (figure that should be high, figure that should be low) of each; a point with a NaN or an infinity is
            passed over.

    Returns:
        Positions by falling first figure, so that the second falls too; of equal points the earliest.
    """
    known = [position for position, point in enumerate(points) if all(map(math.isfinite, point))]
    front, lowest = [], math.inf
    for position in sorted(known, key=lambda position: (-points[position][0], points[position][1], position)):
        if points[position][1] < lowest:
            front.append(position)
            lowest = points[position][1]
    return front
