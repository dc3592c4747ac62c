"""The branches of `trees_DV_`: names and types as in DiVertAnalysis ntuples, from simulated events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.assembly import FullEvents
from cal_ratio_trainer.simulation.draws import IntArray
from cal_ratio_trainer.simulation.lists import Lists

_SINGLE_PRECISION = frozenset({"clus_time", "track_chiSquared", "MSeg_t0", "MSeg_chiSquared"})
_INTEGERS = {
    "jet_isClean_LooseBadLLP": np.int8,
    "nn_jet_index": np.int32,
    "cluster_jetIndex": np.int32,
    "track_jetIndex": np.int32,
    "MSeg_jetIndex": np.int32,
    "HLT_jet_isBIB": np.int32,
    "runNumber": np.uint32,
    "mcChannelNumber": np.uint32,
    "eventNumber": np.uint64,
    "mcEventWeight": np.float32,
    "pileupWeight": np.float32,
    "actualInteractionsPerCrossing": np.float32,
}


@dataclass(frozen=True)
class Extras:
    """What an ntuple holds beside the jets and their constituents.

    Attributes:
        of_jets: further columns of the jets by branch name, [jets].
        of_events: numbers of the events by branch name, [events].
        lists: further lists of the events; the key is the prefix of the branch names ('llp', 'HLT_jet').
    """

    of_jets: Mapping[str, NDArray[Any]]
    of_events: Mapping[str, NDArray[Any]]
    lists: Mapping[str, Lists]


def branches(events: FullEvents, extras: Extras) -> ak.Array:
    """All branches as one record array [events]."""
    fields: dict[str, ak.contents.Content] = {}
    for prefix, content in {"jet": events.jets, **extras.lists}.items():
        for name, column in content.columns.items():
            fields[f"{prefix}_{name}"] = _list(f"{prefix}_{name}", column, content.counts)
    for name, column in extras.of_jets.items():
        fields[name] = _list(name, column, events.jets.counts)
    fields |= _constituents(events)
    fields |= {name: ak.contents.NumpyArray(_typed(name, column)) for name, column in extras.of_events.items()}
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields)))


def _constituents(events: FullEvents) -> dict[str, ak.contents.Content]:
    fields: dict[str, ak.contents.Content] = {}
    for prefix, lists in (("clus", events.clusters), ("track", events.tracks), ("MSeg", events.muon_segments)):
        for name, column in lists.columns.items():
            if name != "jetIndex":
                fields[f"{prefix}_{name}"] = _list(f"{prefix}_{name}", column, lists.counts)
    fields["cluster_jetIndex"] = _list("cluster_jetIndex", events.clusters.columns["jetIndex"], events.clusters.counts)
    one_each = np.ones(len(events.tracks.columns["jetIndex"]), np.int64)
    tracks = _list("track_jetIndex", events.tracks.columns["jetIndex"], one_each)
    fields["track_jetIndex"] = _nested(tracks, events.tracks.counts)
    segments = _list("MSeg_jetIndex", events.segment_jets.columns["jetIndex"], events.segment_jets.counts)
    fields["MSeg_jetIndex"] = _nested(segments, events.muon_segments.counts)
    return fields


def _typed(name: str, column: NDArray[Any]) -> NDArray[Any]:
    kind: type = _INTEGERS.get(name, np.float32 if name in _SINGLE_PRECISION else np.float64)
    if name.startswith("pass_"):
        kind = np.int32
    return np.ascontiguousarray(column, dtype=kind)


def _list(name: str, column: NDArray[Any], counts: IntArray) -> ak.contents.Content:
    return _nested(ak.contents.NumpyArray(_typed(name, column)), counts)


def _nested(content: ak.contents.Content, counts: IntArray) -> ak.contents.Content:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
