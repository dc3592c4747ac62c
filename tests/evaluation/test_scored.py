import numpy as np
import pytest

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.scored import NonFiniteInput, WeightedSample
from cal_ratio_trainer.jets.labels import Label

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 1, 2], dtype=np.int8)


def test_a_sample_holds_the_jets_of_one_label_with_one_output() -> None:
    jets = ScoredJets(SCORES, LABELS, np.array([1.0, 2.0, 3.0, 4.0]))
    sample = jets.sample(Label.SIGNAL, Label.BIB)
    np.testing.assert_array_equal(sample.values, [0.3, 0.3])
    np.testing.assert_array_equal(sample.weights, [2.0, 3.0])


def test_masses_are_those_of_signal_jets_only() -> None:
    jets = ScoredJets(SCORES, LABELS, np.ones(4), {"mH": np.array([0.0, 600.0, 125.0, np.nan])})
    assert jets.higgs_masses == (125.0, 600.0)
    assert len(jets.signal_sample(600.0)) == 1


def test_a_sample_without_masses_has_none() -> None:
    assert ScoredJets(SCORES, LABELS, np.ones(4)).higgs_masses == ()


def test_scores_that_are_not_finite_are_refused() -> None:
    scores = SCORES.copy()
    scores[2] = np.nan
    with pytest.raises(NonFiniteInput, match="3 of 12 scores"):
        ScoredJets(scores, LABELS, np.ones(4))


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="labels must be"):
        ScoredJets(SCORES, np.array([0, 1, 2, 3]), np.ones(4))


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        ScoredJets(SCORES, LABELS, np.ones(4), {"mH": np.ones(3)})
    with pytest.raises(ValueError, match="must be"):
        ScoredJets.control(SCORES, np.ones(3, dtype=np.bool_), np.ones(4), np.ones(4))


def test_data_must_be_told_by_booleans() -> None:
    # Labels passed by mistake would be used as positions.
    with pytest.raises(ValueError, match="boolean"):
        ScoredJets.control(SCORES, LABELS, np.ones(4), np.ones(4))  # type: ignore[arg-type]


def test_one_heavy_jet_lowers_the_effective_number() -> None:
    # (1 + 1 + 2)^2 / (1 + 1 + 4) = 16 / 6
    assert WeightedSample(np.zeros(3), np.array([1.0, 1.0, 2.0])).effective_number == pytest.approx(16 / 6)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([1.0, np.nan, np.inf], [1.0, 1.0, 1.0], "2 of 3 values"),
        ([1.0, 2.0, 3.0], [1.0, 1.0, -np.inf], "1 of 3 weights"),
    ],
)
def test_non_finite_input_is_refused_and_counted(values: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(NonFiniteInput, match=message) as caught:
        WeightedSample(np.array(values), np.array(weights))
    assert isinstance(caught.value, UserError)


def test_values_and_weights_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="must be two equal"):
        WeightedSample(np.zeros(3), np.zeros(2))
