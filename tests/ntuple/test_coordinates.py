"""Angles."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cal_ratio_trainer.ntuple.association import delta_r, wrapped


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_wrapped_angles_lie_within_a_turn_and_point_the_same_way(angles: list[float]) -> None:
    given_angles = np.array(angles)
    result = wrapped(given_angles)
    assert np.all((result >= -math.pi) & (result < math.pi))
    np.testing.assert_allclose(np.exp(1j * result), np.exp(1j * given_angles), atol=1e-12)


def test_the_edges_belong_to_the_lower_end() -> None:
    just_below = math.nextafter(-math.pi, -4)
    assert wrapped(np.array([math.pi, -math.pi, just_below, 3 * math.pi])).max() < math.pi


@given(st.floats(-math.pi, math.nextafter(math.pi, 0)))
def test_an_angle_within_the_turn_is_not_touched(angle: float) -> None:
    assert wrapped(np.array([angle])).tolist() == [angle]


def test_the_distance_goes_the_short_way_round() -> None:
    assert delta_r(np.array([0.3]), np.array([2 * math.pi - 0.4])).round(12).tolist() == [0.5]
