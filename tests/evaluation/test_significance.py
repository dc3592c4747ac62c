import math

import numpy as np
import pytest

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.roc import BIB_ONLY, QCD_AND_BIB, QCD_ONLY, Background
from cal_ratio_trainer.evaluation.significance import CUTS, all_scans, significance_scan
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

# 40 signal jets, 40 QCD jets of weight 0.5, 32 BIB jets.
SIGNAL = [0.05] * 10 + [0.5] * 30
QCD = [0.3] * 40
BIB = [0.05] * 20 + [0.7] * 12
JETS = jets_on_signal_output(SIGNAL, QCD, BIB, [0.1] * 40 + [0.5] * 40 + [9.0] * 32)


def test_the_cuts_are_those_of_the_earlier_program() -> None:
    assert len(CUTS) == 720
    assert CUTS[[0, 99, 100, 119, 120, 719]] == pytest.approx([1e-5, 0.1, 0.11, 0.89, 0.9, 1.0])
    assert CUTS[1] / CUTS[0] == pytest.approx(CUTS[51] / CUTS[50])
    assert CUTS[101] - CUTS[100] == pytest.approx(0.78 / 19)
    assert CUTS[121] / CUTS[120] == pytest.approx(CUTS[719] / CUTS[718])
    assert np.all(np.diff(CUTS) > 0)


def test_everything_by_hand() -> None:
    # QCD is scaled to the 32 jets of BIB. Below 0.05: 40 / sqrt(64) = 5; from 0.05 30 / sqrt(12 + 32) = 4.52; from 0.3
    # 30 / sqrt(12) = 8.66; from 0.5 no signal; from 0.7 no background: the scan ends.
    scan = significance_scan(JETS)
    assert scan.background_jets == pytest.approx(64)
    at = {cut: int(np.argmax(scan.cuts > cut)) for cut in (1e-4, 0.06, 0.33, 0.52)}
    assert scan.significance[list(at.values())] == pytest.approx([5, 30 / math.sqrt(44), 30 / math.sqrt(12), 0])
    assert scan.maximum == pytest.approx(30 / math.sqrt(12))
    # the first of the linear cuts above 0.3: 0.11 + 5 * 0.78 / 19
    assert scan.cut_at_maximum == pytest.approx(0.11 + 5 * 0.78 / 19)
    assert scan.cuts[-1] < 0.7 <= CUTS[len(scan.cuts)]
    # (30 / 40) / sqrt(12 / 64)
    assert scan.maximum_efficiency_ratio == pytest.approx(0.75 / math.sqrt(12 / 64))


def test_qcd_alone_counts_as_many_jets_as_it_has() -> None:
    # 40 / sqrt(40) below 0.05, 30 / sqrt(40) up to 0.3, where the scan ends.
    scan = significance_scan(JETS, QCD_ONLY)
    assert scan.name == "QCD only"
    assert scan.background_jets == pytest.approx(40)
    assert scan.maximum == pytest.approx(math.sqrt(40))
    assert scan.cuts[-1] < 0.3


def test_bib_alone_counts_each_jet_once_whatever_its_weight() -> None:
    scan = significance_scan(JETS, BIB_ONLY)
    assert scan.significance[0] == pytest.approx(40 / math.sqrt(32))
    assert scan.maximum == pytest.approx(30 / math.sqrt(12))


def test_a_sample_without_bib_counts_qcd_jets() -> None:
    scan = significance_scan(jets_on_signal_output(SIGNAL, QCD, [], [1.0] * 40 + [0.5] * 40), QCD_AND_BIB)
    assert scan.background_jets == pytest.approx(40)


def test_a_score_at_the_cut_does_not_pass() -> None:
    scan = significance_scan(jets_on_signal_output([CUTS[100]], [], [0.9] * 20))
    assert scan.signal[99:101].tolist() == [1, 0]


