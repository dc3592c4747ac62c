import json

import numpy as np
import pytest
from scipy.special import logit

from cal_ratio_trainer.evaluation.histograms import (
    LINEAR_EDGES,
    LOGIT_EDGES,
    ScoreHistogram,
    ScoreHistograms,
    WeightedHistogram,
    control_histograms,
    histograms_by_class,
    main_histograms,
)
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_control_jets, plausible_jets


def test_the_linear_bins_are_those_of_the_earlier_program_and_the_others_equal_in_log_odds() -> None:
    assert len(LINEAR_EDGES) == 30
    assert (LOGIT_EDGES[0], LOGIT_EDGES[19], LOGIT_EDGES[-1]) == (0, 0.5, 1)
    np.testing.assert_allclose(logit(LOGIT_EDGES[1:-1]), np.linspace(-9, 9, 37), atol=1e-9)


def test_histograms_of_earlier_versions_are_read_with_their_logarithmic_bins() -> None:
    edges = np.concatenate([np.linspace(0.0, 0.0007, 5), np.geomspace(0.001, 1.0, 50)])
    plain = main_histograms(plausible_jets(50)).to_dict()
    old = [
        {**each, "edges": edges.tolist(), "sums": np.ones((3, 54)).tolist(), "squares": np.ones((3, 54)).tolist()}
        for each in plain.pop("logit")
    ]
    read = ScoreHistograms.from_dict({**plain, "log": old})
    assert read.logit[Label.SIGNAL].edges.tolist() == edges.tolist()
    with pytest.raises(ValueError, match="cannot be added"):
        read + main_histograms(plausible_jets(50))


def test_weights_and_their_squares_are_summed_by_hand() -> None:
    # The bins of the linear histogram are 1/29 = 0.0345 wide: 0.01 and 0.02 are in the first, 1.0 in the last.
    jets = jets_on_signal_output([0.01, 0.02, 1.0], [0.5], [], [2.0, 3.0, 5.0, 1.0])
    histogram = main_histograms(jets).linear[Label.SIGNAL]
    assert (histogram.output, histogram.classes) == ("sig", ("sig", "qcd", "bib"))
    assert histogram.sums[0, [0, 1, 28]].tolist() == [5, 0, 5]
    assert histogram.squares[0, [0, 28]].tolist() == [13, 25]
    assert histogram.jets.tolist() == [3, 1, 0]
    contents, errors = histogram["sig"].normalised()
    assert contents[[0, 28]] == pytest.approx([0.5, 0.5])
    assert errors[[0, 28]] == pytest.approx([np.sqrt(13) / 10, 0.5])


def test_a_class_without_jets_has_no_shape() -> None:
    histogram = main_histograms(jets_on_signal_output([0.5], [0.5], [])).logit[Label.QCD]
    contents, errors = histogram["bib"].normalised()
    assert np.isnan(contents).all()
    assert np.isnan(errors).all()


def test_contents_are_those_of_numpy() -> None:
    jets = plausible_jets(5000)
    histograms = main_histograms(jets)
    chosen = jets.labels == Label.QCD
    for edges, made in ((LINEAR_EDGES, histograms.linear), (LOGIT_EDGES, histograms.logit)):
        for output in Label:
            values, weights = jets.scores[chosen, output].astype(float), jets.weights[chosen]
            np.testing.assert_allclose(made[output].sums[1], np.histogram(values, edges, weights=weights)[0])
            np.testing.assert_allclose(made[output].squares[1], np.histogram(values, edges, weights=weights**2)[0])


def test_control_histograms_hold_data_and_mc_of_the_selected_jets() -> None:
    jets = plausible_control_jets(1000)
    low = jets.scaled_pt < 0.25
    histogram = control_histograms(jets, low).linear[Label.BIB]
    assert histogram.classes == ("data", "mc")
    assert histogram.jets.tolist() == [np.sum(low & jets.is_data), np.sum(low & ~jets.is_data)]
    assert histogram.sums[1].sum() == pytest.approx(jets.weights[low & ~jets.is_data].sum())
    assert control_histograms(jets).linear[Label.BIB].jets.sum() == 1000


def test_saved_histograms_come_back_number_for_number() -> None:
    before = main_histograms(plausible_jets(500))
    after = ScoreHistograms.from_dict(json.loads(json.dumps(before.to_dict())))
    for one, other in zip(before.linear + before.logit, after.linear + after.logit, strict=True):
        assert (one.output, one.classes) == (other.output, other.classes)
        for name in ("edges", "sums", "squares", "jets"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must fit"):
        ScoreHistogram("qcd", LINEAR_EDGES, ("a",), np.zeros((1, 28)), np.zeros((1, 28)), np.zeros(1, dtype=np.int64))


def test_histograms_of_pieces_add_up_to_those_of_all_jets() -> None:
    rng = np.random.default_rng(11)
    scores, weights, classes = rng.dirichlet(np.ones(3), 300), rng.uniform(size=300), rng.integers(0, 2, 300)
    parts = (np.arange(300) < 120, np.arange(300) >= 120)
    rows = [{name: np.flatnonzero((classes == i) & here) for i, name in enumerate("ab")} for here in parts]
    first, second = (histograms_by_class(scores, weights, each) for each in rows)
    whole = histograms_by_class(scores, weights, {name: np.flatnonzero(classes == i) for i, name in enumerate("ab")})
    total = first + second
    for binning in ("linear", "logit"):
        for one, other in zip(getattr(total, binning), getattr(whole, binning), strict=True):
            np.testing.assert_allclose(one.sums, other.sums)
            np.testing.assert_allclose(one.squares, other.squares)
            assert one.jets.tolist() == other.jets.tolist()


def test_a_class_that_only_one_of_two_histograms_has_stays_as_it_is() -> None:
    scores = np.random.default_rng(12).dirichlet(np.ones(3), 10)
    one = histograms_by_class(scores, np.ones(10), {"a": np.arange(4)})
    other = histograms_by_class(scores, np.ones(10), {"b": np.arange(4, 10)})
    total = (one + other).linear[0]
    assert total.classes == ("a", "b")
    assert total.jets.tolist() == [4, 6]
    np.testing.assert_array_equal(total.sums[1], other.linear[0].sums[0])


def test_a_histogram_has_sums_errors_and_shares_outside_its_bins() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    made = WeightedHistogram.filled(np.array([0.5, 2.0, 7.0]), np.array([2.0, 3.0, 5.0]), edges)
    assert (made.contents.tolist(), made.errors.tolist(), made.jets) == ([2.0, 3.0], [2.0, 3.0], 3)
    with_flow = WeightedHistogram(edges, np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4]), 4)
    assert with_flow.outside == (0.1, 0.4)
    with pytest.raises(ValueError, match="different bins"):
        made + WeightedHistogram.filled(np.zeros(0), np.zeros(0), 2 * edges)
