"""Content of the files: names, types, weights, event numbers, the histogram for the normalisation."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

import cal_ratio_trainer as crt
from cal_ratio_trainer.config.convert import MAX_DEMO_SEED
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.simulation import DemoFile, DemoSummary
from cal_ratio_trainer.simulation.draws import parameters
from cal_ratio_trainer.simulation.ntuple_file import first_event_number, write_ntuple
from cal_ratio_trainer.simulation.samples import all_samples

JETS = {"jet_pT", "jet_eta", "jet_phi"}
LAYERS = {f"clus_l{layer}{part}" for layer in range(1, 5) for part in ("ecal", "hcal")}
DOUBLES = (
    JETS | LAYERS | {"clus_pt", "clus_eta", "clus_phi", "MSeg_etaPos", "MSeg_phiPos", "MSeg_etaDir", "MSeg_phiDir"}
)
DOUBLES |= {f"track_{name}" for name in ("pT", "eta", "phi", "d0", "z0", "vertex_nParticles")}
DOUBLES |= {f"track_{kind}{part}" for kind in ("SCT", "Pixel") for part in ("Shared", "Holes", "Hits")}
DOUBLES |= {"HLT_jet_pT", "HLT_jet_eta", "HLT_jet_phi"}
FLOATS = {"clus_time", "track_chiSquared", "MSeg_t0", "MSeg_chiSquared"}
LLPS = {"llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"}
TRIGGERS = {
    f"pass_HLT_j30_jes_cleanLLP_PS_llp_{isolation}L1{seed}"
    for isolation in ("", "noiso_")
    for seed in ("TAU60", "TAU100", "LLP-NOMATCH", "LLP-RO")
}
TYPES = (
    dict.fromkeys(DOUBLES, "var * float64")
    | dict.fromkeys(TRIGGERS, "int32")
    | dict.fromkeys(FLOATS, "var * float32")
    | {
        "jet_isClean_LooseBadLLP": "var * int8",
        "nn_jet_index": "var * int32",
        "cluster_jetIndex": "var * int32",
        "HLT_jet_isBIB": "var * int32",
        "track_jetIndex": "var * var * int32",
        "MSeg_jetIndex": "var * var * int32",
        "runNumber": "uint32",
        "eventNumber": "uint64",
        "actualInteractionsPerCrossing": "float32",
        "pileupWeight": "float32",
    }
)
OF_SIMULATION = {"mcEventWeight": "float32", "mcChannelNumber": "uint32"}
OF_SIGNAL = dict.fromkeys(LLPS, "var * float64")
BINS = [
    f"{name} {stage}"
    for name in ("nEvents", "sumOfWeights", "sumOfWeightsSquared")
    for stage in ("initial", "selected")
]


def arrays(file: DemoFile) -> ak.Array:
    return uproot.open(file.path)["trees_DV_"].arrays()


def of_type(demo: DemoSummary, data_type: DataType) -> list[DemoFile]:
    return [file for file in demo.files if file.data_type is data_type]


@pytest.mark.parametrize("data_type", list(DataType))
def test_branches_have_the_names_and_types_of_the_real_ntuples(demo: DemoSummary, data_type: DataType) -> None:
    expected = dict(TYPES)
    if data_type.is_simulation:
        expected |= OF_SIMULATION
    if data_type is DataType.SIGNAL:
        expected |= OF_SIGNAL
    array = arrays(of_type(demo, data_type)[0])
    assert {name: str(array[name].type.content) for name in array.fields} == expected


def test_every_file_says_that_it_is_a_demo_and_no_detector_simulation(demo: DemoSummary) -> None:
    for file in demo.files:
        content = uproot.open(file.path)
        assert str(content["cal_ratio_trainer_simulation"]) == "demo"
        assert "not a detector simulation" in str(content["cal_ratio_trainer_note"])


def test_events_of_a_sample_are_unique_by_channel_run_and_number(demo: DemoSummary) -> None:
    seen: dict[int, set[tuple[int, int]]] = defaultdict(set)
    events = 0
    for file in demo.files:
        array = arrays(file)
        channel = int(array.mcChannelNumber[0]) if "mcChannelNumber" in array.fields else 0
        seen[channel] |= set(zip(array.runNumber.to_list(), array.eventNumber.to_list(), strict=True))
        events += len(array)
    assert sum(map(len, seen.values())) == events


def test_demos_of_different_seeds_share_no_event_number_at_the_largest_number_of_jets() -> None:
    last = 100_000_000 // parameters("samples")["jets_a_file"] - 1
    numbers = parameters("samples")["event_numbers_a_file"]
    ranges = [
        (
            min(first_event_number(sample, 0, seed) for sample in all_samples(1000, 1000)),
            max(first_event_number(sample, last, seed) + numbers for sample in all_samples(1000, 1000)),
        )
        for seed in (*range(1, 1001), MAX_DEMO_SEED, 0)
    ]
    assert all(end <= first for (_, end), (first, _) in pairwise(ranges))
    assert ranges[-1][1] < 2**63


@pytest.mark.parametrize("seed", [-1, MAX_DEMO_SEED + 1])
def test_a_seed_that_is_negative_or_too_large_is_refused(seed: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed"):
        crt.demo(seed=seed, output_path=tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_simulation_has_one_run_and_data_several(demo: DemoSummary) -> None:
    for file in demo.files:
        runs = set(arrays(file).runNumber.to_list())
        assert runs == {284500} if file.data_type.is_simulation else len(runs) > 3


def test_pileup_weights_are_positive_in_simulation_and_zero_in_data(demo: DemoSummary) -> None:
    for file in demo.files:
        weight = arrays(file).pileupWeight
        assert ak.all(weight > 0) if file.data_type.is_simulation else ak.all(weight == 0)


def test_weights_are_equal_within_a_sample_and_differ_between_slices(demo: DemoSummary) -> None:
    weights = {
        file.sample: set(arrays(file).mcEventWeight.to_list()) for file in demo.files if file.data_type.is_simulation
    }
    assert all(len(values) == 1 for values in weights.values())
    assert {next(iter(values)) for name, values in weights.items() if name.startswith("signal")} == {
        float(np.float32(2.919e-8))
    }
    qcd = [next(iter(weights[f"qcd_JZ{i}"])) for i in range(1, 7)]
    assert qcd == sorted(qcd, reverse=True)
    assert len(set(qcd)) == 6


def test_event_count_histograms_have_the_labels_and_sums_of_the_real_ones(demo: DemoSummary) -> None:
    for file in demo.files:
        histogram = uproot.open(file.path)["MetaData_EventCount"]
        assert list(histogram.axis().labels()) == BINS
        count = dict(zip(BINS, histogram.values(), strict=True))
        array = arrays(file)
        assert count["nEvents selected"] == len(array)
        assert count["nEvents initial"] >= len(array)
        weight = array.mcEventWeight.to_numpy().astype(float) if file.data_type.is_simulation else np.ones(len(array))
        assert count["sumOfWeights selected"] == pytest.approx(weight.sum(), rel=1e-6)
        assert count["sumOfWeightsSquared selected"] == pytest.approx((weight**2).sum(), rel=1e-6)


def test_each_slice_has_a_channel_number_of_its_own(demo: DemoSummary) -> None:
    files = [file for file in demo.files if file.data_type.is_simulation]
    channels = {file.sample: int(arrays(file).mcChannelNumber[0]) for file in files}
    assert len(set(channels.values())) == len(channels) == 19 + 6 + 6


def test_a_tree_written_in_several_clusters_holds_the_same_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sample,) = (sample for sample in all_samples(200, 1) if sample.name == "bib")
    whole = write_ntuple(tmp_path / "whole.root", sample, 0, seed=1)
    monkeypatch.setitem(parameters("samples"), "events_a_cluster", 50)
    parts = write_ntuple(tmp_path / "parts.root", sample, 0, seed=1)
    first, second = (uproot.open(written.path)["trees_DV_"] for written in (whole, parts))
    assert len(first.cluster_summaries) == 1
    assert len(second.cluster_summaries) == -(-parts.events // 50)
    assert ak.array_equal(first.arrays(), second.arrays())
