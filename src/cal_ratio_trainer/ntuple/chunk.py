"""Jets from one chunk of events: cuts, choice by truth or trigger jets, constituents, table of jets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CLUSTERS, SCALAR_TYPES, Schema
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple import events as names
from cal_ratio_trainer.ntuple import summary as counted
from cal_ratio_trainer.ntuple.association import JetTable, associate, delta_r
from cal_ratio_trainer.ntuple.events import EventChunk, events_that_pass, jets_that_pass, read_events, whole_numbers_of
from cal_ratio_trainer.ntuple.reading import Doubles, Lists, Ntuple, as_doubles, check_index, same_lengths
from cal_ratio_trainer.ntuple.request import MAX_JET_ETA, JetSelection
from cal_ratio_trainer.ntuple.summary import Tally

MAX_LLP_DELTA_R = 0.4
USUAL_HLT_DELTA_R = 0.4
"""A trigger jet further than this from its jet most likely belongs to no jet that was kept."""

_BARREL_ETA = 1.4
_BARREL_LXY_MM = (1200.0, 4000.0)
_ENDCAP_LZ_MM = (3500.0, 6000.0)

_LLP_COLUMNS = dict(zip(names.LLPS, ("llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"), strict=True))


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
        point: [matches] position of what it belongs to (the nearest, if several claim one jet).
        delta_r: [matches] distance between the two.
    """

    jet: IndexArray
    point: IndexArray
    delta_r: Doubles


@dataclass(frozen=True)
class SelectedJets:
    """The jets that are kept, in the order of the events, in each event the hardest first.

    Attributes:
        jets: [kept jets] positions among all jets of the chunk.
        truth: columns of the long-lived particle, [kept jets] each; zeros if there is none.
    """

    jets: IndexArray
    truth: Mapping[str, NDArray[Any]]

    def where(self, kept: NDArray[np.bool_]) -> "SelectedJets":
        """Some of them."""
        return SelectedJets(self.jets[kept], {name: values[kept] for name, values in self.truth.items()})


def convert_chunk(ntuple: Ntuple, entries: range, selection: JetSelection, tally: Tally) -> Jets:
    """The kept jets of some entries, in the order of the events, in each event the hardest first.

    Args:
        ntuple: the open file; its branches have been checked.
        entries: numbers of the entries.
        selection: selection of jets.
        tally: tally to which counts are added.

    Raises:
        InputFileError: the file is damaged, or branches do not fit each other.
    """
    chunk = read_events(ntuple, entries, selection, tally)
    chosen = choose_jets(chunk, selection, tally)
    constituents = _constituents(ntuple, chunk, chosen, selection.schema, tally)
    has_clusters = constituents[CLUSTERS.name].lengths > 0
    tally.counts[counted.NO_CLUSTERS] += int((~has_clusters).sum())
    if not has_clusters.all():
        chosen = chosen.where(has_clusters)
        positions = np.flatnonzero(has_clusters)
        constituents = {name: ragged.take(positions) for name, ragged in constituents.items()}
    tally.add_step("with clusters", len(chosen.jets), chunk.event[chosen.jets], chunk.weights)
    return Jets.from_columns(_scalars(chunk, chosen, selection), constituents, selection.schema)


def choose_jets(chunk: EventChunk, selection: JetSelection, tally: Tally) -> SelectedJets:
    """Applies the selection to the events of a chunk; a jet comes once.

    Raises:
        InputFileError: branches of truth or trigger jets do not fit each other.
    """
    left = _after_event_cuts(chunk, selection, tally)
    pt, eta, phi, _ = chunk.jets
    left &= in_pt_range(pt.values, selection.min_jet_pt, selection.max_jet_pt)
    tally.add_step("jet pt in range", int(left.sum()), chunk.event[left], chunk.weights)
    left &= np.abs(eta.values) <= MAX_JET_ETA
    tally.add_step("jet |eta| <= 2.5", int(left.sum()), chunk.event[left], chunk.weights)
    for cut in selection.jet_cuts:
        left &= jets_that_pass(chunk, cut)
        tally.add_step(f"jets: {cut.name}", int(left.sum()), chunk.event[left], chunk.weights)
    kept = hardest_first(pt, left)
    jets = Points(chunk.event[kept], as_doubles(eta.values[kept]), as_doubles(phi.values[kept]))
    return _not_too_many(_of_data_type(chunk, kept, jets, selection, tally), chunk, selection, tally)


