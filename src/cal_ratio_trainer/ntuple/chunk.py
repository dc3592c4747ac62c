"""Jets from one chunk of events: select, match, associate, put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.features import CLUSTERS, CONSTITUENTS, SCALAR_TYPES
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple import branches as names
from cal_ratio_trainer.ntuple import tally as counted
from cal_ratio_trainer.ntuple.association import JetTable, associate
from cal_ratio_trainer.ntuple.coordinates import Doubles, as_doubles
from cal_ratio_trainer.ntuple.lists import Column, Lists
from cal_ratio_trainer.ntuple.reading import Ntuple, lists_of, same_lengths
from cal_ratio_trainer.ntuple.request import Selection
from cal_ratio_trainer.ntuple.selection import (
    MAX_JET_ETA,
    MAX_LLP_DELTA_R,
    USUAL_HLT_DELTA_R,
    Matches,
    Points,
    decays_in_calorimeter,
    hardest_first,
    in_pt_range,
    match_to_jets,
)
from cal_ratio_trainer.ntuple.tally import Tally

_LLP_COLUMNS = dict(zip(names.LLPS, ("llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"), strict=True))


@dataclass(frozen=True)
class _Chunk:
    """The events of a chunk as read, without constituents.

    Attributes:
        columns: the branches of events and jets.
        jets: jet pt, eta, phi and cleaning flag, a list an event each.
        event: [all jets] the event in the chunk.
        index: [all jets] what constituents call the jet by.
        weights: [events] generator weights; ones for data.
    """

    file: str
    entries: range
    columns: dict[str, Column]
    jets: list[Lists]
    event: IndexArray
    index: IndexArray
    weights: Doubles


@dataclass(frozen=True)
class _Chosen:
    """The jets that are kept: positions among all jets of the chunk, and columns that the match gave, [kept jets]."""

    jets: IndexArray
    truth: Mapping[str, NDArray[Any]]

    def where(self, kept: NDArray[np.bool_]) -> "_Chosen":
        return _Chosen(self.jets[kept], {name: values[kept] for name, values in self.truth.items()})


def convert_chunk(ntuple: Ntuple, entries: range, selection: Selection, tally: Tally) -> Jets:
    """The kept jets of some entries, in the order of the events, in each event the hardest first.

    Args:
        ntuple: the open file; its branches have been checked.
        entries: which entries.
        selection: which jets to keep.
        tally: what is met on the way is added to it.

    Raises:
        InputFileError: the file is damaged, or branches do not fit each other.
    """
    chunk = _read(ntuple, entries, selection, tally)
    chosen = _choose(chunk, selection, tally)
    constituents = _constituents(ntuple, chunk, chosen, tally)
    has_clusters = constituents[CLUSTERS.name].lengths > 0
    tally.counts[counted.NO_CLUSTERS] += int((~has_clusters).sum())
    if not has_clusters.all():
        chosen = chosen.where(has_clusters)
        positions = np.flatnonzero(has_clusters)
        constituents = {name: ragged.take(positions) for name, ragged in constituents.items()}
    tally.add_step("with clusters", len(chosen.jets), chunk.event[chosen.jets], chunk.weights)
    return Jets.from_columns(_scalars(chunk, chosen, selection), constituents)


def no_jets() -> Jets:
    """A table without jets that has all columns of a converted file."""
    types = {name: pa.string() if pa.types.is_dictionary(kind) else kind for name, kind in SCALAR_TYPES.items()}
    columns = {name: pa.array([], kind) for name, kind in types.items()}
    return Jets.from_columns(columns, {kind.name: Ragged.empty(len(kind.features)) for kind in CONSTITUENTS})


def _read(ntuple: Ntuple, entries: range, selection: Selection, tally: Tally) -> _Chunk:
    data_type = selection.data_type
    optional = [name for name in (names.JET_INDEX, names.CHANNEL, names.WEIGHT) if name in ntuple.branches]
    wanted = dict.fromkeys([*names.event_branches(data_type), *optional, *selection.keep_branches])
    columns = ntuple.read(list(wanted), entries)
    jets = same_lengths(ntuple.file, columns, names.JETS)
    weights = as_doubles(_numbers(ntuple.file, columns, names.WEIGHT)) if data_type.is_simulation else None
    if weights is None and names.WEIGHT in columns:
        tally.counts[counted.WEIGHT_IN_DATA] += len(entries)
    chunk = _Chunk(
        file=ntuple.file,
        entries=entries,
        columns=columns,
        jets=jets,
        event=jets[0].events(),
        index=_jet_index(ntuple.file, columns, jets[0], tally),
        weights=np.ones(len(entries)) if weights is None else weights,
    )
    channels = _numbers(ntuple.file, columns, names.CHANNEL) if names.CHANNEL in columns else None
    tally.add_events(chunk.weights, _numbers(ntuple.file, columns, names.RUN), channels)
    tally.add_step("read", len(chunk.event), np.arange(len(entries)), chunk.weights)
    return chunk


def _jet_index(file: str, columns: dict[str, Column], jet_pt: Lists, tally: Tally) -> IndexArray:
    """What constituents call each jet by: its position in the event's list, unless nn_jet_index says otherwise."""
    position = np.arange(len(jet_pt.values), dtype=np.int64) - np.repeat(jet_pt.offsets[:-1], jet_pt.counts)
    if names.JET_INDEX not in columns:
        return position
    given = lists_of(file, columns, names.JET_INDEX)
    if not np.array_equal(given.offsets, jet_pt.offsets):
        raise InputFileError(file, f"branches {names.JET_PT} and {names.JET_INDEX} hold lists of different lengths")
    differs = given.values != position
    if not differs.any():
        return position
    tally.counts[counted.OTHER_JET_INDEX] += len(np.unique(jet_pt.events()[differs]))
    return given.values.astype(np.int64)


