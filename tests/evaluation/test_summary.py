import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import BIB_ONLY, QCD_ONLY, roc_auc, roc_curve
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from tests.factories.scored_jets import at_mistag, jets_on_signal_output, plausible_control_jets, plausible_jets


def test_the_summary_holds_what_its_parts_give() -> None:
    jets, control = plausible_jets(2000), plausible_control_jets(1000)
    figures = evaluate_test_sample(jets, control)
    numbers = figures.numbers()
    assert numbers["auc"] == roc_auc(jets)
    assert (numbers["auc_qcd"], numbers["auc_bib"]) == (roc_auc(jets, QCD_ONLY), roc_auc(jets, BIB_ONLY))
    assert numbers["auc_mH600.0"] == roc_curve(jets, higgs_mass=600.0).auc
    assert numbers["rejection_90"] == figures.roc.rejection_at(0.9).value
    assert numbers["ks_bib_excess"] == ks_of_control_jets(control).to_dict()["ks_bib_excess"]
    assert sum(point.efficiency.total for point in figures.efficiencies) == figures.signal.total
    assert figures.confusion.counts.sum() == 2000
    assert [scan.name for scan in figures.scans] == ["", "QCD only", "BIB only", "mH125.0", "mH600.0"]


def test_without_control_jets_there_is_no_comparison_of_data_and_mc() -> None:
    figures = evaluate_test_sample(plausible_jets(200))
    assert figures.ks is None
    assert figures.control_histograms is None
    assert not any(name.startswith("ks") for name in figures.numbers())


@pytest.mark.parametrize(("signal", "qcd", "bib"), [([0.9], [], []), ([], [0.1], []), ([], [], [0.2])])
def test_a_sample_of_one_class_goes_through(signal: list[float], qcd: list[float], bib: list[float]) -> None:
    figures = evaluate_test_sample(jets_on_signal_output(signal, qcd, bib))
    assert figures.confusion.counts.sum() == 1
    assert figures.numbers()["auc"] != figures.numbers()["auc"]


def test_figures_of_merit_need_no_matplotlib() -> None:
    code = "import sys, cal_ratio_trainer.evaluation.summary; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.integers(0, 400), st.integers(0, 300), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_figures_come_back_from_json_as_they_were(jets: int, control: int, with_train: bool, seed: int) -> None:
    figures = evaluate_test_sample(
        plausible_jets(jets, seed),
        plausible_control_jets(control, seed) if control else None,
        plausible_jets(200, seed + 1) if with_train else None,
    )
    # allow_nan=False: strict JSON has no NaN and no infinity.
    text = json.dumps(figures.to_dict(), allow_nan=False)
    again = TestFigures.from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    # Earlier versions had logarithmic bins in place of those in log-odds, everywhere that histograms are.
    earlier = text.replace('"logit":', '"log":')
    assert json.dumps(TestFigures.from_dict(json.loads(earlier)).to_dict()) == text
    assert (again.ks is None, again.overtraining is None) == (not control, not with_train)
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(figures))


def test_figures_of_another_format_are_refused() -> None:
    plain = evaluate_test_sample(plausible_jets(50)).to_dict()
    with pytest.raises(ValueError, match="format 99"):
        TestFigures.from_dict(plain | {"format": 99})
    with pytest.raises(KeyError):
        TestFigures.from_dict({"format": 1})


@given(st.randoms(use_true_random=False), st.tuples(*[st.floats(1e-3, 1e3)] * 3))
@settings(max_examples=20, deadline=None)
def test_neither_the_order_of_jets_nor_the_scale_of_a_classes_weights_matters(random, scales) -> None:  # type: ignore[no-untyped-def]
    jets, control = plausible_jets(400), plausible_control_jets(300)
    order = np.array(random.sample(range(400), 400))
    control_order = np.array(random.sample(range(300), 300))
    moved = dataclasses.replace(jets, weights=jets.weights * np.array(scales)[jets.labels])
    moved, control_moved = moved.take(order), control.take(control_order)
    before, after = evaluate_test_sample(jets, control, jets), evaluate_test_sample(moved, control_moved, moved)
    expected, found = before.numbers(), after.numbers()
    assert found == pytest.approx(expected, nan_ok=True)
    for first, second in zip(before.dependences, after.dependences, strict=True):
        np.testing.assert_allclose(second.total, first.total)
        np.testing.assert_allclose(second.passed, first.passed, atol=1e-9)
    for one, other in zip(before.false_positives, after.false_positives, strict=True):
        assert dataclasses.astuple(other.by_weight) == pytest.approx(dataclasses.astuple(one.by_weight))


def test_what_is_quoted_at_a_mistag_is_that_of_the_working_point() -> None:
    jets = plausible_jets(1000)
    figures = at_mistag(evaluate_test_sample(jets), jets, 0.1)
    numbers, point = figures.numbers(), figures.working_point
    assert (numbers["mistag"], numbers["cut_at_mistag"]) == (0.1, point.cut)
    assert (numbers["signal_efficiency_at_mistag"], numbers["bib_mistag"]) == (point.signal.value, point.bib.value)
    assert numbers["rejection_qcd_50"] == figures.rocs[1].rejection_at(0.5).value
    assert [curve.name for curve in figures.qcd_rocs] == ["mH125.0", "mH600.0"]
    assert {curve.background for curve in figures.qcd_rocs} == {QCD_ONLY}
