"""Selection of the jets of a chunk: the cuts, then the rules of the data type; each step is counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.ntuple import branches as names
from cal_ratio_trainer.ntuple import tally as counted
from cal_ratio_trainer.ntuple.conditions import events_that_pass, jets_that_pass
from cal_ratio_trainer.ntuple.coordinates import as_doubles
from cal_ratio_trainer.ntuple.events import EventChunk
from cal_ratio_trainer.ntuple.reading import same_lengths
from cal_ratio_trainer.ntuple.request import MAX_JET_ETA, Selection
from cal_ratio_trainer.ntuple.selection import (
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
class ChosenJets:
    """The jets that are kept, in the order of the events, in each event the hardest first.

    Attributes:
        jets: [kept jets] positions among all jets of the chunk.
        truth: columns of the long-lived particle, [kept jets] each; zeros where there is none.
    """

    jets: IndexArray
    truth: Mapping[str, NDArray[Any]]

    def where(self, kept: NDArray[np.bool_]) -> "ChosenJets":
        """Some of them."""
        return ChosenJets(self.jets[kept], {name: values[kept] for name, values in self.truth.items()})


def choose_jets(chunk: EventChunk, selection: Selection, tally: Tally) -> ChosenJets:
    """Apply the selection to the events of a chunk; a jet comes once.

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


def _after_event_cuts(chunk: EventChunk, selection: Selection, tally: Tally) -> NDArray[np.bool_]:
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


def _not_too_many(chosen: ChosenJets, chunk: EventChunk, selection: Selection, tally: Tally) -> ChosenJets:
    """The hardest jets of each event only, where that was asked for."""
    if selection.max_jets_per_event is None:
        return chosen
    event = chunk.event[chosen.jets]
    rank = np.arange(len(event)) - np.searchsorted(event, event, side="left")
    chosen = chosen.where(rank < selection.max_jets_per_event)
    step = f"hardest {selection.max_jets_per_event} of the event"
    tally.add_step(step, len(chosen.jets), chunk.event[chosen.jets], chunk.weights)
    return chosen


def _of_data_type(chunk: EventChunk, kept: IndexArray, jets: Points, selection: Selection, tally: Tally) -> ChosenJets:
    """The jets that belong to what the data type asks for: a decay, a tagged trigger jet, or nothing."""
    if selection.data_type is DataType.SIGNAL:
        return _matched_to_llp(chunk, kept, jets, tally)
    no_truth = {name: np.zeros(len(kept)) for name in _LLP_COLUMNS.values()}
    if selection.data_type is DataType.BIB:
        found = _matched_to_trigger(chunk, jets, selection.max_hlt_delta_r, tally)
        return ChosenJets(kept[found.jet], {name: values[found.jet] for name, values in no_truth.items()})
    return ChosenJets(kept, no_truth)


def _matched_to_llp(chunk: EventChunk, kept: IndexArray, jets: Points, tally: Tally) -> ChosenJets:
    lists = same_lengths(chunk.file, chunk.columns, names.LLPS)
    pt, eta, phi, lxy, lz = (as_doubles(each.values) for each in lists)
    inside = np.flatnonzero(decays_in_calorimeter(eta, lxy, lz))
    llps = Points(lists[0].events(), eta, phi).take(inside)
    _add_step_of_events(tally, "event with a decay in the calorimeter", llps.event, jets.event, chunk)
    found = match_to_jets(llps, jets, MAX_LLP_DELTA_R)
    tally.add_step("jet matched to the decay", len(found.jet), jets.event[found.jet], chunk.weights)
    llp = inside[found.point]
    truth = {_LLP_COLUMNS[name]: values[llp] for name, values in zip(names.LLPS, (pt, eta, phi, lxy, lz), strict=True)}
    return ChosenJets(kept[found.jet], truth)


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
    """Count the events among `passing` that still have jets, and those jets."""
    left = jet_event[np.isin(jet_event, passing)]
    tally.add_step(step, len(left), left, chunk.weights)
