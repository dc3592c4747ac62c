"""Choice of the epochs that are kept and of the recommended one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.runs.recommendation import (
    DEFAULT_RULE,
    RULES,
    best_epochs,
    classifying_epochs,
    epochs_without_progress,
    kept_epochs,
    pareto_epochs,
    pareto_front,
    recommended_epoch,
)


def row_of(loss: float, auc: float, bib: float, other: float = 0.5, adversary: float = math.nan) -> dict[str, float]:
    return {
        **{"val_original_lossf": loss, "val_auc": auc, "val_original_adv_lossf": adversary, "val_adv_loss": adversary},
        **{"ks_bib_hist": bib, "ks_qcd_hist": other, "ks_sig_hist": 0.0},
    }


def test_epochs_below_the_limit_the_best_and_the_newest_are_kept() -> None:
    #                loss  AUC   BIB K-S
    history = [row_of(0.9, 0.80, 0.9), row_of(0.3, 0.85, 0.8), row_of(0.5, 0.84, 0.29), row_of(0.6, 0.79, 0.95)]
    assert best_epochs(history) == {"validation loss": 1, "K-S": 2}
    assert kept_epochs(history, "rule", 0.3) == {1, 2, 3}
    assert kept_epochs(history, "all", 0.3) == {0, 1, 2, 3}


def test_the_limit_itself_does_not_pass() -> None:
    history = [row_of(0.1, 0.9, 0.1), row_of(0.5, 0.5, 0.3), row_of(0.9, 0.4, 0.9)]
    assert 1 not in kept_epochs(history, "rule", 0.3)


def test_the_pareto_front_has_the_epochs_that_no_other_beats_in_both() -> None:
    #            best AUC             in between           best K-S             beaten by 1
    history = [row_of(1, 0.95, 0.9), row_of(1, 0.90, 0.5), row_of(1, 0.85, 0.2), row_of(1, 0.89, 0.6)]
    assert pareto_epochs(history) == {0, 1, 2}


def test_epochs_count_since_the_newest_that_was_on_the_front_when_it_was_finished() -> None:
    #               on the front          on it, beats 0       beaten by 1          without K-S
    history = [row_of(1, 0.90, 0.5), row_of(1, 0.92, 0.4), row_of(1, 0.91, 0.6), row_of(1, 0.95, math.nan)]
    assert [epochs_without_progress(history[:count]) for count in range(5)] == [0, 0, 0, 1, 2]
    assert epochs_without_progress(history[3:] * 2) == 2


def test_equal_epochs_are_on_the_front_once_with_the_earliest() -> None:
    assert pareto_epochs([row_of(1, 0.9, 0.5), row_of(1, 0.9, 0.5)]) == {0}


def test_an_epoch_without_ks_is_never_best_and_passes_no_rule() -> None:
    history = [row_of(0.9, 0.9, math.nan), row_of(0.5, 0.8, 0.5)]
    assert best_epochs(history)["K-S"] == 1
    assert pareto_epochs(history) == {1}
    assert kept_epochs([row_of(math.nan, 0.9, math.nan)], "rule", 0.3) == {0}
    assert best_epochs([row_of(math.nan, 0.9, math.nan)]) == {}


def test_the_epoch_with_the_lowest_loss_of_the_adversary_is_kept() -> None:
    history = [
        row_of(0.9, 0.8, 0.9, adversary=0.2),
        row_of(0.3, 0.9, 0.8, adversary=0.7),
        row_of(0.5, 0.7, 0.9, adversary=0.8),
    ]
    assert best_epochs(history) == {"validation loss": 1, "adversary": 0, "K-S": 1}
    assert recommended_epoch(history, "discriminator") == recommended_epoch(history, "adversary") == 0
    assert kept_epochs(history, "rule", 0.3) == {0, 1, 2}


def test_a_history_has_two_losses_of_the_adversary() -> None:
    history = [
        {"val_original_adv_lossf": 0.7, "val_adv_loss": 0.6},
        {"val_original_adv_lossf": 0.6, "val_adv_loss": 0.8},
    ]
    assert best_epochs(history) == {"adversary": 1, "discriminator": 0}
    assert [recommended_epoch(history, rule) for rule in ("adversary", "discriminator")] == [1, 0]


def test_nothing_is_kept_of_nothing() -> None:
    assert kept_epochs([], "rule", 0.3) == set()


def test_without_control_region_the_best_by_loss_and_by_auc_and_the_newest_are_kept() -> None:
    history = [
        row_of(loss, auc, math.nan) for loss, auc in ((0.9, 0.8), (0.4, 0.85), (0.5, 0.9), (0.6, 0.7), (0.7, 0.6))
    ]
    for each in history:
        each |= {"ks_qcd_hist": math.nan, "ks_sig_hist": math.nan}
    assert kept_epochs(history, "rule", 0.3) == {1, 2, 4}


Row = dict[str, float]


def row(
    auc: float, ks: float, expected: float = 0.0, spread: float = 0.03, loss: float = 0.5, error: float = 0.001
) -> Row:
    """Row of a history; `ks`, `expected` and `spread` are sums over the outputs."""
    values = {
        "val_auc": auc,
        "val_auc_error": error,
        "val_original_lossf": loss,
        "val_original_adv_lossf": 0.7,
        "val_adv_loss": 0.7,
    }
    for output in ("qcd", "sig", "bib"):
        figures = {"hist": ks, "expected": expected, "spread": spread}
        values |= {f"ks_{output}_{name}": value / 3 for name, value in figures.items()}
    return values


def test_a_little_more_ks_is_taken_for_a_higher_auc_and_much_more_is_not() -> None:
    # From the last one: +7 errors for +20 spreads, +1 for +1/3, +2 for +5/6.
    history = [row(0.99, 0.90), row(0.984, 0.31), row(0.985, 0.325), row(0.983, 0.30)]
    assert recommended_epoch(history) == 2


def test_an_auc_higher_by_several_errors_is_not_given_up_for_a_chance_difference_of_ks() -> None:
    # The rule of earlier versions took the first: a K-S sum within one spread of the lowest came before any AUC.
    history = [row(0.9750, 0.45, 0.4, 0.09, error=0.0020), row(0.9829, 0.55, 0.4, 0.09, error=0.0017)]
    assert recommended_epoch(history) == 1
    assert recommended_epoch([history[0], row(0.9829, 1.0, 0.4, 0.09, error=0.0017)]) == 0


@pytest.mark.parametrize(("data", "preferred"), [(30.0, 0), (3000.0, 1)])
def test_an_earlier_history_without_errors_of_the_auc_has_those_of_its_number_of_jets(
    data: float, preferred: int
) -> None:
    # The error of an AUC of 0.9 is 0.04 with 30 jets of each kind, and 0.004 with 3000 (Hanley and McNeil).
    history = [row(0.88, 0.45, 0.4, 0.03), row(0.90, 0.48, 0.4, 0.03)]
    for each in history:
        del each["val_auc_error"]
        each |= {f"ks_{name}_data": data / 3 for name in ("low", "mid", "high")}
    assert recommended_epoch(history) == preferred


def test_an_epoch_whose_outputs_are_all_the_same_is_not_recommended_for_its_lack_of_a_distance() -> None:
    history = [row(0.90, 0.9, expected=0.4), row(0.52, 0.01, expected=0.4), row(0.96, 0.7, expected=0.4)]
    assert recommended_epoch(history) == 2
    assert recommended_epoch(history, "ks-sum") == 1


def test_an_epoch_at_chance_does_not_classify_even_where_the_best_is_poor() -> None:
    assert classifying_epochs([row(0.60, 0.5), row(0.50, 0.0), row(0.53, 0.0), row(0.58, 0.4)]) == [0, 3]


def test_where_no_epoch_is_better_than_chance_the_best_of_them_classifies_all_the_same() -> None:
    assert classifying_epochs([row(0.40, 0.5), row(0.45, 0.5)]) == [1]


def test_distances_below_what_identical_distributions_give_are_all_the_same() -> None:
    history = [row(0.990, 0.50, expected=0.5), row(0.985, 0.30, expected=0.5), row(0.991, 0.54, expected=0.5)]
    assert recommended_epoch(history) == 0
    # One error more of AUC, two thirds of a spread more of K-S.
    assert recommended_epoch([*history[:2], row(0.991, 0.52, expected=0.5)]) == 2


def test_of_a_large_and_a_small_sample_the_one_with_the_smaller_true_distance_is_recommended() -> None:
    large, small = row(0.99, 0.80, expected=0.3, spread=0.05), row(0.99, 1.00, expected=0.9, spread=0.16)
    # sqrt(0.80^2 - 0.3^2) = 0.74 in the large sample, sqrt(1.00^2 - 0.9^2) = 0.44 in the small one.
    assert recommended_epoch([large, small]) == 1


def test_of_equal_epochs_the_earliest_is_recommended() -> None:
    assert recommended_epoch([row(0.9, 0.3), row(0.9, 0.3)]) == 0


def test_an_epoch_without_ks_or_auc_is_never_recommended() -> None:
    assert recommended_epoch([row(math.nan, 0.1), row(0.9, math.nan), row(0.8, 0.3), {}]) == 2
    assert recommended_epoch([row(math.nan, 0.1), row(0.9, math.nan), {}]) is None
    assert recommended_epoch([]) is None


figure = st.floats(0.0, 3.0) | st.sampled_from([0.0, 0.3, 0.45, math.nan])
rows = st.builds(
    row,
    auc=st.floats(0.3, 1.0) | st.sampled_from([0.5, 0.99, 0.991, 1.0, math.nan]),
    ks=figure,
    expected=figure,
    spread=st.floats(0.0, 0.2) | st.just(math.nan),
    loss=figure,
)


@given(history=st.lists(rows, max_size=12), rule=st.sampled_from(list(RULES)))
@settings(max_examples=200, deadline=None)
def test_the_weights_of_an_epoch_are_kept_from_the_day_it_was_trained_until_a_rule_recommends_it(
    history: list[Row], rule: Rule
) -> None:
    chosen = recommended_epoch(history, rule)
    if chosen is None:
        return
    for done in range(chosen + 1, len(history) + 1):
        assert chosen in kept_epochs(history[:done], "rule", ks_limit=0.01)


@given(history=st.lists(rows, max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_epoch_has_both_figures_as_good_and_one_better_than_the_recommended_one(history: list[Row]) -> None:
    chosen = recommended_epoch(history)
    assert chosen is None or chosen in pareto_epochs(history)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_said_in_words(rule: Rule) -> None:
    assert len(RULES[rule]) > 20
    assert DEFAULT_RULE in RULES


def test_an_epoch_is_recommended_where_distances_have_no_spread_and_sums_round_differently() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        distances = dict(zip(("qcd", "sig", "bib"), random.random(3), strict=True))
        history = [{"val_auc": 0.9} | {f"ks_{output}_hist": each for output, each in distances.items()}]
        assert recommended_epoch(history) == 0


def test_without_control_region_the_highest_auc_is_recommended_the_earliest_of_equal_ones() -> None:
    distances = dict.fromkeys(("ks_qcd_hist", "ks_sig_hist", "ks_bib_hist"), math.nan)
    history = [{"val_auc": auc} | distances for auc in (0.8, 0.9, math.nan, 0.9, 0.5)]
    assert recommended_epoch(history) == 1
    assert 1 in classifying_epochs(history)
    assert 4 not in classifying_epochs(history)
    assert recommended_epoch(history, "ks-sum") is None


def test_epochs_whose_distances_are_not_known_for_lack_of_jets_in_a_range_are_not_recommended() -> None:
    distances = dict.fromkeys(("ks_qcd_hist", "ks_sig_hist", "ks_bib_hist"), math.nan)
    assert recommended_epoch([{"val_auc": 0.9, "ks_low_mc": 30.0, "ks_low_data": 0.0} | distances]) is None


coordinate = st.sampled_from([0.0, 0.5, 1.0, math.nan]) | st.floats(0, 1)


def test_the_front_runs_from_the_highest_first_to_the_lowest_second_figure() -> None:
    assert pareto_front([(0.85, 0.2), (0.95, 0.9), (0.89, 0.6), (0.90, 0.5)]) == [1, 3, 0]


def test_of_equal_points_the_earliest_is_on_the_front() -> None:
    assert pareto_front([(0.5, 0.5), (0.9, 0.3), (0.9, 0.3)]) == [1]


def test_points_that_are_not_known_are_passed_over() -> None:
    assert pareto_front([(math.nan, 0.0), (0.9, math.inf), (0.1, 0.9)]) == [2]
    assert pareto_front([]) == []


@given(points=st.lists(st.tuples(coordinate, coordinate), max_size=15))
@settings(max_examples=100, deadline=None)
def test_a_point_is_on_the_front_exactly_when_no_other_is_better(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    known = [point for point in points if all(map(math.isfinite, point))]
    unbeaten = {
        point
        for point in known
        if not any(high >= point[0] and low <= point[1] and (high, low) != point for high, low in known)
    }
    assert {points[position] for position in front} == unbeaten
    assert len(front) == len(unbeaten)
