import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation import Sample, ScoredJets
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.evaluation.working_point import cut_at_mistag, working_point
from cal_ratio_trainer.jets.labels import Label

from .jets import jets_on_signal_output, plausible_jets


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
    qcd = Sample.unweighted(np.array([0.8, 0.8, 0.8, 0.1]))
    assert cut_at_mistag(qcd, 0.5) == 0.8
    assert cut_at_mistag(qcd, 0.75) == 0.1


def test_everything_may_pass() -> None:
    assert cut_at_mistag(Sample.unweighted(np.array([0.5, 0.2])), 1.0) == 0.2


def test_with_negative_weights_the_tightest_cuts_count() -> None:
    # From above: 2/4, 1/4, 3/4, 4/4.
    qcd = Sample(np.array([0.9, 0.8, 0.7, 0.6]), np.array([2.0, -1.0, 2.0, 1.0]))
    assert cut_at_mistag(qcd, 0.3) == 0.9


@pytest.mark.parametrize("qcd", [[], [0.3]])
def test_without_qcd_there_is_no_working_point(qcd: list[float]) -> None:
    weights = [1.0, 1.0, *([0.0] * len(qcd))]
    point = working_point(jets_on_signal_output([0.9], qcd, [0.1], [weights[0], *([0.0] * len(qcd)), weights[1]]))
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
