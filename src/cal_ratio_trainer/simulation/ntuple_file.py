"""One simulated ntuple: its events from its own random numbers, its branches, and the ROOT file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import uproot
from numpy.typing import NDArray

from cal_ratio_trainer.config.convert import MAX_DEMO_SEED
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.ntuple.reading import SIMULATION, TREE
from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.assembly import full_events
from cal_ratio_trainer.simulation.draws import Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft, events_with
from cal_ratio_trainer.simulation.grouped import Grouped, slots
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
"""The only trigger that fires in the demo: in events with a trigger jet."""

_SINGLE_PRECISION = frozenset({"clus_time", "track_chiSquared", "MSeg_t0", "MSeg_chiSquared"})
_INTEGERS = {
    "jet_isClean_LooseBadLLP": np.int8,
    "nn_jet_index": np.int32,
    "clus_jetIndex": np.int32,
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
class DemoFile:
    """One ntuple: content, and the settings of convert for it; masses [GeV] for signal only."""

    path: Path
    sample: str
    data_type: DataType
    role: str
    llp_mH: float | None
    llp_mS: float | None
    jets: int
    events: int


def write_ntuple(path: Path, sample: DemoSample, piece: int, seed: int, mismodelling: float = 1.0) -> DemoFile:
    """Simulates one file.

    Args:
        path: path of the file; its content depends on the other arguments only.
        sample: a piece of a sample.
        piece: number of this piece.
        seed: seed of the demo.
        mismodelling: factor on the difference between control data and simulation.
    """
    random = np.random.default_rng([seed, sample.number, piece])
    drafts, jets = [], 0
    for draw, kept_in, wanted in sample.sources():
        drafts.append(events_with(random, draw, kept_in, wanted))
        jets += int(kept_in(drafts[-1]).sum())
    everything = EventDraft.concatenate(drafts)
    draft = everything.take(random.permutation(len(everything)))
    # BIB is recorded collisions too, but part of the training's signal: only the control region is mismodelled.
    of_data = mismodelling if sample.role == "control" else 1.0
    events = full_events(random, draft, of_data if sample.is_data else 0.0)
    first = first_event_number(sample, piece, seed)
    array = _branches(random, sample, first, draft, events)
    step = parameters("samples")["events_a_cluster"]
    with replacing(path) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(1)) as file:
        scaled = "" if mismodelling == 1 else f" (mismodelling {mismodelling:g})"
        file[SIMULATION] = f"demo{scaled}"
        file["cal_ratio_trainer_note"] = NOT_A_DETECTOR_SIMULATION
        file["MetaData_EventCount"] = _event_count(sample, draft)
        tree = file.mkrntuple(TREE, array[:step])
        for start in range(step, len(array), step):
            tree.extend(array[start : start + step])
    return DemoFile(
        path=path,
        sample=sample.name,
        data_type=sample.data_type,
        role=sample.role,
        llp_mH=None if sample.point is None else float(sample.point.mH),
        llp_mS=None if sample.point is None else float(sample.point.mS),
        jets=jets,
        events=len(draft),
    )


def _branches(
    random: Generator, sample: DemoSample, first: int, draft: EventDraft, events: dict[str, Grouped]
) -> ak.Array:
    """All branches as one record array [events]."""
    jets = events["jet"]
    clean = draws.uniform(random, len(jets)) < parameters("events")["clean_probability"]
    trigger = _trigger_jets(random, draft, jets, sample.is_data)
    fields = _lists("jet_", jets) | _lists("HLT_jet_", trigger)
    if sample.point is not None:
        names = ("llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")
        fields |= _lists("", Grouped(np.full(len(draft), 2), {name: draft.per_event[name].ravel() for name in names}))
    of_jets = {"jet_isClean_LooseBadLLP": clean, "nn_jet_index": slots(jets.counts)}
    fields |= _lists("", Grouped(jets.counts, of_jets))
    for prefix in ("clus_", "track_", "MSeg_"):
        fields |= _lists(prefix, events[prefix.removesuffix("_")])
    fields["cluster_jetIndex"] = fields.pop("clus_jetIndex")
    # Clusters belong to one jet, tracks to one or none, segments to any number.
    tracks, of_tracks = events["track"], fields.pop("track_jetIndex").content
    fields["track_jetIndex"] = _nested(_nested(of_tracks, np.ones(len(tracks), np.int64)), tracks.counts)
    of_segments = _lists("MSeg_", events["MSeg_jetIndex"])["MSeg_jetIndex"]
    fields["MSeg_jetIndex"] = _nested(of_segments, events["MSeg"].counts)
    decisions = {name: np.zeros(len(draft)) for name in _SIGNAL_TRIGGERS} | {_FIRING: trigger.counts > 0}
    scalars = _scalars(random, sample, first, len(draft)) | decisions
    fields |= {name: ak.contents.NumpyArray(_typed(name, values)) for name, values in scalars.items()}
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields)))


def first_event_number(sample: DemoSample, piece: int, seed: int) -> int:
    """Smallest event number of a file; files of different seeds have no event number in common.

    Numbers of a seed lie below 10^12 above its own multiple of that, which is 0 for seed 1.
    """
    first = (1 + piece) * int(parameters("samples")["event_numbers_a_file"])
    if sample.is_data:
        # Data of a sample share their runs; each sample has a range of event numbers of its own.
        first += sample.number * 1_000_000_000
    return first + (seed - 1) % (MAX_DEMO_SEED + 1) * 1_000_000_000_000


def _scalars(random: Generator, sample: DemoSample, first: int, events: int) -> dict[str, NDArray[Any]]:
    """Numbers of the events: identity, pile-up, and in simulation their weights."""
    numbers = parameters("samples")
    if sample.is_data:
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


def _trigger_jets(random: Generator, draft: EventDraft, jets: Grouped, is_data: bool) -> Grouped:
    """None or one trigger jet per event: the one drawn with the event, else at times one on the leading jet."""
    names = ("pT", "eta", "phi", "isBIB")
    if "HLT_jet_pT" in draft.per_event:
        return Grouped(np.ones(len(draft), np.int64), {name: draft.per_event[f"HLT_jet_{name}"] for name in names})
    numbers = parameters("events")
    probability = numbers["hlt_probability"]["data" if is_data else "mc"]
    there = (draws.uniform(random, len(draft)) < probability) & (jets.counts > 0)
    leading = (np.cumsum(jets.counts) - jets.counts)[there]
    smear = numbers["hlt_smear"] * draws.normal(random, (2, len(leading)))
    columns: dict[str, NDArray[Any]] = {
        "pT": jets["pT"][leading] * np.float32(0.9),
        "eta": jets["eta"][leading] + smear[0],
        "phi": draws.wrap(jets["phi"][leading] + smear[1]),
        "isBIB": np.zeros(len(leading)),
    }
    return Grouped(there.astype(np.int64), columns)


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


def _typed(name: str, column: NDArray[Any]) -> NDArray[Any]:
    kind: type = _INTEGERS.get(name, np.float32 if name in _SINGLE_PRECISION else np.float64)
    if name.startswith("pass_"):
        kind = np.int32
    return np.ascontiguousarray(column, dtype=kind)


def _lists(prefix: str, group: Grouped) -> dict[str, ak.contents.Content]:
    """Columns as arrays of lists [groups] by the names of their branches."""
    names = {f"{prefix}{name}": values for name, values in group.columns.items()}
    return {name: _nested(ak.contents.NumpyArray(_typed(name, values)), group.counts) for name, values in names.items()}


def _nested(content: ak.contents.Content, counts: IntArray) -> ak.contents.Content:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
