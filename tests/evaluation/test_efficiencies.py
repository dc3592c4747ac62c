import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation import ScoredJets, WeightedSample
from cal_ratio_trainer.evaluation.efficiencies import (
    EDGES,
    Dependence,
    confusion_matrix,
    cut_at_mistag,
    dependence,
    dependences,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
    working_point,
)
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

QCD, SIGNAL, BIB = [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]


def test_confusion_and_accuracy_by_hand() -> None:
    scores = np.array([QCD, QCD, SIGNAL, SIGNAL, BIB, QCD])
    labels = np.array([0, 1, 1, 1, 2, 2], dtype=np.int8)
    matrix = confusion_matrix(ScoredJets(scores, labels, np.arange(6.0)))
    np.testing.assert_array_equal(matrix.counts, [[1, 0, 0], [1, 2, 0], [1, 0, 1]])
    assert matrix.accuracy == 4 / 6
    np.testing.assert_allclose(matrix.shares, [[1.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.0], [0.5, 0.0, 0.5]])


def test_a_label_without_jets_has_no_shares() -> None:
    matrix = confusion_matrix(ScoredJets(np.array([QCD]), np.array([0]), np.ones(1)))
    assert np.isnan(matrix.shares[1]).all()
    assert matrix.accuracy == 1
    assert math.isnan(confusion_matrix(ScoredJets(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0))).accuracy)


TAKEN, MISSED = [0.2, 0.5, 0.3], [0.5, 0.3, 0.2]


def jets(rows: list[tuple[list[float], Label, float, float, float]]) -> ScoredJets:
    scores, labels, weights, mh, ms = (np.array(column) for column in zip(*rows, strict=True))
    return ScoredJets(scores, labels, weights, {"mH": mh, "mS": ms})


def test_efficiency_of_each_mass_point_by_hand() -> None:
    result = signal_efficiencies(
        jets(
            [
                (TAKEN, Label.SIGNAL, 1, 600, 50),
                (TAKEN, Label.SIGNAL, 9, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 5),
                (TAKEN, Label.QCD, 1, 125, 55),
                (TAKEN, Label.BIB, 1, 0, 0),
            ]
        )
    )
    assert [(point.higgs_mass, point.scalar_mass) for point in result] == [(125, 5), (125, 55), (600, 50)]
    assert [point.efficiency for point in result] == [share(0, 1), share(1, 3), share(1, 1)]


def test_false_positives_by_count_and_by_weight() -> None:
    qcd, bib = false_positives(
        jets(
            [
                (TAKEN, Label.QCD, 1, 0, 0),
                (MISSED, Label.QCD, 1, 0, 0),
                (MISSED, Label.QCD, 2, 0, 0),
                (TAKEN, Label.BIB, 1, 0, 0),
                (TAKEN, Label.SIGNAL, 1, 0, 0),
            ]
        )
    )
    assert (qcd.label, bib.label) == (Label.QCD, Label.BIB)
    assert qcd.by_count == share(1, 3)
    # One weight of four passes: var = ((3/4)^2 1 + (1/4)^2 (1 + 4)) / 16 = 14/256; (1/4 3/4) / var effective jets.
    assert qcd.by_weight.value == pytest.approx(1 / 4)
    assert qcd.by_weight.total == pytest.approx(3 / 16 * 256 / 14)
    assert bib.by_count == share(1, 1)


def test_jets_of_unknown_mass_are_in_the_total_only() -> None:
    signal = jets([(TAKEN, Label.SIGNAL, 1, np.nan, np.nan), (MISSED, Label.SIGNAL, 1, 125, 5)])
    assert [point.efficiency.total for point in signal_efficiencies(signal)] == [1]
    assert signal_efficiency(signal) == share(1, 2)


def test_no_masses_and_no_jets() -> None:
    without = ScoredJets(np.array([TAKEN]), np.array([Label.SIGNAL]), np.ones(1))
    assert signal_efficiencies(without) == ()
    assert all(math.isnan(result.by_weight.value) for result in false_positives(without))
    assert all(math.isnan(result.by_count.value) for result in false_positives(without))


def test_the_cut_by_hand() -> None:
    # Of four QCD jets one in four may pass: the one at 0.8, above the next one at 0.6.
    point = working_point(jets_on_signal_output([0.9, 0.7, 0.5], [0.8, 0.6, 0.4, 0.2], [0.65, 0.1]), 0.25)
    assert point.cut == 0.6
    assert point.signal == share(2, 3)
    assert (point.qcd.value, point.bib.value) == (0.25, 0.5)


