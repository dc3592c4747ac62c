"""Tiny DiVertAnalysis files, made on the fly: an RNTuple `trees_DV_` with the real names and types."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import awkward as ak
import hist
import numpy as np
import uproot
import xxhash
from uproot.writing import _cascadentuple

from cal_ratio_trainer.jets.schema import CALRATIO_2019, CLUSTERS, MUON_SEGMENTS, TRACKS, Constituent, Schema
from cal_ratio_trainer.ntuple.events import CHANNEL, EVENT, HLT_JETS, JET_CLEAN, JET_INDEX, LLPS, RUN, WEIGHT

_SINGLE_PRECISION = ("clus_time", "track_chiSquared", "MSeg_t0", "MSeg_chiSquared")


@dataclass(frozen=True)
class Thing:
    """Cluster, track or segment: its jets, and its features by name (others are 0)."""

    jets: tuple[int, ...]
    features: dict[str, float]


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        jets: pt, eta, phi of each jet.
        things: Constituents by the name of their kind.
        llps: pt, eta, phi, Lxy, Lz of each.
        trigger_jets: pt, eta, phi, isBIB of each.
        jet_index: Content of `nn_jet_index` if it is not the position.
        further: Additional branches: a number, or a list with one number per jet.
    """

    jets: Sequence[tuple[float, float, float]] = ()
    things: dict[str, list[Thing]] = field(default_factory=dict)
    llps: Sequence[tuple[float, float, float, float, float]] = ()
    trigger_jets: Sequence[tuple[float, float, float, int]] = ()
    number: int = 1
    weight: float = 1.0
    jet_index: tuple[int, ...] | None = None
    further: dict[str, Any] = field(default_factory=dict)


def cluster(jet: int, pt: float = 1000.0, eta: float = 0.0, phi: float = 0.0, **features: float) -> Thing:
    """A cluster; pt in MeV."""
    return Thing((jet,), {"pt": pt, "eta": eta, "phi": phi, **features})


def track(*jets: int, pt: float = 1.0, eta: float = 0.0, phi: float = 0.0, **features: float) -> Thing:
    """A track; pt in GeV."""
    return Thing(jets, {"pt": pt, "eta": eta, "phi": phi, **features})


def segment(*jets: int, etaPos: float = 0.0, phiPos: float = 0.0, **features: float) -> Thing:
    """A muon segment."""
    return Thing(jets, {"etaPos": etaPos, "phiPos": phiPos, **features})


def event(
    *jets: tuple[float, float, float],
    clusters: Sequence[Thing] | None = None,
    tracks: Sequence[Thing] = (),
    segments: Sequence[Thing] = (),
    **others: Any,
) -> Event:
    """Event; by default each jet has one cluster at its own position."""
    if clusters is None:
        clusters = [cluster(number, eta=jet[1], phi=jet[2]) for number, jet in enumerate(jets)]
    kinds = {CLUSTERS.name: list(clusters), TRACKS.name: list(tracks), MUON_SEGMENTS.name: list(segments)}
    return Event(jets=jets, things=kinds, **others)


def random_events(seed: int, events: int) -> list[Event]:
    """Events with all features: jets around the cuts, unmatched and shared constituents, decays, trigger jets."""
    random = np.random.default_rng(seed)
    return [replace(_random_event(random), number=number) for number in range(events)]


class _PageWithChecksum(_cascadentuple.NTuple_PageDescription):  # type: ignore[misc]
    def serialize(self) -> bytes:
        size: int = -self.num_entries
        locator: bytes = self.locator.serialize()
        return struct.pack("<i", size) + locator


def _with_checksum(tree: Any, sink: Any, raw_data: Any, uncompressed_bytes: int) -> Any:
    raw_data = bytes(raw_data)
    return _ADD_BLOB(tree, sink, raw_data + xxhash.xxh3_64_digest(raw_data)[::-1], uncompressed_bytes)


_ADD_BLOB = _cascadentuple.NTuple.add_rblob


@contextmanager
def page_checksums() -> Iterator[None]:
    """Adds a checksum after each page of RNTuples written in this block, as ROOT does; uproot writes none."""
    with (
        patch.object(_cascadentuple, "NTuple_PageDescription", _PageWithChecksum),
        patch.object(_cascadentuple.NTuple, "add_rblob", _with_checksum),
    ):
        yield


def write_ntuple(
    path: Path,
    events: Sequence[Event],
    without: Iterable[str] = (),
    event_count: dict[str, float] | None = None,
    simulation: str | None = None,
    splits: Sequence[int] = (),
    checksums: bool = True,
    schema: Schema = CALRATIO_2019,
) -> Path:
    """Writes events.

    Args:
        path: the file.
        events: Content of the file.
        without: branches to leave out, e.g. of data.
        event_count: labels and contents of `MetaData_EventCount`.
        simulation: String that names the simulation.
        splits: Boundaries between clusters of the RNTuple, increasing.
        checksums: Whether each page has a checksum.
        schema: Features of constituents that have branches.
    """
    edges = [0, *splits, len(events)]
    with page_checksums() if checksums else nullcontext(), uproot.recreate(path) as file:
        if event_count is not None:
            axis = hist.axis.StrCategory(list(event_count), name="bin")
            file["MetaData_EventCount"] = hist.Hist(axis, data=np.array(list(event_count.values())))
        if simulation is not None:
            file["cal_ratio_trainer_simulation"] = simulation
        tree = None
        for start, stop in pairwise(edges):
            columns = _columns(events[start:stop], set(without), schema)
            array = ak.zip(columns, depth_limit=1)
            if tree is None:
                tree = file.mkrntuple("trees_DV_", array)
            else:
                tree.extend(array)
    return path


