"""Cuts at their edges, and matching."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_ratio_trainer.ntuple.chunk import (
    Points,
    decays_in_calorimeter,
    hardest_first,
    in_pt_range,
    match_to_jets,
)
from cal_ratio_trainer.ntuple.reading import Lists


def points(*places: tuple[int, float, float]) -> Points:
    """Points from event, eta and phi of each."""
    events = np.array([place[0] for place in places], dtype=np.int64)
    angles = np.array([place[1:] for place in places], dtype=np.float64).reshape(-1, 2)
    return Points(events, angles[:, 0], angles[:, 1])


def test_the_smallest_pt_is_kept_and_the_largest_is_not() -> None:
    pt = np.array([39.999, 40.0, 499.999, 500.0, math.nan])
    assert in_pt_range(pt, 40, 500).tolist() == [False, True, True, False, False]


def test_jets_come_hardest_first_in_each_event_and_equal_ones_as_in_the_file() -> None:
    pt = Lists(np.array([50.0, 70.0, 60.0, 70.0, 90.0]), np.array([0, 4, 4, 5]))
    kept = np.array([True, True, False, True, True])
    assert hardest_first(pt, kept).tolist() == [1, 3, 0, 4]


@pytest.mark.parametrize(
    ("eta", "lxy", "lz", "inside"),
    [
        (0.0, 1200.0, 0.0, False),
        (0.0, 1200.1, 0.0, True),
        (-1.39, 3999.9, 0.0, True),
        (0.0, 4000.0, 5000.0, False),
        (1.4, 2000.0, 4000.0, False),
        (1.41, 2000.0, 3500.0, False),
        (1.41, 2000.0, -3500.1, True),
        (-2.0, 0.0, 5999.9, True),
        (-2.0, 0.0, -6000.0, False),
    ],
)
def test_a_decay_is_in_the_calorimeter_strictly_within_its_edges(
    eta: float, lxy: float, lz: float, inside: bool
) -> None:
    assert decays_in_calorimeter(np.array([eta]), np.array([lxy]), np.array([lz])).tolist() == [inside]


def test_the_largest_distance_still_counts() -> None:
    jets = points((0, 0.0, 0.0))
    assert len(match_to_jets(points((0, 0.4, 0.0)), jets, 0.4).jet) == 1
    assert len(match_to_jets(points((0, math.nextafter(0.4, 1), 0.0)), jets, 0.4).jet) == 0


def test_only_jets_of_the_same_event_match() -> None:
    found = match_to_jets(points((0, 0.0, 0.0), (2, 0.0, 0.0)), points((0, 3.0, 0.0), (1, 0.0, 0.0)), None)
    assert found.jet.tolist() == [0]
    assert found.point.tolist() == [0]
    assert found.delta_r.tolist() == [3.0]


def test_nothing_matches_nothing() -> None:
    assert len(match_to_jets(points(), points((0, 0.0, 0.0)), None).jet) == 0
    assert len(match_to_jets(points((0, 0.0, 0.0)), points(), None).jet) == 0


PLACES = st.lists(st.tuples(st.integers(0, 3), st.floats(-3, 3), st.floats(-3.2, 3.2)), max_size=8).map(
    lambda places: points(*sorted(places, key=lambda place: place[0]))
)


@given(PLACES, PLACES)
def test_a_jet_is_matched_once_and_by_a_point_whose_nearest_it_is(given_points: Points, jets: Points) -> None:
    found = match_to_jets(given_points, jets, None)
    assert len(set(found.jet.tolist())) == len(found.jet)
    assert found.jet.tolist() == sorted(found.jet.tolist())
    for jet, point, distance in zip(found.jet, found.point, found.delta_r, strict=True):
        same_event = np.flatnonzero(jets.event == given_points.event[point])
        for other in same_event:
            phi = math.remainder(jets.phi[other] - given_points.phi[point], 2 * math.pi)
            assert distance <= math.hypot(jets.eta[other] - given_points.eta[point], phi) + 1e-9
        assert jet in same_event
    # Every point whose event has jets is matched to one, so every event with both has a match.
    assert set(jets.event[found.jet].tolist()) == set(jets.event.tolist()) & set(given_points.event.tolist())