def test_weights_decide_how_much_of_qcd_passes() -> None:
    # 0.8 weighs 5 of 8: too much for a half, so nothing passes.
    jets = jets_on_signal_output([0.9, 0.7], [0.8, 0.6, 0.4, 0.2], [], [1, 1, 5, 1, 1, 1])
    assert working_point(jets, 0.5).cut == 0.8
    assert working_point(jets, 0.5).qcd.value == 0
    assert working_point(jets, 0.5).signal == share(1, 2)
    assert working_point(jets, 0.7).cut == 0.6


def test_equal_scores_pass_together_or_not_at_all() -> None:
    qcd = WeightedSample.unweighted(np.array([0.8, 0.8, 0.8, 0.1]))
    assert cut_at_mistag(qcd, 0.5) == 0.8
    assert cut_at_mistag(qcd, 0.75) == 0.1


def test_everything_may_pass() -> None:
    assert cut_at_mistag(WeightedSample.unweighted(np.array([0.5, 0.2])), 1.0) == 0.2


def test_with_negative_weights_the_tightest_cuts_count() -> None:
    # From above: 2/4, 1/4, 3/4, 4/4.
    qcd = WeightedSample(np.array([0.9, 0.8, 0.7, 0.6]), np.array([2.0, -1.0, 2.0, 1.0]))
    assert cut_at_mistag(qcd, 0.3) == 0.9


@pytest.mark.parametrize("qcd", [[], [0.3]])
def test_without_qcd_there_is_no_working_point(qcd: list[float]) -> None:
    weights = [1.0, 1.0, *([0.0] * len(qcd))]
    point = working_point(jets_on_signal_output([0.9], qcd, [0.1], [weights[0], *([0.0] * len(qcd)), weights[1]]), 0.01)
    assert math.isnan(point.cut)
    assert all(math.isnan(each.value) for each in (point.signal, point.qcd, point.bib))


