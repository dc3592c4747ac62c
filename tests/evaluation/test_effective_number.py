"""Effective sample size of weighted jets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.scored import effective_number, effective_number_of


def test_equal_weights_count_every_jet_whatever_their_scale() -> None:
    assert effective_number(np.full(7, 0.03)) == pytest.approx(7)
    assert effective_number(np.full(7, 3.0)) == pytest.approx(7)


def test_jets_without_weight_do_not_count() -> None:
    assert effective_number(np.array([1.0, 0.0])) == pytest.approx(1)


def test_no_jets_and_no_weight_have_no_effective_number() -> None:
    assert effective_number(np.zeros(0)) == 0
    assert effective_number(np.zeros(3)) == 0


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_it_lies_between_one_and_all_jets_and_follows_from_the_sums(weights: list[float]) -> None:
    number = effective_number(np.array(weights))
    assert 1 - 1e-9 <= number <= len(weights) + 1e-9
    assert number == pytest.approx(effective_number_of(sum(weights), sum(weight**2 for weight in weights)))
