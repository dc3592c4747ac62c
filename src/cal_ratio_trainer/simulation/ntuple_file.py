"""One simulated ntuple: its events from its own random numbers, its branches, and the ROOT file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import uproot
from numpy.typing import NDArray

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.ntuple.reading import SIMULATION, TREE
from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.assembly import FullEvents, full_events
from cal_ratio_trainer.simulation.draws import Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft, events_with
from cal_ratio_trainer.simulation.lists import Lists, slots
from cal_ratio_trainer.simulation.samples import DemoSample

NOT_A_DETECTOR_SIMULATION = (
    "Simulated by cr_trainer demo: a parametric model tuned on a few hundred real jets, not a detector simulation. "
    "Draw no physics conclusions from it."
)

_SIGNAL_TRIGGERS = [
    f"pass_HLT_j30_jes_cleanLLP_PS_llp_{isolation}L1{seed}"
    for isolation in ("", "noiso_")
    for seed in ("TAU60", "TAU100", "LLP-NOMATCH", "LLP-RO")
]
_FIRING = _SIGNAL_TRIGGERS[4]
"""The one trigger that fires in the demo: where there is a trigger jet."""


@dataclass(frozen=True)
class FileTask:
    """One file to simulate: a piece of a sample, which piece, where it goes; seed and mismodelling of the demo."""

    sample: DemoSample
    piece: int
    path: Path
    seed: int
    mismodelling: float = 1.0


@dataclass(frozen=True)
class DemoFile:
    """One ntuple: its content and the settings of convert for it; masses [GeV] for signal only."""

    path: Path
    sample: str
    data_type: DataType
    role: str
    llp_mH: float | None
    llp_mS: float | None
    jets: int
    events: int


def write_ntuple(task: FileTask) -> DemoFile:
    """Simulates one file; the content depends on the fields of the task only."""
    random = np.random.default_rng([task.seed, task.sample.number, task.piece])
    draft, jets = _drafted(random, task.sample)
    array = _branches(random, task, draft)
    step = parameters("samples")["events_a_cluster"]
    with replacing(task.path) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(1)) as file:
        scaled = "" if task.mismodelling == 1 else f" (mismodelling {task.mismodelling:g})"
        file[SIMULATION] = f"demo{scaled}"
        file["cal_ratio_trainer_note"] = NOT_A_DETECTOR_SIMULATION
        file["MetaData_EventCount"] = _event_count(task.sample, draft)
        tree = file.mkrntuple(TREE, array[:step])
        for start in range(step, len(array), step):
            tree.extend(array[start : start + step])
    sample = task.sample
    return DemoFile(
        path=task.path,
        sample=sample.name,
        data_type=sample.data_type,
        role=sample.role,
        llp_mH=None if sample.point is None else float(sample.point.mH),
        llp_mS=None if sample.point is None else float(sample.point.mS),
        jets=jets,
        events=len(draft),
    )


def _drafted(random: Generator, sample: DemoSample) -> tuple[EventDraft, int]:
    """The events of all sources of a sample, mixed, and how many of their jets convert will keep."""
    parts = [(events_with(random, source, jets), source) for source, jets in sample.sources()]
    jets = sum(int(source.kept(part).sum()) for part, source in parts)
    everything = EventDraft.concatenate([part for part, _ in parts])
    return everything.take(random.permutation(len(everything))), jets


def _branches(random: Generator, task: FileTask, draft: EventDraft) -> Any:
    sample = task.sample
    # BIB is recorded collisions too, but part of what is learned: only the control region is mismodelled.
    of_data = task.mismodelling if sample.role == "control" else 1.0
    events = full_events(random, draft, of_data if sample.is_data else 0.0)
    size = int(events.jets.counts.sum())
    clean = draws.uniform(random, size) < parameters("events")["clean_probability"]
    lists = {"HLT_jet": _trigger_jets(random, draft, events.jets, sample.is_data)}
    if sample.point is not None:
        # The two long-lived particles of each event.
        names = ("llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")
        columns = {name.removeprefix("llp_"): draft.per_event[name].ravel() for name in names}
        lists["llp"] = Lists(np.full(len(draft), 2), columns)
    jet_columns = {"jet_isClean_LooseBadLLP": clean, "nn_jet_index": slots(events.jets.counts)}
    decisions = {name: np.zeros(len(draft), np.int32) for name in _SIGNAL_TRIGGERS}
    decisions[_FIRING] = (lists["HLT_jet"].counts > 0).astype(np.int32)
    return branches(events, jet_columns, _scalars(random, task, len(draft)) | decisions, lists)


def _scalars(random: Generator, task: FileTask, events: int) -> dict[str, NDArray[Any]]:
    """Numbers of the events: identity, pile-up, and in simulation their weights."""
    sample, numbers = task.sample, parameters("samples")
    first = (1 + task.piece) * numbers["event_numbers_a_file"]
    if sample.is_data:
        # Data of a sample share their runs; each sample has a range of event numbers of its own.
        first += sample.number * 1_000_000_000
        runs = numbers["bib_runs" if sample.role == "main" else "control_runs"]
        run = np.asarray(runs)[random.integers(0, len(runs), events)]
    else:
        run = np.full(events, numbers["run_of_simulation"])
    mean, sigma = parameters("events")["pileup_interactions"]["data" if sample.is_data else "mc"]
    pileup = np.maximum(mean + sigma * draws.normal(random, events), 5)
    columns = {
        "runNumber": run,
        "eventNumber": first + random.permutation(events),
        "actualInteractionsPerCrossing": pileup,
        "pileupWeight": np.zeros(events),
    }
    if not sample.is_data:
        spread = parameters("events")["pileup_weight_sigma"]
        columns["pileupWeight"] = np.exp(spread * draws.normal(random, events))
        columns["mcEventWeight"] = np.full(events, sample.weight)
        columns["mcChannelNumber"] = np.full(events, sample.channel)
    return columns


def _trigger_jets(random: Generator, draft: EventDraft, jets: Lists, is_data: bool) -> Lists:
    """None or one trigger jet per event: the one drawn with the event, else at times one on the leading jet."""
    names = ("HLT_jet_pT", "HLT_jet_eta", "HLT_jet_phi", "HLT_jet_isBIB")
    if "HLT_jet_there" in draft.per_event:
        return Lists(
            np.ones(len(draft), np.int64), {name.removeprefix("HLT_jet_"): draft.per_event[name] for name in names}
        )
    numbers = parameters("events")
    probability = numbers["hlt_probability"]["data" if is_data else "mc"]
    there = (draws.uniform(random, len(draft)) < probability) & (jets.counts > 0)
    leading = (np.cumsum(jets.counts) - jets.counts)[there]
    smear = numbers["hlt_smear"] * draws.normal(random, (2, len(leading)))
    columns: dict[str, NDArray[Any]] = {
        "pT": jets.columns["pT"][leading] * np.float32(0.9),
        "eta": jets.columns["eta"][leading] + smear[0],
        "phi": draws.wrap(jets.columns["phi"][leading] + smear[1]),
        "isBIB": np.zeros(len(leading), np.int32),
    }
    return Lists(there.astype(np.int64), columns)


def _event_count(sample: DemoSample, draft: EventDraft) -> hist.Hist:
    """The histogram by which simulation is normalised, with the bins of the real ntuples."""
    weight = 1.0 if sample.weight is None else float(np.float32(sample.weight))
    tried = float(round(draft.tried))
    contents = {
        f"{name} {stage}": number * weight**power
        for power, name in enumerate(("nEvents", "sumOfWeights", "sumOfWeightsSquared"))
        for stage, number in (("initial", tried), ("selected", float(len(draft))))
    }
    bins = hist.axis.StrCategory(list(contents), name="count", label="")
    histogram = hist.Hist(bins, storage=hist.storage.Double(), name="MetaData_EventCount")
    histogram.view()[:] = list(contents.values())
    return histogram


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


def branches(
    events: FullEvents,
    of_jets: Mapping[str, NDArray[Any]],
    of_events: Mapping[str, NDArray[Any]],
    further: Mapping[str, Lists],
) -> ak.Array:
    """All branches as one record array [events].

    Args:
        events: jets and their constituents.
        of_jets: further columns of the jets by branch name, [jets].
        of_events: numbers of the events by branch name, [events].
        further: further lists of the events; the key is the prefix of the branch names ('llp', 'HLT_jet').
    """
    fields: dict[str, ak.contents.Content] = {}
    for prefix, content in {"jet": events.jets, **further}.items():
        for name, column in content.columns.items():
            fields[f"{prefix}_{name}"] = _list(f"{prefix}_{name}", column, content.counts)
    for name, column in of_jets.items():
        fields[name] = _list(name, column, events.jets.counts)
    fields |= _constituents(events)
    fields |= {name: ak.contents.NumpyArray(_typed(name, column)) for name, column in of_events.items()}
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
