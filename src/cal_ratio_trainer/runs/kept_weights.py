"""Which epochs' weights stay on disk."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from cal_ratio_trainer.evaluation.pareto import pareto_front


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
    """The best epoch by each criterion, the earliest of equal ones; a criterion without finite values is left out.

    They are the lowest loss of the network ('validation loss'), of the adversary as the network's update sees it
    ('adversary') and in its own ('discriminator'), and the lowest K-S sum over the three outputs ('K-S').
    """
    criteria = {
        name: [row.get(key, math.nan) for row in history]
        for name, key in (
            ("validation loss", "val_original_lossf"),
            ("adversary", "val_original_adv_lossf"),
            ("discriminator", "val_adv_loss"),
        )
    } | {"K-S": ks_sums(history)}
    best = {}
    for name, values in criteria.items():
        finite = [(value, epoch) for epoch, value in enumerate(values) if math.isfinite(value)]
        if finite:
            best[name] = min(finite)[1]
    return best


def pareto_epochs(history: Sequence[Mapping[str, float]]) -> set[int]:
    """Epochs than which no other has an AUC as high and a K-S sum as low, one of them better."""
    aucs = [row.get("val_auc", math.nan) for row in history]
    return set(pareto_front(list(zip(aucs, ks_to_choose_by(history), strict=True))))


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
    """What an epoch's K-S sum has beyond that of identical distributions, in squares: sum^2 - expected^2.

    The root of it is about what a large sample would give, whatever the size of this one: for shifted and for locally
    distorted distributions of 100 to 50,000 jets within 12 % of the true distance where that is 1.3 times the expected
    one or more. The plain difference is up to 50 % low there, and in units of the spread it grows with the sample.
    Negative where the sum is below the expected one. Where the history has no expected sums, the sum alone counts.
    """
    (total,) = ks_sums([row])
    expected = math.fsum(row.get(f"ks_{output}_expected", 0.0) for output in ("qcd", "sig", "bib"))
    return total**2 - (expected**2 if math.isfinite(expected) else 0.0)