@given(st.floats(0.001, 0.999), st.integers(0, 2**32), st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_no_more_than_asked_for_passes_and_one_more_step_would_be_too_much(mistag, seed, scale, random) -> None:  # type: ignore[no-untyped-def]
    jets = plausible_jets(300, seed)
    point = working_point(jets, mistag)
    qcd = jets.sample(Label.QCD, Label.SIGNAL)
    total = qcd.weights.sum()
    assert point.qcd.value == pytest.approx(qcd.weights[qcd.values > point.cut].sum() / total)
    assert point.qcd.value <= mistag + 1e-9
    assert qcd.weights[qcd.values >= point.cut].sum() / total > mistag - 1e-9
    order = np.array(random.sample(range(300), 300))
    again = working_point(ScoredJets(jets.scores[order], jets.labels[order], scale * jets.weights[order]), mistag)
    assert again.cut == point.cut
    assert again.bib.value == pytest.approx(point.bib.value)
    assert again.bib.total == pytest.approx(point.bib.total)


def of(found: tuple[Dependence, ...], quantity: str, label: Label) -> Dependence:
    (result,) = [each for each in found if (each.quantity, each.label) == (quantity, label)]
    return result


def with_kinematics(**columns: list[float]) -> ScoredJets:
    # Three signal jets pass the cut of 0.5, one does not; of two QCD jets one passes.
    jets = jets_on_signal_output([0.9, 0.8, 0.2, 0.7], [0.6, 0.1], [])
    return jets.with_columns(**{name: np.array(column) for name, column in columns.items()})


def test_signal_is_counted_in_the_bins_of_lxy_by_hand() -> None:
    jets = with_kinematics(
        llp_eta=[0.1, -1.39, 1.0, 1.41, math.nan, 0.0], llp_lxy=[1300.0, 1399.0, 1399.5, 1300.0, 1300.0, 1300.0]
    )
    found = of(dependences(jets, 0.5), "Lxy", Label.SIGNAL)
    # Barrel: jets 0 and 1 pass, 2 does not, 3 is in the endcap.
    assert (found.passed[0], found.total[0], found.jets, found.outside) == (2, 3, 3, 0)
    assert found.value[0] == pytest.approx(2 / 3)
    expected = share(2, 3)
    assert (found.interval[0][0], found.interval[1][0]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(found.value[1:]).all()


def test_decays_in_the_endcap_are_shown_by_their_distance_on_both_sides() -> None:
    jets = with_kinematics(
        llp_eta=[1.4, -2.0, 1.6, 0.1, 0.0, 0.0], llp_lz=[3600.0, -3600.0, -9000.0, 3600.0, 3600.0, 3600.0]
    )
    found = of(dependences(jets, 0.5), "Lz", Label.SIGNAL)
    assert (found.passed[0], found.total[0]) == (2, 2)
    assert (found.jets, found.outside) == (2, 1)


def test_a_bin_holds_its_lower_edge_and_the_last_one_its_upper_edge_too() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    values = np.array([0.0, 0.999, 1.0, 2.0, 2.001, -0.001, math.nan])
    found = dependence("pt", edges, Label.SIGNAL, values, np.ones(7), np.ones(7, dtype=bool))
    assert found.total.tolist() == [2, 2]
    assert (found.jets, found.outside) == (4, 2)


def test_background_is_weighted_at_its_effective_number() -> None:
    # One bin: weights 1, 1, 2; the 2 passes: e = 1/2, var = (4 + 2) / 4 / 16 = 3/32, n = 1/4 / (3/32) = 8/3.
    found = dependence(
        "eta",
        np.array([-1.0, 1.0]),
        Label.QCD,
        np.zeros(3),
        np.array([1.0, 1.0, 2.0]),
        np.array([False, False, True]),
    )
    assert found.value.tolist() == [0.5]
    assert found.total[0] == pytest.approx(8 / 3)
    # None passes: the effective number is 16/6.
    none = dependence(
        "eta", np.array([-1.0, 1.0]), Label.QCD, np.zeros(3), np.array([1.0, 1.0, 2.0]), np.zeros(3, dtype=bool)
    )
    assert (none.value[0], none.total[0]) == (0, pytest.approx(16 / 6))
    assert none.interval[1][0] == pytest.approx(share(0, 16 / 6).high)


@pytest.mark.parametrize("missing", ["pt", "eta", "phi", "llp_eta", "llp_lxy", "llp_lz"])
def test_a_column_that_is_absent_or_null_leaves_its_figure_out(missing: str) -> None:
    jets = plausible_jets(500)
    everything = {(each.quantity, each.label) for each in dependences(jets, 0.5)}
    assert {quantity for quantity, _ in everything} == {"Lxy", "Lz", "pt", "eta", "phi"}
    column = {"llp_lxy": {"Lxy"}, "llp_lz": {"Lz"}, "llp_eta": {"Lxy", "Lz"}}.get(missing, {missing})
    absent = {name: values for name, values in jets.columns.items() if name != missing}
    for columns in (absent, {**jets.columns, missing: np.full(500, math.nan)}):
        without = replace(jets, columns=columns)
        left = {(each.quantity, each.label) for each in dependences(without, 0.5)}
        assert everything - left == {each for each in everything if each[0] in column}


def test_without_kinematics_or_working_point_there_is_nothing() -> None:
    jets = plausible_jets(100)
    assert dependences(replace(jets, columns={}), 0.5) == ()
    assert dependences(jets, math.nan) == ()


def test_many_jets_make_finer_bins() -> None:
    jets = plausible_jets(3000)
    sparse, dense = dependences(jets, 0.99), dependences(jets, 0.05)
    assert len(of(sparse, "eta", Label.QCD).total) == len(of(sparse, "eta", Label.BIB).total) == 10
    assert len(of(dense, "eta", Label.QCD).total) == 20
    assert len(of(sparse, "eta", Label.SIGNAL).total) == 20
    assert len(of(dependences(plausible_jets(300), 0.5), "eta", Label.SIGNAL).total) == 10


def test_every_quantity_can_have_two_bins_taken_together() -> None:
    assert all(edges[::2][-1] == edges[-1] for edges in EDGES.values())


def test_kinematics_must_be_as_long_as_the_jets() -> None:
    jets = plausible_jets(10)
    with pytest.raises(ValueError, match="must be"):
        jets.with_columns(pt=np.zeros(9))


def test_the_order_of_jets_and_the_scale_of_weights_change_nothing() -> None:
    jets = plausible_jets(1000)
    changed = jets.take(np.random.default_rng(2).permutation(1000))
    changed = replace(changed, weights=7 * changed.weights)
    for first, second in zip(dependences(jets, 0.4), dependences(changed, 0.4), strict=True):
        np.testing.assert_allclose(second.passed, first.passed)
        np.testing.assert_allclose(second.total, first.total)
