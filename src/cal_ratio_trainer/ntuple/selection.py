"""Selection of jets: pt and eta cuts, signal jets by truth, BIB jets by their trigger jet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.ntuple.coordinates import Doubles, delta_r
from cal_ratio_trainer.ntuple.lists import Lists

MAX_LLP_DELTA_R = 0.4
USUAL_HLT_DELTA_R = 0.4
"""A trigger jet further than this from its jet most likely belongs to no jet that was kept."""

_BARREL_ETA = 1.4
_BARREL_LXY_MM = (1200.0, 4000.0)
_ENDCAP_LZ_MM = (3500.0, 6000.0)


@dataclass(frozen=True)
class Points:
    """Directions in the events of a chunk, in the order of the events.

    Attributes:
        event: [n] the event in the chunk, rising.
        eta, phi: [n] direction.
    """

    event: IndexArray
    eta: Doubles
    phi: Doubles

    def take(self, positions: IndexArray | NDArray[np.bool_]) -> "Points":
        """Some of them, in that order."""
        return Points(self.event[positions], self.eta[positions], self.phi[positions])

    def __len__(self) -> int:
        return len(self.event)


@dataclass(frozen=True)
class Matches:
    """Jets that belong to something, each once.

    Attributes:
        jet: [matches] position of the jet, rising.
        point: [matches] position of what it belongs to (the nearest, where several claim one jet).
        delta_r: [matches] distance between the two.
    """

    jet: IndexArray
    point: IndexArray
    delta_r: Doubles


def in_pt_range(jet_pt: NDArray[Any], min_jet_pt: float, max_jet_pt: float) -> NDArray[np.bool_]:
    """True for jets of min_jet_pt <= pt < max_jet_pt, in GeV."""
    result: NDArray[np.bool_] = (jet_pt >= min_jet_pt) & (jet_pt < max_jet_pt)
    return result


def hardest_first(jet_pt: Lists, kept: NDArray[np.bool_]) -> IndexArray:
    """Positions of the kept jets, event by event, in each event the highest pt first (equal ones as in the file)."""
    positions = np.flatnonzero(kept)
    order = np.lexsort((-jet_pt.values[positions], jet_pt.events()[positions]))
    result: IndexArray = positions[order]
    return result


def decays_in_calorimeter(eta: Doubles, lxy: Doubles, lz: Doubles) -> NDArray[np.bool_]:
    """True for long-lived particles that decay in the barrel (|eta| < 1.4) or end-cap calorimeter; lengths in mm."""
    central, forward = np.abs(eta) < _BARREL_ETA, np.abs(eta) > _BARREL_ETA
    length = np.abs(lz)
    in_barrel = central & (lxy > _BARREL_LXY_MM[0]) & (lxy < _BARREL_LXY_MM[1])
    in_endcap = forward & (length > _ENDCAP_LZ_MM[0]) & (length < _ENDCAP_LZ_MM[1])
    result: NDArray[np.bool_] = in_barrel | in_endcap
    return result


def match_to_jets(points: Points, jets: Points, max_delta_r: float | None) -> Matches:
    """For each point the nearest jet of its event; a jet that several points claim goes to the nearest of them.

    Args:
        points: what is matched, e.g. long-lived particles.
        jets: the jets that were kept.
        max_delta_r: the largest distance that counts (inclusive); None takes any.
    """
    point, jet, distance = _pairs(points, jets)
    nearest_jet = _first_of_each(point, distance)
    point, jet, distance = point[nearest_jet], jet[nearest_jet], distance[nearest_jet]
    if max_delta_r is not None:
        near = distance <= max_delta_r
        point, jet, distance = point[near], jet[near], distance[near]
    nearest_point = _first_of_each(jet, distance)
    return Matches(jet[nearest_point], point[nearest_point], distance[nearest_point])


def _pairs(points: Points, jets: Points) -> tuple[IndexArray, IndexArray, Doubles]:
    """All pairs of a point and a jet of the same event: positions of both, and their distance."""
    first = np.searchsorted(jets.event, points.event, side="left")
    counts = np.searchsorted(jets.event, points.event, side="right") - first
    point = np.repeat(np.arange(len(points), dtype=np.int64), counts)
    within = np.arange(len(point), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    jet = np.repeat(first, counts) + within
    return point, jet, delta_r(points.eta[point] - jets.eta[jet], points.phi[point] - jets.phi[jet])


def _first_of_each(group: IndexArray, distance: Doubles) -> IndexArray:
    """Positions of the smallest distance in each group, in the order of the groups (of equal ones the first)."""
    order = np.lexsort((distance, group))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = group[order][1:] != group[order][:-1]
    result: IndexArray = order[is_first]
    return result
