import numpy as np
import pytest

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.sample import NonFiniteInput, Sample


def test_one_heavy_jet_lowers_the_effective_number() -> None:
    # (1 + 1 + 2)^2 / (1 + 1 + 4) = 16 / 6
    assert Sample(np.zeros(3), np.array([1.0, 1.0, 2.0])).effective_number == pytest.approx(16 / 6)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([1.0, np.nan, np.inf], [1.0, 1.0, 1.0], "2 of 3 values"),
        ([1.0, 2.0, 3.0], [1.0, 1.0, -np.inf], "1 of 3 weights"),
    ],
)
def test_non_finite_input_is_refused_and_counted(values: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(NonFiniteInput, match=message) as caught:
        Sample(np.array(values), np.array(weights))
    assert isinstance(caught.value, UserError)


def test_values_and_weights_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="must be two equal"):
        Sample(np.zeros(3), np.zeros(2))
