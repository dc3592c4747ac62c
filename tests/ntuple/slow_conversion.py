"""Rules of the conversion, event by event in plain Python, as a reference for the fast code."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CLUSTERS, CONSTITUENTS, MUON_SEGMENTS, Constituent
from tests.factories.ntuples import Event, Thing


@dataclass(frozen=True)
class SlowJet:
    """Expected jet."""

    event_number: int
    index: int
    pt: float
    weight: float
    llp_pt_eta_phi_lxy_lz: tuple[float, ...]
    constituents: dict[str, list[list[float]]]


def slow_conversion(events: Sequence[Event], data_type: DataType) -> list[SlowJet]:
    """The jets of all events with cuts 40-500 GeV and no limit on the distance to trigger jets."""
    return [jet for event in events for jet in _jets_of(event, data_type) if jet.constituents[CLUSTERS.name]]


def _jets_of(event: Event, data_type: DataType) -> list[SlowJet]:
    kept = [i for i, (pt, eta, _) in enumerate(event.jets) if 40 <= pt < 500 and abs(eta) <= 2.5]
    kept.sort(key=lambda i: -event.jets[i][0])
    truth: dict[int, tuple[float, ...]] = dict.fromkeys(kept, (0.0,) * 5)
    if data_type is DataType.SIGNAL:
        decays = [llp for llp in event.llps if _in_calorimeter(llp[1], llp[3], llp[4])]
        found = _matched(event, kept, [llp[1:3] for llp in decays], 0.4)
        truth = {jet: decays[point] for jet, point in found.items()}
    if data_type is DataType.BIB:
        tagged = [each[1:3] for each in event.trigger_jets if each[3] == 1]
        truth = dict.fromkeys(_matched(event, kept, tagged, math.inf), (0.0,) * 5)
    weight = event.weight if data_type is DataType.QCD else 1.0
    return [
        SlowJet(
            event.number,
            jet,
            event.jets[jet][0],
            weight,
            truth[jet],
            {kind.name: _constituents(event, jet, kind) for kind in CONSTITUENTS},
        )
        for jet in kept
        if jet in truth
    ]


def _in_calorimeter(eta: float, lxy: float, lz: float) -> bool:
    if abs(eta) < 1.4:
        return 1200 < lxy < 4000
    return abs(eta) > 1.4 and 3500 < abs(lz) < 6000


def _matched(event: Event, kept: list[int], points: Sequence[tuple[float, float]], most: float) -> dict[int, int]:
    """Jet -> nearest of the points whose nearest jet it is."""
    best: dict[int, tuple[float, int]] = {}
    for number, (eta, phi) in enumerate(points):
        distances = [(math.hypot(eta - event.jets[i][1], _wrap(phi - event.jets[i][2])), i) for i in kept]
        if distances:
            distance, jet = min(distances, key=lambda pair: pair[0])
            if distance <= most and (jet not in best or distance < best[jet][0]):
                best[jet] = (distance, number)
    return {jet: number for jet, (_, number) in best.items()}


def _constituents(event: Event, jet: int, kind: Constituent) -> list[list[float]]:
    own: list[Thing] = [each for each in event.things[kind.name] if jet in each.jets]
    if kind is not MUON_SEGMENTS:
        own.sort(key=lambda each: -each.features["pt"])
    own = own[: kind.limit]
    _, eta, phi = event.jets[jet]
    if kind is CLUSTERS and own:
        eta, phi = own[0].features["eta"], own[0].features["phi"]
    rows = []
    for each in own:
        row = {feature.name: each.features[feature.name] for feature in kind.features}
        for name in row:
            if name in ("eta", "etaPos"):
                row[name] -= eta
            if name in ("phi", "phiPos", "phiDir"):
                row[name] = _wrap(row[name] - phi)
        rows.append(list(row.values()))
    return rows


def _wrap(angle: float) -> float:
    while angle >= math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle
