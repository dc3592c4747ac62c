"""Which epoch is recommended."""

import math

import pytest

from cal_ratio_trainer.training.kept_weights import kept_epochs
from cal_ratio_trainer.training.recommendation import RULES, Rule, recommended_epoch


def row(auc: float, ks: float, spread: float = 0.02, loss: float = 0.5) -> dict[str, float]:
    values = {"val_auc": auc, "val_original_lossf": loss, "val_original_adv_lossf": 0.7, "val_adv_loss": 0.7}
    for output in ("qcd", "sig", "bib"):
        values |= {f"ks_{output}_hist": ks / 3, f"ks_{output}_spread": spread / 3}
    return values


def test_a_little_more_ks_is_taken_for_a_higher_auc_and_much_more_is_not() -> None:
    history = [row(0.99, 0.90), row(0.95, 0.31), row(0.97, 0.315), row(0.90, 0.30)]
    assert recommended_epoch(history) == 2


def test_of_equal_epochs_the_earliest_is_recommended() -> None:
    assert recommended_epoch([row(0.9, 0.3), row(0.9, 0.3)]) == 0


def test_an_epoch_without_ks_or_auc_is_never_recommended() -> None:
    assert recommended_epoch([row(math.nan, 0.1), row(0.9, math.nan), row(0.8, 0.3)]) == 2
    assert recommended_epoch([row(math.nan, 0.1), row(0.9, math.nan)]) is None
    assert recommended_epoch([]) is None


@pytest.mark.parametrize("rule", RULES)
def test_the_weights_of_a_recommended_epoch_are_kept(rule: Rule) -> None:
    history = [row(0.99, 0.90, loss=0.6), row(0.95, 0.61, loss=0.4), row(0.97, 0.615, loss=0.5), row(0.90, 0.60)]
    history += [row(0.5, 2.0, loss=0.9)] * 3
    chosen = recommended_epoch(history, rule)
    assert chosen is not None
    assert chosen in kept_epochs(history, "rule", ks_limit=0.01)
