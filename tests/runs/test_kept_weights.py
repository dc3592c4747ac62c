"""Which epochs' weights stay on disk."""

import math

from cal_ratio_trainer.runs.kept_weights import best_epochs, kept_epochs, pareto_epochs


def row(loss: float, auc: float, bib: float, other: float = 0.5, adversary: float = math.nan) -> dict[str, float]:
    return {
        **{"val_original_lossf": loss, "val_auc": auc, "val_original_adv_lossf": adversary, "val_adv_loss": adversary},
        **{"ks_bib_hist": bib, "ks_qcd_hist": other, "ks_sig_hist": 0.0},
    }


def test_epochs_below_the_limit_the_best_and_the_newest_are_kept() -> None:
    #                loss  AUC   BIB K-S
    history = [row(0.9, 0.80, 0.9), row(0.3, 0.85, 0.8), row(0.5, 0.84, 0.29), row(0.6, 0.79, 0.95)]
    assert best_epochs(history) == {"validation loss": 1, "K-S": 2}
    assert kept_epochs(history, "rule", 0.3) == {1, 2, 3}
    assert kept_epochs(history, "all", 0.3) == {0, 1, 2, 3}


def test_the_limit_itself_does_not_pass() -> None:
    history = [row(0.1, 0.9, 0.1), row(0.5, 0.5, 0.3), row(0.9, 0.4, 0.9)]
    assert 1 not in kept_epochs(history, "rule", 0.3)


def test_the_pareto_front_has_the_epochs_that_no_other_beats_in_both() -> None:
    #            best AUC             in between           best K-S             beaten by 1
    history = [row(1, 0.95, 0.9), row(1, 0.90, 0.5), row(1, 0.85, 0.2), row(1, 0.89, 0.6)]
    assert pareto_epochs(history) == {0, 1, 2}


def test_equal_epochs_are_on_the_front_once_with_the_earliest() -> None:
    assert pareto_epochs([row(1, 0.9, 0.5), row(1, 0.9, 0.5)]) == {0}


def test_an_epoch_without_ks_is_never_best_and_passes_no_rule() -> None:
    history = [row(0.9, 0.9, math.nan), row(0.5, 0.8, 0.5)]
    assert best_epochs(history)["K-S"] == 1
    assert pareto_epochs(history) == {1}
    assert kept_epochs([row(math.nan, 0.9, math.nan)], "rule", 0.3) == {0}
    assert best_epochs([row(math.nan, 0.9, math.nan)]) == {}


def test_the_epoch_with_the_lowest_loss_of_the_adversary_is_kept() -> None:
    history = [row(0.9, 0.8, 0.9, adversary=0.2), row(0.3, 0.9, 0.8, adversary=0.7), row(0.5, 0.7, 0.9, adversary=0.8)]
    assert best_epochs(history) == {"validation loss": 1, "adversary": 0, "discriminator": 0, "K-S": 1}
    assert kept_epochs(history, "rule", 0.3) == {0, 1, 2}


def test_nothing_is_kept_of_nothing() -> None:
    assert kept_epochs([], "rule", 0.3) == set()


def test_without_control_region_the_best_by_loss_and_by_auc_and_the_newest_are_kept() -> None:
    history = [row(loss, auc, math.nan) for loss, auc in ((0.9, 0.8), (0.4, 0.85), (0.5, 0.9), (0.6, 0.7), (0.7, 0.6))]
    for each in history:
        each |= {"ks_qcd_hist": math.nan, "ks_sig_hist": math.nan}
    assert kept_epochs(history, "rule", 0.3) == {1, 2, 4}