def _after_event_cuts(chunk: EventChunk, selection: JetSelection, tally: Tally) -> NDArray[np.bool_]:
    """For each jet whether its event is kept and it is as clean as asked for, [all jets]."""
    events = np.ones(len(chunk.entries), dtype=bool)
    for cut in selection.event_cuts:
        events &= events_that_pass(chunk, cut)
        tally.add_step(f"events: {cut.name}", int(events[chunk.event].sum()), np.flatnonzero(events), chunk.weights)
    left: NDArray[np.bool_] = events[chunk.event]
    if selection.require_clean_jets:
        left &= chunk.jets[3].values == 1
        tally.add_step("jet clean", int(left.sum()), chunk.event[left], chunk.weights)
    return left


def _of_data_type(
    chunk: EventChunk, kept: IndexArray, jets: Points, selection: JetSelection, tally: Tally
) -> SelectedJets:
    """The jets that belong to what the data type asks for: a decay, a tagged trigger jet, or nothing."""
    if selection.data_type is DataType.SIGNAL:
        return _matched_to_llp(chunk, kept, jets, tally)
    no_truth = {name: np.zeros(len(kept)) for name in _LLP_COLUMNS.values()}
    if selection.data_type is DataType.BIB:
        found = _matched_to_trigger(chunk, jets, selection.max_hlt_delta_r, tally)
        return SelectedJets(kept[found.jet], {name: values[found.jet] for name, values in no_truth.items()})
    return SelectedJets(kept, no_truth)


def _matched_to_llp(chunk: EventChunk, kept: IndexArray, jets: Points, tally: Tally) -> SelectedJets:
    lists = same_lengths(chunk.file, chunk.columns, names.LLPS)
    pt, eta, phi, lxy, lz = (as_doubles(each.values) for each in lists)
    inside = np.flatnonzero(decays_in_calorimeter(eta, lxy, lz))
    llps = Points(lists[0].events(), eta, phi).take(inside)
    _add_step_of_events(tally, "event with a decay in the calorimeter", llps.event, jets.event, chunk)
    found = match_to_jets(llps, jets, MAX_LLP_DELTA_R)
    tally.add_step("jet matched to the decay", len(found.jet), jets.event[found.jet], chunk.weights)
    llp = inside[found.point]
    truth = {_LLP_COLUMNS[name]: values[llp] for name, values in zip(names.LLPS, (pt, eta, phi, lxy, lz), strict=True)}
    return SelectedJets(kept[found.jet], truth)


def _matched_to_trigger(chunk: EventChunk, jets: Points, max_delta_r: float | None, tally: Tally) -> Matches:
    _, eta, phi, is_bib = same_lengths(chunk.file, chunk.columns, names.HLT_JETS)
    tagged = is_bib.values == 1
    trigger_jets = Points(eta.events(), as_doubles(eta.values), as_doubles(phi.values)).take(tagged)
    _add_step_of_events(tally, "event with a trigger jet tagged as BIB", trigger_jets.event, jets.event, chunk)
    found = match_to_jets(trigger_jets, jets, max_delta_r)
    tally.counts[counted.FAR_HLT_MATCHES] += int((found.delta_r > USUAL_HLT_DELTA_R).sum())
    tally.add_step("jet matched to the trigger jet", len(found.jet), jets.event[found.jet], chunk.weights)
    return found


def _add_step_of_events(tally: Tally, step: str, passing: IndexArray, jet_event: IndexArray, chunk: EventChunk) -> None:
    """Counts the events among `passing` that still have jets, and those jets."""
    left = jet_event[np.isin(jet_event, passing)]
    tally.add_step(step, len(left), left, chunk.weights)


def _not_too_many(chosen: SelectedJets, chunk: EventChunk, selection: JetSelection, tally: Tally) -> SelectedJets:
    """The hardest jets of each event only, if that was asked for."""
    if selection.max_jets_per_event is None:
        return chosen
    event = chunk.event[chosen.jets]
    rank = np.arange(len(event)) - np.searchsorted(event, event, side="left")
    chosen = chosen.where(rank < selection.max_jets_per_event)
    step = f"hardest {selection.max_jets_per_event} of the event"
    tally.add_step(step, len(chosen.jets), chunk.event[chosen.jets], chunk.weights)
    return chosen


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
        points: points to match, e.g. long-lived particles.
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


