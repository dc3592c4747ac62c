"""Jets from one chunk of events: choose them, give them their constituents, put the table together."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CLUSTERS, SCALAR_TYPES, Schema
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple import branches as names
from cal_ratio_trainer.ntuple import tally as counted
from cal_ratio_trainer.ntuple.association import JetTable, associate
from cal_ratio_trainer.ntuple.events import EventChunk, read_events, whole_numbers_of
from cal_ratio_trainer.ntuple.jet_choice import ChosenJets, choose_jets
from cal_ratio_trainer.ntuple.reading import Lists, Ntuple, as_doubles, check_index, same_lengths
from cal_ratio_trainer.ntuple.request import Selection
from cal_ratio_trainer.ntuple.tally import Tally


def convert_chunk(ntuple: Ntuple, entries: range, selection: Selection, tally: Tally) -> Jets:
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


def no_jets(schema: Schema = CALRATIO_2019) -> Jets:
    """A table without jets that has all columns of a converted file."""
    types = {name: pa.string() if pa.types.is_dictionary(kind) else kind for name, kind in SCALAR_TYPES.items()}
    columns = {name: pa.array([], kind) for name, kind in types.items()}
    columns |= {name: pa.array([], pa.float32()) for name in schema.jet_columns if name not in columns}
    return Jets.from_columns(columns, _no_constituents(schema), schema)


def _no_constituents(schema: Schema) -> dict[str, Ragged]:
    return {kind.name: Ragged.empty(len(kind.features)) for kind in schema.constituents}


def _constituents(
    ntuple: Ntuple, chunk: EventChunk, chosen: ChosenJets, schema: Schema, tally: Tally
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


def _scalars(chunk: EventChunk, chosen: ChosenJets, selection: Selection) -> dict[str, Any]:
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
        columns[names.CHANNEL] = whole_numbers_of(chunk.file, chunk.columns, names.CHANNEL)[event]
    for name, branch in zip(selection.schema.jet_columns[3:], selection.schema.jet_branches[3:], strict=True):
        columns[name] = _per_jet(chunk, chosen, branch, "the schema").astype(np.float32)
    kept = [name for name in selection.keep_branches if name not in SCALAR_TYPES and name not in columns]
    return columns | {name: _per_jet(chunk, chosen, name, "keep_branches") for name in kept}


def _per_jet(chunk: EventChunk, chosen: ChosenJets, branch: str, asked_by: str) -> NDArray[Any]:
    """A branch of one number per jet or per event, [kept jets]. Raises InputFileError where it is neither."""
    column = chunk.columns[branch]
    if isinstance(column, Lists) and np.array_equal(column.offsets, chunk.jets[0].offsets):
        return column.values[chosen.jets]
    if isinstance(column, np.ndarray):
        return column[chunk.event[chosen.jets]]
    raise InputFileError(chunk.file, f"branch {branch} of {asked_by} holds neither one number an event nor one a jet")
