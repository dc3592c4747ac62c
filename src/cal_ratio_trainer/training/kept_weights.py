"""Which epochs' weights stay on disk."""

import math
from collections.abc import Sequence
from typing import Literal

from cal_ratio_trainer.training.checkpoint import HistoryRow


def kept_epochs(history: Sequence[HistoryRow], choice: Literal["rule", "all"], ks_limit: float) -> set[int]:
    """Numbers of the epochs whose weights are kept.

    'rule' keeps those whose BIB K-S sum is below `ks_limit`, the best by each of `best_epochs`, those on the
    Pareto front of AUC against K-S, and the newest. An epoch whose K-S is NaN passes no K-S rule and is never best.
    """
    if choice == "all":
        return set(range(len(history)))
    passing = {epoch for epoch, row in enumerate(history) if row["ks_bib_hist"] < ks_limit}
    newest = {len(history) - 1} if history else set()
    return passing | set(best_epochs(history).values()) | pareto_epochs(history) | newest


def best_epochs(history: Sequence[HistoryRow]) -> dict[str, int]:
    """The best epoch by each criterion, the earliest of equal ones; a criterion without finite values is left out.

    They are the lowest loss of the network ('validation loss'), of the adversary as the network's update sees it
    ('adversary') and in its own ('discriminator'), and the lowest K-S sum over the three outputs ('K-S').
    """
    criteria = {
        name: [row[key] for row in history]
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


def pareto_epochs(history: Sequence[HistoryRow]) -> set[int]:
    """Epochs than which no other has both a higher AUC and a lower K-S sum."""
    points = [
        (row["val_auc"], total, epoch)
        for epoch, (row, total) in enumerate(zip(history, ks_sums(history), strict=True))
        if math.isfinite(row["val_auc"]) and math.isfinite(total)
    ]
    front, lowest = set(), math.inf
    for auc, total, epoch in sorted(points, key=lambda point: (-point[0], point[1], point[2])):
        del auc
        if total < lowest:
            front.add(epoch)
            lowest = total
    return front


def ks_sums(history: Sequence[HistoryRow]) -> list[float]:
    """For each epoch the K-S sums of the three outputs together."""
    return [row["ks_qcd_hist"] + row["ks_sig_hist"] + row["ks_bib_hist"] for row in history]