def _columns(events: Sequence[Event], without: set[str], schema: Schema) -> dict[str, Any]:
    columns: dict[str, Any] = {
        RUN: np.full(len(events), 284500, dtype=np.uint32),
        EVENT: np.array([each.number for each in events], dtype=np.uint64),
        CHANNEL: np.full(len(events), 361020, dtype=np.uint32),
        WEIGHT: np.array([each.weight for each in events], dtype=np.float32),
    }
    columns |= _tuples(
        (*CALRATIO_2019.jet_branches, JET_CLEAN), [[(*jet, 1) for jet in each.jets] for each in events], (8, 8, 8, 1)
    )
    positions = [tuple(range(len(each.jets))) if each.jet_index is None else each.jet_index for each in events]
    columns[JET_INDEX] = _lists(positions, np.int32)
    columns |= _tuples(LLPS, [each.llps for each in events], (8, 8, 8, 8, 8))
    columns |= _tuples(HLT_JETS, [each.trigger_jets for each in events], (8, 8, 8, 4))
    for kind in schema.constituents:
        columns |= _constituents(kind, [each.things.get(kind.name, []) for each in events])
    for name in events[0].further if events else ():
        values = [each.further[name] for each in events]
        columns[name] = (
            _lists(values, np.float64)
            if isinstance(values[0], list)
            else ak.Array(values if isinstance(values[0], str) else np.array(values))
        )
    return {name: values for name, values in columns.items() if name not in without}


def _constituents(kind: Constituent, events: list[list[Thing]]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for branch, feature in zip(kind.branches, kind.features, strict=True):
        kept_as = np.float32 if branch in _SINGLE_PRECISION else np.float64
        columns[branch] = _lists(
            [[each.features.get(feature.name, 0.0) for each in things] for things in events], kept_as
        )
    if kind.name == CLUSTERS.name:
        columns[kind.index_branch] = _lists([[each.jets[0] for each in things] for things in events], np.int32)
    else:
        inner = _lists([each.jets for things in events for each in things], np.int32)
        columns[kind.index_branch] = ak.unflatten(inner, np.array([len(things) for things in events], dtype=np.int64))
    return columns


def _tuples(
    names: Sequence[str], events: Sequence[Sequence[tuple[float, ...]]], sizes: Sequence[int]
) -> dict[str, Any]:
    kinds = {8: np.float64, 4: np.int32, 1: np.int8}
    return {
        name: _lists([[each[number] for each in things] for things in events], kinds[size])
        for number, (name, size) in enumerate(zip(names, sizes, strict=True))
    }


def _lists(values: Sequence[Sequence[float]], kept_as: Any) -> Any:
    flat = np.array([number for each in values for number in each], dtype=kept_as)
    return ak.unflatten(flat, np.array([len(each) for each in values], dtype=np.int64))


def _random_event(random: np.random.Generator) -> Event:
    jets = [
        (float(random.uniform(20, 560)), float(random.uniform(-2.8, 2.8)), float(random.uniform(-np.pi, np.pi)))
        for _ in range(random.integers(0, 7))
    ]
    clusters = (
        [_random_thing(random, CLUSTERS, (int(random.integers(-1, len(jets))),)) for _ in range(40)] if jets else []
    )
    return Event(
        jets=jets,
        things={
            CLUSTERS.name: clusters,
            TRACKS.name: [_random_thing(random, TRACKS, _owners(random, len(jets), 1)) for _ in range(30)],
            MUON_SEGMENTS.name: [
                _random_thing(random, MUON_SEGMENTS, _owners(random, len(jets), 3)) for _ in range(60)
            ],
        },
        llps=[
            (50.0, *_near(random, jets), float(random.uniform(0, 5000)), float(random.uniform(-7000, 7000)))
            for _ in "ab"
        ],
        trigger_jets=[(60.0, *_near(random, jets), int(random.integers(0, 2))) for _ in range(random.integers(0, 3))],
        weight=float(np.float32(random.uniform(0, 3))),
        further={"perEvent": float(random.normal()), "perJet": random.normal(size=len(jets)).tolist()},
    )


def _random_thing(random: np.random.Generator, kind: Constituent, jets: tuple[int, ...]) -> Thing:
    values = {feature.name: float(np.float32(random.normal(scale=3))) for feature in kind.features}
    # Few different values, so that the order of equal ones is tested too.
    return Thing(jets, values | {"pt": float(random.integers(1, 30))})


def _owners(random: np.random.Generator, jets: int, most: int) -> tuple[int, ...]:
    chosen = random.permutation(jets)[: random.integers(0, most + 1)]
    return tuple(sorted(chosen.tolist())) or (-1,)


def _near(random: np.random.Generator, jets: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Direction, mostly close to a jet, sometimes beyond pi."""
    if not jets or random.random() < 0.3:
        return float(random.uniform(-3, 3)), float(random.uniform(-np.pi, np.pi))
    _, eta, phi = jets[int(random.integers(0, len(jets)))]
    return float(eta + random.normal(scale=0.2)), float(phi + random.normal(scale=0.2))
