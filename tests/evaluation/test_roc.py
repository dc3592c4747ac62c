import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from sklearn.metrics import roc_auc_score

from cal_ratio_trainer.evaluation import ScoredJets, WeightedSample
from cal_ratio_trainer.evaluation.bootstrap import Resampling, resampled_aucs
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.evaluation.roc import (
    BIB_ONLY,
    QCD_AND_BIB,
    QCD_AND_TENTH_OF_BIB,
    QCD_ONLY,
    auc_error,
    mass_name,
    mixed,
    roc_auc,
    roc_auc_error,
    roc_curve,
)
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets


def test_area_against_the_compound_by_hand() -> None:
    # Two QCD jets weigh 1 each, the BIB jet 0.1: 2.1 in all. Signal at 0.9 beats 2.1, signal at 0.6 beats 1.
    jets = jets_on_signal_output([0.9, 0.6], [0.7, 0.2], [0.8])
    assert roc_curve(jets).auc == pytest.approx((2.1 + 1) / (2 * 2.1))


def test_pure_areas_by_hand() -> None:
    jets = jets_on_signal_output([0.9, 0.6], [0.7, 0.2], [0.8])
    assert roc_curve(jets, QCD_ONLY).auc == pytest.approx(3 / 4)
    assert roc_curve(jets, BIB_ONLY).auc == pytest.approx(1 / 2)


def test_equal_scores_count_half() -> None:
    assert roc_auc(jets_on_signal_output([0.5], [0.5], [])) == pytest.approx(0.5)
    # pairs: (.5, .5) half, (.5, .1) whole, (.9, both) whole: 3.5 of 4
    assert roc_auc(jets_on_signal_output([0.5, 0.9], [0.5, 0.1], [])) == pytest.approx(3.5 / 4)