def _choose(chunk: _Chunk, selection: Selection, tally: Tally) -> _Chosen:
    pt, eta, phi, _ = chunk.jets
    in_range = in_pt_range(pt.values, selection.min_jet_pt, selection.max_jet_pt)
    tally.add_step("jet pt in range", int(in_range.sum()), chunk.event[in_range], chunk.weights)
    kept = hardest_first(pt, in_range & (np.abs(eta.values) <= MAX_JET_ETA))
    jets = Points(chunk.event[kept], as_doubles(eta.values[kept]), as_doubles(phi.values[kept]))
    tally.add_step("jet |eta| <= 2.5", len(kept), jets.event, chunk.weights)
    if selection.data_type is DataType.SIGNAL:
        return _matched_to_llp(chunk, kept, jets, tally)
    no_truth = {name: np.zeros(len(kept)) for name in _LLP_COLUMNS.values()}
    if selection.data_type is DataType.BIB:
        found = _matched_to_trigger(chunk, jets, selection.max_hlt_delta_r, tally)
        return _Chosen(kept[found.jet], {name: values[found.jet] for name, values in no_truth.items()})
    return _Chosen(kept, no_truth)


def _matched_to_llp(chunk: _Chunk, kept: IndexArray, jets: Points, tally: Tally) -> _Chosen:
    lists = same_lengths(chunk.file, chunk.columns, names.LLPS)
    pt, eta, phi, lxy, lz = (as_doubles(each.values) for each in lists)
    inside = np.flatnonzero(decays_in_calorimeter(eta, lxy, lz))
    llps = Points(lists[0].events(), eta, phi).take(inside)
    _add_step_of_events(tally, "event with a decay in the calorimeter", llps.event, jets.event, chunk)
    found = match_to_jets(llps, jets, MAX_LLP_DELTA_R)
    tally.add_step("jet matched to the decay", len(found.jet), jets.event[found.jet], chunk.weights)
    llp = inside[found.point]
    truth = {_LLP_COLUMNS[name]: values[llp] for name, values in zip(names.LLPS, (pt, eta, phi, lxy, lz), strict=True)}
    return _Chosen(kept[found.jet], truth)