def _constituents(
    ntuple: Ntuple, chunk: EventChunk, chosen: SelectedJets, schema: Schema, tally: Tally
) -> dict[str, Ragged]:
    if not len(chosen.jets):
        return _no_constituents(schema)
    axis = np.stack([as_doubles(chunk.jets[1].values[chosen.jets]), as_doubles(chunk.jets[2].values[chosen.jets])], 1)
    table = JetTable.of(chunk.event[chosen.jets], chunk.index[chosen.jets], chunk.jets[0].offsets, axis)
    result = {}
    for kind in schema.constituents:
        columns = ntuple.read([kind.index_branch, *kind.branches], chunk.entries)
        same_lengths(ntuple.file, columns, kind.branches)
        check_index(ntuple.file, columns, kind.index_branch, kind.branches[0])
        result[kind.name], unknown = associate(kind, columns, table)
        tally.counts[counted.UNKNOWN_JETS] += unknown
        finite = np.isfinite(result[kind.name].values).all(axis=1)
        tally.counts[counted.NON_FINITE] += int((~finite).sum())
    return result


def no_jets(schema: Schema = CALRATIO_2019) -> Jets:
    """A table without jets that has all columns of a converted file."""
    types = {name: pa.string() if pa.types.is_dictionary(kind) else kind for name, kind in SCALAR_TYPES.items()}
    columns = {name: pa.array([], kind) for name, kind in types.items()}
    columns |= {name: pa.array([], pa.float32()) for name in schema.jet_columns if name not in columns}
    return Jets.from_columns(columns, _no_constituents(schema), schema)


def _no_constituents(schema: Schema) -> dict[str, Ragged]:
    return {kind.name: Ragged.empty(len(kind.features)) for kind in schema.constituents}


def _scalars(chunk: EventChunk, chosen: SelectedJets, selection: JetSelection) -> dict[str, Any]:
    """The scalar columns, [kept jets] each; what is not known is null."""
    event, jets, data_type = chunk.event[chosen.jets], chosen.jets, selection.data_type
    is_signal = data_type is DataType.SIGNAL
    pt, eta, phi, clean = (each.values[jets] for each in chunk.jets)
    columns: dict[str, Any] = {
        "label": np.full(len(jets), data_type.label, dtype=np.int8),
        "jet_pt": pt,
        "jet_eta": eta,
        "jet_phi": phi,
        "eventNumber": whole_numbers_of(chunk.file, chunk.columns, names.EVENT)[event],
        "runNumber": whole_numbers_of(chunk.file, chunk.columns, names.RUN)[event],
        # Every signal jet has weight 1: the generator's weights are tiny and all equal.
        "mcEventWeight": chunk.weights[event] if data_type is DataType.QCD else np.ones(len(jets)),
        "llp_mH": np.full(len(jets), selection.llp_mH if is_signal else 0.0),
        "llp_mS": np.full(len(jets), selection.llp_mS if is_signal else 0.0),
        **chosen.truth,
        "jet_isClean_LooseBadLLP": clean,
        "source_file": pa.DictionaryArray.from_arrays(np.zeros(len(jets), dtype=np.int32), [chunk.file]),
        "source_entry": chunk.entries.start + event,
        "jet_index": jets - chunk.jets[0].offsets[event],
        names.CHANNEL: pa.nulls(len(jets), SCALAR_TYPES[names.CHANNEL]),
    }
    if names.CHANNEL in chunk.columns:
        columns[names.CHANNEL] = whole_numbers_of(chunk.file, chunk.columns, names.CHANNEL)[event]
    for name, branch in zip(selection.schema.jet_columns[3:], selection.schema.jet_branches[3:], strict=True):
        columns[name] = _per_jet(chunk, chosen, branch, "the schema").astype(np.float32)
    kept = [name for name in selection.keep_branches if name not in SCALAR_TYPES and name not in columns]
    return columns | {name: _per_jet(chunk, chosen, name, "keep_branches") for name in kept}


def _per_jet(chunk: EventChunk, chosen: SelectedJets, branch: str, asked_by: str) -> NDArray[Any]:
    """A branch of one number per jet or per event, [kept jets]. Raises InputFileError if it is neither."""
    column = chunk.columns[branch]
    if isinstance(column, Lists) and np.array_equal(column.offsets, chunk.jets[0].offsets):
        return column.values[chosen.jets]
    if isinstance(column, np.ndarray):
        return column[chunk.event[chosen.jets]]
    raise InputFileError(
        chunk.file, f"branch {branch} of {asked_by} holds neither one number per event nor one per jet"
    )