def test_the_curve_by_hand() -> None:
    curve = roc_curve(jets_on_signal_output([0.9, 0.6], [0.7, 0.2], [0.8]))
    np.testing.assert_allclose(curve.cuts, [np.inf, 0.9, 0.8, 0.7, 0.6, 0.2])
    np.testing.assert_allclose(curve.signal_efficiency, [0, 0.5, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(curve.background_efficiency, np.array([0, 0, 0.1, 1.1, 1.1, 2.1]) / 2.1, rtol=1e-6)
    assert (curve.signal_jets, curve.qcd_jets, curve.bib_jets) == (2, 2, 1)


def test_rejections_by_hand() -> None:
    curve = roc_curve(jets_on_signal_output([0.9, 0.6], [0.7, 0.2], [0.8]), rejection_at=(0.5, 0.9))
    # Half of the signal passes at 0.9, and no background does.
    assert curve.rejection_at(0.5).value == math.inf
    assert math.isfinite(curve.rejection_at(0.5).low)
    # Between 50 and 100 % of the signal the background stays at 1.1 of 2.1.
    at_90 = curve.rejection_at(0.9)
    assert at_90.value == pytest.approx(2.1 / 1.1)
    # Weights 1 and 0.1 pass, 1 fails: var = ((1 - e)^2 1.01 + e^2) / 2.1^2, and e (1 - e) / var effective jets.
    share_passing = 1.1 / 2.1
    variance = ((1 - share_passing) ** 2 * 1.01 + share_passing**2) / 2.1**2
    effective = share_passing * (1 - share_passing) / variance
    interval = share(effective * 1.1 / 2.1, effective)
    assert (at_90.low, at_90.high) == pytest.approx((1 / interval.high, 1 / interval.low))


def test_a_rejection_lies_on_the_line_between_two_points_of_the_curve() -> None:
    # Signal and QCD share the score 0.5: from (0.5, 0) to (1, 0.25); at 75 % signal 12.5 % of QCD pass.
    curve = roc_curve(jets_on_signal_output([0.9, 0.5], [0.5, 0.1, 0.1, 0.1], []), rejection_at=(0.75,))
    assert curve.rejection_at(0.75).background_efficiency == pytest.approx(0.125)
    assert curve.rejection_at(0.75).value == pytest.approx(8)


def test_an_efficiency_that_was_not_asked_for_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        roc_curve(plausible_jets(100)).rejection_at(0.33)


@pytest.mark.parametrize("background", [QCD_AND_TENTH_OF_BIB, QCD_ONLY, BIB_ONLY])
def test_the_area_is_that_of_scikit_learn(background: object) -> None:
    jets = plausible_jets(5000)
    weights = np.zeros(len(jets))
    factors = {Label.SIGNAL: 1.0, Label.QCD: background.qcd, Label.BIB: background.bib}  # type: ignore[attr-defined]
    for label, factor in factors.items():
        chosen = jets.labels == label
        weights[chosen] = factor * chosen.sum() * jets.weights[chosen] / jets.weights[chosen].sum()
    used = weights > 0
    truth = jets.labels[used] == Label.SIGNAL
    expected = roc_auc_score(truth, jets.scores[used, Label.SIGNAL], sample_weight=weights[used])
    assert roc_auc(jets, background) == pytest.approx(expected, rel=1e-12)  # type: ignore[arg-type]


def test_with_negative_weights_the_area_is_the_same_sum_over_pairs() -> None:
    random = np.random.default_rng(3)
    signal, qcd = random.integers(0, 9, 40) / 10, random.integers(0, 7, 50) / 10
    weights = np.concatenate([random.choice([1.0, 1.0, -0.5], 40), random.choice([2.0, 1.0, -1.0], 50)])
    jets = jets_on_signal_output(list(signal), list(qcd), [], list(weights))
    higher = (signal[:, None] > qcd) + 0.5 * (signal[:, None] == qcd)
    pairs = weights[:40, None] * weights[40:]
    assert roc_auc(jets, QCD_ONLY) == pytest.approx(float((pairs * higher).sum() / pairs.sum()))


@given(st.randoms(use_true_random=False), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_order_and_the_scale_of_a_classes_weights_change_nothing(random, qcd_scale, bib_scale) -> None:  # type: ignore[no-untyped-def]
    jets = plausible_jets(300)
    order = np.array(random.sample(range(300), 300))
    scale = np.choose(jets.labels, [qcd_scale, 1.0, bib_scale])
    changed = ScoredJets(jets.scores[order], jets.labels[order], (scale * jets.weights)[order])
    before, after = roc_curve(jets), roc_curve(changed)
    assert after.auc == pytest.approx(before.auc)
    for first, second in zip(before.rejections, after.rejections, strict=True):
        assert second.value == pytest.approx(first.value)


def test_the_compound_depends_on_the_class_counts() -> None:
    few = roc_curve(jets_on_signal_output([0.5], [0.1] * 10, [0.9]))
    many = roc_curve(jets_on_signal_output([0.5], [0.1] * 10, [0.9] * 100))
    assert few.auc == pytest.approx(10 / 10.1)
    assert many.auc == pytest.approx(10 / 20)
    assert (few.bib_jets, many.bib_jets) == (1, 100)


def test_each_mass_has_its_own_signal_and_all_of_the_background() -> None:
    jets = jets_on_signal_output([0.9, 0.3], [0.5], []).with_columns(mH=np.array([600.0, 125.0, 0.0]))
    assert roc_curve(jets, higgs_mass=600.0).auc == 1
    assert roc_curve(jets, higgs_mass=125.0).auc == 0
    assert roc_curve(jets, higgs_mass=125.0).name == "mH125.0"
    assert roc_curve(jets).signal_jets == 2


def test_without_signal_or_background_nothing_is_known() -> None:
    for jets in (jets_on_signal_output([], [0.1], [0.2]), jets_on_signal_output([0.4], [], [])):
        curve = roc_curve(jets)
        assert math.isnan(curve.auc)
        assert math.isnan(roc_auc(jets))
        assert len(curve.cuts) == 0
        assert math.isnan(curve.rejection_at(0.9).value)
    no_bib = jets_on_signal_output([0.4], [0.1], [])
    assert math.isnan(roc_auc(no_bib, BIB_ONLY))
    assert roc_auc(no_bib) == 1


def test_a_long_curve_is_stored_thin_and_stays_what_it_was() -> None:
    jets = plausible_jets(30_000)
    curve = roc_curve(jets)
    assert 200 < len(curve.cuts) <= 400
    assert curve.signal_efficiency[[0, -1]].tolist() == [0, 1]
    assert curve.background_efficiency[[0, -1]].tolist() == [0, 1]
    assert np.all(np.diff(curve.cuts) < 0)
    assert trapezoid(curve.signal_efficiency, curve.background_efficiency) == pytest.approx(curve.auc, abs=1e-4)
    for rejection in curve.rejections:
        read_off = np.interp(rejection.signal_efficiency, curve.signal_efficiency, curve.background_efficiency)
        assert 1 / read_off == pytest.approx(rejection.value, rel=0.02)


def test_the_mixtures_weights_sum_to_counts_times_factors() -> None:
    jets = plausible_jets(1000)
    mixture = mixed(jets, QCD_AND_TENTH_OF_BIB)
    assert mixture.weights.sum() == pytest.approx(jets.count(Label.QCD) + 0.1 * jets.count(Label.BIB))


def test_the_errors_along_a_curve_of_counted_jets_are_those_of_counts() -> None:
    jets = jets_on_signal_output([0.9, 0.6, 0.5], [0.7, 0.55, 0.2, 0.1], [])
    curve = roc_curve(jets, QCD_ONLY)
    assert curve.signal_efficiency * 3 == pytest.approx(np.array([0, 1, 1, 2, 2, 3, 3, 3]), rel=1e-6)
    assert curve.signal_effective == pytest.approx(3)
    assert curve.background_effective == pytest.approx(4)
    low, high = curve.background_interval
    expected = [share(passed, 4) for passed in (0, 0, 1, 1, 2, 2, 3, 4)]
    np.testing.assert_allclose(low, [each.low for each in expected], rtol=1e-5)
    np.testing.assert_allclose(high, [each.high for each in expected], rtol=1e-5)
    np.testing.assert_allclose(curve.signal_interval[1][3], share(2, 3).high, rtol=1e-5)


def test_the_band_covers_the_true_rejection_about_as_often_as_it_says() -> None:
    # QCD uniform, signal from a higher power: at 50 % signal the true mistag is 1 - 0.5^(1/4).
    inside = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        values = np.concatenate([random.random(20_000) ** 0.25, random.random(400)])
        weights = np.append(np.ones(20_000), random.lognormal(0, 0.7, 400))
        labels = np.repeat([Label.SIGNAL, Label.QCD], [20_000, 400])
        scores = np.stack([1 - values, values, 0 * values], axis=1)
        found = roc_curve(ScoredJets(scores, labels, weights), QCD_ONLY, rejection_at=(0.5,)).rejection_at(0.5)
        inside += found.low <= 1 / (1 - 0.5**0.25) <= found.high
    # Clopper-Pearson covers no less than 68 % on counts; 200 tries have a standard deviation of 3.3 %.
    assert 0.62 < inside / 200 < 0.82


def test_a_class_that_takes_no_part_is_not_counted() -> None:
    jets = jets_on_signal_output([0.9], [0.1, 0.2], [0.3, 0.4, 0.5])
    assert (BIB_ONLY.count(jets, Label.QCD), BIB_ONLY.count(jets, Label.BIB)) == (0, 3)
    assert (QCD_AND_BIB.count(jets, Label.QCD), QCD_AND_BIB.count(jets, Label.BIB)) == (2, 3)


def test_the_compound_takes_a_tenth_of_bib() -> None:
    assert (QCD_AND_TENTH_OF_BIB.factor(Label.QCD), QCD_AND_TENTH_OF_BIB.factor(Label.BIB)) == (1.0, 0.1)


def test_masses_are_named_as_in_the_manuals_files() -> None:
    assert mass_name(1000) == "mH1000.0"


def test_the_error_of_an_area_by_hand() -> None:
    # Signal 3, 1 against background 2, 0: signal wins 1 and 1/2, background loses 1/2 and 1, AUC 3/4.
    # Contributions +-1/4 / 2 of four jets: the square root of 4 (1/8)^2.
    signal, background = (WeightedSample.unweighted(np.array(values)) for values in ([3.0, 1.0], [2.0, 0.0]))
    assert auc_error(signal, background, np.arange(2), np.arange(2, 4)) == pytest.approx(0.25)
    # One event with the winning signal jet and the losing background jet, +1/8 and -1/8: they cancel.
    assert auc_error(signal, background, np.array([1, 2]), np.array([1, 3])) == pytest.approx(math.sqrt(2) / 8)
    nothing = WeightedSample.unweighted(np.zeros(0))
    assert math.isnan(auc_error(signal, nothing, np.arange(2), np.arange(0)))


def test_the_error_of_an_area_is_that_of_samples_drawn_anew() -> None:
    jets, events = plausible_jets(1500), np.arange(1500) // 2
    (drawn,) = resampled_aucs(jets, events, Resampling(300, 1), (QCD_AND_TENTH_OF_BIB,))
    assert roc_auc_error(jets, events) == pytest.approx(float(drawn.replicas.std()), rel=0.15)
    repeated = np.repeat(np.arange(1500), 2)
    twice = ScoredJets(jets.scores[repeated], jets.labels[repeated], jets.weights[repeated])
    assert roc_auc_error(twice, events[repeated]) == pytest.approx(roc_auc_error(jets, events))
    assert math.isnan(roc_auc_error(jets_on_signal_output([0.5], [], []), np.zeros(1, int)))
