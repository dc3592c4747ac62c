"""Which epoch of a training to take, by a rule that can be said in a sentence.

All rules look at the validation part only, so that figures quoted on the test part stay honest.
"""

import math
from collections.abc import Mapping, Sequence

from cal_ratio_trainer.config.rule import Rule
from cal_ratio_trainer.runs.kept_weights import best_epochs, ks_to_choose_by

__all__ = ["CRITERIA", "DEFAULT_RULE", "RULES", "WITHOUT_KS", "Rule", "classifying_epochs", "recommended_epoch"]

DEFAULT_RULE: Rule = "auc-near-lowest-ks"

RULES: dict[Rule, str] = {
    "auc-near-lowest-ks": "of the epochs that classify (1/(1 - AUC) at least half way from chance to the highest) and "
    "whose K-S sum is within one spread of the lowest of these, the one with the highest AUC; a K-S sum below what "
    "identical distributions give counts as just that",
    "validation-loss": "the lowest loss of the network",
    "adversary": "the lowest loss of the adversary as the network's update sees it",
    "discriminator": "the lowest loss of the adversary in its own update",
    "ks-sum": "the lowest K-S sum over the three outputs",
}
"""Each rule in words."""

WITHOUT_KS = "Without control region there is no K-S, and it is the epoch of the highest AUC"
"""The default rule for a training without control region, in words."""

CRITERIA: dict[Rule, str] = {
    "validation-loss": "validation loss",
    "adversary": "adversary",
    "discriminator": "discriminator",
    "ks-sum": "K-S",
}
"""The name in `best_epochs` of each rule that takes the best of one figure."""


def recommended_epoch(history: Sequence[Mapping[str, float]], rule: Rule = DEFAULT_RULE) -> int | None:
    """The epoch that a rule chooses; None where no epoch has what it looks at.

    The default rule wants a network that classifies and does not see whether a jet is data or simulation.
    A network whose outputs are all the same has no K-S distance at all and an AUC of 1/2, so how well an epoch
    classifies is asked first. Distances below what identical distributions give are chance, and so are differences
    within one spread: among such epochs the AUC decides. With it the choice is always on the Pareto front.
    Without control region the AUC decides among all epochs; of equal ones the earliest is chosen.

    Args:
        history: a row an epoch. Epochs of several runs may follow each other: K-S sums of samples of different size
            are compared by what they have beyond identical distributions (`ks_beyond_identical`).
        rule: one of `RULES`.

    Returns:
        A position in `history`.
    """
    if rule in CRITERIA:
        return best_epochs(history).get(CRITERIA[rule])
    known = classifying_epochs(history)
    if not known:
        return None
    beyond = ks_to_choose_by(history)
    lowest = min(known, key=lambda epoch: beyond[epoch])
    # With a spread of 0, rounding could put the lowest itself above the limit.
    limit = max(_still_near(history[lowest]), beyond[lowest])
    near = [epoch for epoch in known if beyond[epoch] <= limit]
    return max(near, key=lambda epoch: (history[epoch]["val_auc"], -beyond[epoch], -epoch))


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


def _still_near(lowest: Mapping[str, float]) -> float:
    # The three outputs sum to 1, so their distances rise and fall together: spreads are added, not put in quadrature.
    distance, expected, spread = (_summed(lowest, figure) for figure in ("hist", "expected", "spread"))
    return (max(distance, expected) + spread) ** 2 - expected**2


def _summed(row: Mapping[str, float], figure: str) -> float:
    total = math.fsum(row.get(f"ks_{output}_{figure}", 0.0) for output in ("qcd", "sig", "bib"))
    return total if math.isfinite(total) else 0.0