@pytest.mark.parametrize("background", [QCD_AND_BIB, QCD_ONLY, BIB_ONLY])
def test_counts_and_area_are_those_of_a_plain_loop(background: Background) -> None:
    jets = plausible_jets(2000)
    scan = significance_scan(jets, background)
    output = jets.scores[:, Label.SIGNAL].astype(float)
    bib = (jets.labels == Label.BIB) * background.bib
    qcd = (jets.labels == Label.QCD) * background.qcd * jets.weights
    wanted = jets.count(Label.BIB) if background.bib else jets.count(Label.QCD)
    area, before = 0.0, (math.nan, math.nan)
    for i, cut in enumerate(CUTS):
        passing = output > cut
        b = bib[passing].sum() + (qcd[passing].sum() * wanted / qcd.sum() if background.qcd else 0.0)
        if b <= 10:
            assert i == len(scan.cuts)
            break
        s = np.count_nonzero(passing & (jets.labels == Label.SIGNAL))
        assert (scan.signal[i], scan.background[i]) == pytest.approx((s, b))
        if i:
            area += (cut - before[0]) * (s / math.sqrt(b) + before[1]) / 2
        before = cut, s / math.sqrt(b)
    assert scan.area == pytest.approx(area)


def test_it_grows_with_the_sample_and_the_ratio_of_efficiencies_does_not() -> None:
    jets = plausible_jets(4000)
    twice = ScoredJets(np.tile(jets.scores, (4, 1)), np.tile(jets.labels, 4), np.tile(jets.weights, 4))
    one, four = significance_scan(jets), significance_scan(twice)
    same_cuts = slice(0, len(one.cuts))
    np.testing.assert_allclose(four.significance[same_cuts], 2 * one.significance, rtol=1e-6)
    np.testing.assert_allclose(four.efficiency_ratio[same_cuts], one.efficiency_ratio, rtol=1e-6)


def test_a_sample_with_too_little_background_has_no_maximum() -> None:
    scan = significance_scan(jets_on_signal_output([0.9], [0.1], [0.1] * 5))
    assert len(scan.cuts) == 0
    values = (scan.maximum, scan.cut_at_maximum, scan.area, scan.maximum_efficiency_ratio)
    assert all(math.isnan(value) for value in values)


def test_the_scan_ends_at_ten_background_jets() -> None:
    assert len(significance_scan(jets_on_signal_output([0.9], [], [0.1] * 10)).cuts) == 0
    assert len(significance_scan(jets_on_signal_output([0.9], [], [0.1] * 11)).cuts) > 0


def test_without_signal_the_ratio_of_efficiencies_is_unknown() -> None:
    scan = significance_scan(jets_on_signal_output([], [0.1] * 20, [0.1] * 20))
    assert scan.maximum == 0
    assert math.isnan(scan.maximum_efficiency_ratio)


def test_all_scans_are_named_as_the_manuals_files() -> None:
    jets = JETS.with_columns(mH=np.repeat([125.0, 600.0, 0.0], [10, 30, 72]))
    assert [scan.name for scan in all_scans(jets)] == ["", "QCD only", "BIB only", "mH125.0", "mH600.0"]
    assert [scan.signal_jets for scan in all_scans(jets)] == [40, 40, 40, 10, 30]


def test_the_error_by_hand() -> None:
    # Below 0.05: S = 40 +- sqrt(40); B = 32 BIB jets + 40 QCD jets of weight 0.8 each, so var B = 32 + 40 * 0.64.
    scan = significance_scan(JETS)
    relative = 40 / 40**2 + (32 + 40 * 0.64) / (2 * 64) ** 2
    assert scan.error[0] == pytest.approx(scan.significance[0] * math.sqrt(relative))


def test_the_error_is_the_spread_of_simulated_samples() -> None:
    random = np.random.default_rng(8)
    found = []
    for _ in range(300):
        signal, bib = (random.random(random.poisson(mean)) for mean in (400, 250))
        scan = significance_scan(jets_on_signal_output(list(signal**0.5), [], list(bib)), BIB_ONLY)
        at = int(np.argmax(scan.cuts > 0.5))
        found.append((scan.significance[at], scan.error[at]))
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
