"""Points of the Pareto front."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.pareto import pareto_front

coordinate = st.sampled_from([0.0, 0.5, 1.0, math.nan]) | st.floats(0, 1)


def test_the_front_runs_from_the_highest_first_to_the_lowest_second_figure() -> None:
    assert pareto_front([(0.85, 0.2), (0.95, 0.9), (0.89, 0.6), (0.90, 0.5)]) == [1, 3, 0]


def test_of_equal_points_the_earliest_is_on_the_front() -> None:
    assert pareto_front([(0.5, 0.5), (0.9, 0.3), (0.9, 0.3)]) == [1]


def test_points_that_are_not_known_are_passed_over() -> None:
    assert pareto_front([(math.nan, 0.0), (0.9, math.inf), (0.1, 0.9)]) == [2]
    assert pareto_front([]) == []


@given(points=st.lists(st.tuples(coordinate, coordinate), max_size=15))
@settings(max_examples=100, deadline=None)
def test_a_point_is_on_the_front_exactly_when_no_other_is_better(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    known = [point for point in points if all(map(math.isfinite, point))]
    unbeaten = {
        point
        for point in known
        if not any(high >= point[0] and low <= point[1] and (high, low) != point for high, low in known)
    }
    assert {points[position] for position in front} == unbeaten
    assert len(front) == len(unbeaten)
