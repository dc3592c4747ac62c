"""Which epoch of a training to take, by a rule that can be said in a sentence."""

import math
from collections.abc import Sequence
from typing import Literal

from cal_ratio_trainer.training.checkpoint import HistoryRow
from cal_ratio_trainer.training.kept_weights import best_epochs, ks_sums

Rule = Literal["auc-near-lowest-ks", "validation loss", "adversary", "discriminator", "K-S"]

DEFAULT_RULE: Rule = "auc-near-lowest-ks"

RULES: dict[Rule, str] = {
    "auc-near-lowest-ks": "the highest AUC among the epochs whose K-S sum is within one spread of the run's lowest, "
    "the spread being that of identical distributions",
    "validation loss": "the lowest loss of the network",
    "adversary": "the lowest loss of the adversary as the network's update sees it",
    "discriminator": "the lowest loss of the adversary in its own update",
    "K-S": "the lowest K-S sum over the three outputs",
}
"""Each rule in words; all of them look at the validation part only."""


def recommended_epoch(history: Sequence[HistoryRow], rule: Rule = DEFAULT_RULE) -> int | None:
    """The epoch that a rule chooses; None where no epoch has what it looks at.

    Args:
        history: a row an epoch.
        rule: one of `RULES`.
    """
    if rule != DEFAULT_RULE:
        return best_epochs(history).get(rule)
    sums = ks_sums(history)
    known = [epoch for epoch, row in enumerate(history) if math.isfinite(sums[epoch]) and math.isfinite(row["val_auc"])]
    if not known:
        return None
    lowest = min(known, key=lambda epoch: sums[epoch])
    limit = sums[lowest] + _spread(history[lowest])
    near = [epoch for epoch in known if sums[epoch] <= limit]
    return max(near, key=lambda epoch: (history[epoch]["val_auc"], -sums[epoch], -epoch))


def _spread(row: HistoryRow) -> float:
    # The three outputs sum to 1, so their distances rise and fall together: spreads are added, not put in quadrature.
    spread = math.fsum(row[f"ks_{output}_spread"] for output in ("qcd", "sig", "bib"))
    return spread if math.isfinite(spread) else 0.0