def _matched_to_trigger(chunk: _Chunk, jets: Points, max_delta_r: float | None, tally: Tally) -> Matches:
    _, eta, phi, is_bib = same_lengths(chunk.file, chunk.columns, names.HLT_JETS)
    tagged = is_bib.values == 1
    trigger_jets = Points(eta.events(), as_doubles(eta.values), as_doubles(phi.values)).take(tagged)
    _add_step_of_events(tally, "event with a trigger jet tagged as BIB", trigger_jets.event, jets.event, chunk)
    found = match_to_jets(trigger_jets, jets, max_delta_r)
    tally.counts[counted.FAR_HLT_MATCHES] += int((found.delta_r > USUAL_HLT_DELTA_R).sum())
    tally.add_step("jet matched to the trigger jet", len(found.jet), jets.event[found.jet], chunk.weights)
    return found


def _add_step_of_events(tally: Tally, step: str, passing: IndexArray, jet_event: IndexArray, chunk: _Chunk) -> None:
    """Count the events among `passing` that still have jets, and those jets."""
    left = jet_event[np.isin(jet_event, passing)]
    tally.add_step(step, len(left), left, chunk.weights)


def _constituents(ntuple: Ntuple, chunk: _Chunk, chosen: _Chosen, tally: Tally) -> dict[str, Ragged]:
    if not len(chosen.jets):
        return {kind.name: Ragged.empty(len(kind.features)) for kind in CONSTITUENTS}
    axis = np.stack([as_doubles(chunk.jets[1].values[chosen.jets]), as_doubles(chunk.jets[2].values[chosen.jets])], 1)
    table = JetTable.of(chunk.event[chosen.jets], chunk.index[chosen.jets], len(chunk.entries), axis)
    result = {}
    for kind in CONSTITUENTS:
        columns = ntuple.read([kind.index_branch, *kind.branches], chunk.entries)
        same_lengths(ntuple.file, columns, kind.branches)
        result[kind.name] = associate(kind, columns, table)
        finite = np.isfinite(result[kind.name].values).all(axis=1)
        tally.counts[counted.NON_FINITE] += int((~finite).sum())
    return result


def _scalars(chunk: _Chunk, chosen: _Chosen, selection: Selection) -> dict[str, Any]:
    """The scalar columns, [kept jets] each; what is not known is null."""
    event, jets, data_type = chunk.event[chosen.jets], chosen.jets, selection.data_type
    is_signal = data_type is DataType.SIGNAL
    pt, eta, phi, clean = (each.values[jets] for each in chunk.jets)
    columns: dict[str, Any] = {
        "label": np.full(len(jets), data_type.label, dtype=np.int8),
        "jet_pt": pt,
        "jet_eta": eta,
        "jet_phi": phi,
        "eventNumber": _numbers(chunk.file, chunk.columns, names.EVENT)[event],
        "runNumber": _numbers(chunk.file, chunk.columns, names.RUN)[event],
        # Signal counts each jet once: the generator's weights are tiny and all the same.
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
        columns[names.CHANNEL] = _numbers(chunk.file, chunk.columns, names.CHANNEL)[event]
    return columns | _kept_branches(chunk, chosen, selection.keep_branches)


def _kept_branches(chunk: _Chunk, chosen: _Chosen, keep_branches: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    event, result = chunk.event[chosen.jets], {}
    for name in keep_branches:
        column = chunk.columns[name]
        if name in SCALAR_TYPES:
            continue
        if isinstance(column, Lists) and np.array_equal(column.offsets, chunk.jets[0].offsets):
            result[name] = column.values[chosen.jets]
        elif isinstance(column, np.ndarray):
            result[name] = column[event]
        else:
            raise InputFileError(
                chunk.file, f"branch {name} of keep_branches holds neither one number an event nor one a jet"
            )
    return result


def _numbers(file: str, columns: dict[str, Column], name: str) -> NDArray[Any]:
    column = columns[name]
    if not isinstance(column, np.ndarray):
        raise InputFileError(file, f"branch {name} holds lists, where one number an event is expected")
    return column
