"""Multijets weighted by cross section: numbers computed by hand, from ntuples to the training file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.building import BuildSummary, build_training_file, resample_file
from cal_ratio_trainer.building.samples import SampleError
from cal_ratio_trainer.config.build import BuildSettings, ResampleSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Normalisation
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.ntuple import Status, convert_files
from cal_ratio_trainer.simulation.ntuple_file import write_ntuple as write_demo_file
from cal_ratio_trainer.simulation.samples import all_samples, cross_section_pb
from tests.building.jet_files import settings_for, write_converted
from tests.factories.jets import converted_jets
from tests.factories.ntuples import Event, event, write_ntuple
from tests.factories.settings import load_settings

FIRST, SECOND = 364701, 364702
TABLE: dict[int, dict[str, float]] = {
    FIRST: {"cross_section_pb": 1000.0, "filter_efficiency": 0.5, "k_factor": 1.2},
    SECOND: {"cross_section_pb": 10.0, "filter_efficiency": 0.1},
}


def of_sample(channel: int, number: int, weight: float, pileup: float = 0.5, run: int = 284500) -> Event:
    """An event with one jet that convert keeps."""
    further = {"mcChannelNumber": channel, "pileupWeight": pileup, "runNumber": run}
    return event((100, 0.0, 0.0), number=number, weight=weight, further=further)


def count(initial: float) -> dict[str, float]:
    """MetaData_EventCount with this initial sum of weights."""
    return {"nEvents initial": 10 * initial, "sumOfWeights initial": initial, "sumOfWeights selected": 1.0}


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """Two converted slices: the first of two files with events, an empty one and one that fails."""
    first, second = tmp_path / "jz1", tmp_path / "jz2"
    first.mkdir()
    second.mkdir()
    write_ntuple(first / "a.root", [of_sample(FIRST, 1, 2.0), of_sample(FIRST, 2, 3.0)], event_count=count(60))
    write_ntuple(first / "b.root", [of_sample(FIRST, 3, 1.0)], event_count=count(40))
    write_ntuple(first / "empty.root", [], event_count=count(50))
    whole = write_ntuple(tmp_path / "broken.root", [of_sample(FIRST, 4, 1.0)], event_count=count(1000))
    (first / "broken.root").write_bytes(whole.read_bytes()[:2000])
    write_ntuple(second / "c.root", [of_sample(SECOND, 5, 4.0, run=300000)], event_count=count(10))
    given = [{"input_file": str(folder / "*.root"), "output_dir": folder.name} for folder in (first, second)]
    settings = {"keep_branches": ["pileupWeight"], "data_type": "qcd", "output_path": tmp_path / "jets"}
    summary = convert_files(ConvertSettings.make(input_files=given, **settings))
    assert sorted(row.status for row in summary.rows) == sorted([Status.CONVERTED] * 3 + [Status.EMPTY, Status.FAILED])
    return tmp_path / "jets"


def built(folder: Path, **changes: Any) -> tuple[Jets, BuildSummary]:
    """Builds all slices below a folder, in order."""
    settings = {"samples": TABLE, "shuffle": False, "overwrite": True} | changes
    given = settings.pop("input_files", [str(folder / "*" / "*.parquet")])
    summary = build_training_file(BuildSettings.make(input_files=given, output_file=folder / "out.parquet", **settings))
    return read_jets(folder / "out.parquet"), summary


def test_two_slices_with_an_empty_and_a_failed_file_by_hand(slices: Path) -> None:
    jets, summary = built(slices, period_luminosity_fb=2.0)
    # 1000 pb * 0.5 * 1.2 * 2000/pb / (60 + 40 + 50) = 8000; 10 pb * 0.1 * 2000/pb / 10 = 200.
    assert jets["mcEventWeight"] == pytest.approx([16000, 24000, 8000, 800])
    assert summary.weighing is not None
    first, second = summary.weighing.samples
    assert (first.files, first.empty_files, len(first.failed_files)) == (3, 1, 1)
    assert (first.initial_sum_of_weights, first.factor) == pytest.approx((150, 8000))
    assert (second.files, second.empty_files, second.failed_files) == (1, 0, ())
    taken = summary.cutflows[f"qcd {FIRST}"][-1]
    assert (taken.step, taken.events, taken.jets, taken.sum_of_weights) == ("taken", 3, 3, 6.0)
    assert taken.expected == pytest.approx(48000)
    said = summary.as_text()
    assert "numbers expected in 2/fb" in said
    assert "sample 364701: 1 file could not be converted" in said
    assert "broken.root" in said


def test_the_cutflows_account_for_every_jet_from_the_ntuples_to_the_file(slices: Path) -> None:
    given = {"input_file": str(slices / "*" / "*.parquet"), "event_filter": "eventNumber != 2", "num_events": 2}
    jets, summary = built(slices, input_files=[given])
    assert len(jets) == 2
    flows = {name: {step.step: step.jets for step in steps} for name, steps in summary.cutflows.items()}
    assert sorted(flows) == [f"qcd {FIRST}", f"qcd {SECOND}"]
    for number, flow in zip((3, 1), flows.values(), strict=True):
        # build gets all jets that convert kept; only the failed file is missing.
        assert flow["read"] == flow["with clusters"] == flow["given to build"] == number
    assert sum(flow["event_filter"] for flow in flows.values()) == 3
    assert sum(flow["taken"] for flow in flows.values()) == len(jets)


def test_the_file_says_how_it_was_weighed(slices: Path) -> None:
    built(slices)
    details = read_metadata(slices / "out.parquet").details
    first, second = details["weights"]["samples"]
    assert (first["channel"], first["factor"], first["luminosity_pb"]) == (FIRST, pytest.approx(4.0), 1.0)
    assert second["effective_pb"] == pytest.approx(1.0)
    (group,) = [each for each in details["slices"] if each["mcChannelNumber"] == FIRST]
    # Weights 8, 12 and 4 of a sum of 24.4 over both slices.
    assert group["sum_of_weights"] == pytest.approx(24.0)
    assert group["effective_number"] == pytest.approx(24.0**2 / (64 + 144 + 16))
    assert group["largest_share"] == pytest.approx(12 / 24.4)


def test_each_period_has_its_luminosity_and_its_own_sum(slices: Path) -> None:
    jets, summary = built(slices, period_luminosity_fb={"2015-2016": 1.0, "2017": 3.0})
    assert jets["mcEventWeight"] == pytest.approx([8000, 12000, 4000, 1200])
    assert summary.weighing is not None
    assert [sample.period for sample in summary.weighing.samples] == ["2015-2016", "2017"]
    by_run, _ = built(slices, period_luminosity_fb={"284500": 1.0, "300000": 3.0})
    assert by_run["mcEventWeight"] == pytest.approx([8000, 12000, 4000, 1200])
    with pytest.raises(SampleError, match=r"c\.parquet: period_luminosity_fb has no entry for .*runNumber 300000"):
        built(slices, period_luminosity_fb={"2015-2016": 1.0})
    with pytest.raises(ConfigError, match="2016 is no period"):
        built(slices, period_luminosity_fb={"2016": 1.0})


def test_pileup_weights_multiply_when_asked_for(slices: Path) -> None:
    jets, _ = built(slices, period_luminosity_fb=2.0, pileup_weight=True)
    assert jets["mcEventWeight"] == pytest.approx([8000, 12000, 4000, 400])


def test_data_are_never_weighed(slices: Path, tmp_path: Path) -> None:
    data = [event((100, 0, 0), number=9, further={"pileupWeight": 0.0, "mcChannelNumber": 0})]
    file = write_ntuple(tmp_path / "data.root", data, event_count=count(7), without=["mcEventWeight"])
    settings = {"data_type": "data", "output_path": slices / "data", "keep_branches": ["pileupWeight"]}
    convert_files(ConvertSettings.make(input_files=[str(file)], **settings))
    jets, _ = built(slices, kind="control", pileup_weight=True, period_luminosity_fb=2.0)
    assert jets["mcEventWeight"][jets.label == 2].tolist() == [1.0]
    assert sorted(jets["mcEventWeight"][jets.label == 0]) == pytest.approx([400, 4000, 8000, 12000])


def test_pileup_weights_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    sums = Normalisation(event_count=count(5), channel_numbers=[FIRST], events_read=5)
    path = write_converted(tmp_path, 10, normalisation=sums)
    with pytest.raises(InputFileError, match="has no pileupWeight; convert its ntuples again with --keep_branches"):
        build_training_file(settings_for(tmp_path / "o.parquet", path, samples=TABLE, pileup_weight=True))


def test_weights_stand_for_jets_that_num_events_leaves_out(slices: Path) -> None:
    entry = {"input_file": str(slices / "jz1" / "*.parquet"), "num_events": 2}
    jets, _ = built(slices, input_files=[entry, str(slices / "jz2" / "c.parquet")])
    whole, _ = built(slices)
    by_event = dict(zip(whole["eventNumber"].tolist(), whole["mcEventWeight"].tolist(), strict=True))
    for number, weight, channel in zip(
        jets["eventNumber"], jets["mcEventWeight"], jets["mcChannelNumber"], strict=True
    ):
        assert weight == pytest.approx(by_event[int(number)] * (1.5 if channel == FIRST else 1.0))


def test_a_filter_is_a_cut_and_changes_no_weight_nor_does_a_file_given_twice(slices: Path) -> None:
    halves = [
        {"input_file": str(slices / "*" / "*.parquet"), "event_filter": f"eventNumber % 2 == {i}"} for i in (1, 0)
    ]
    jets, summary = built(slices, input_files=halves)
    assert dict(zip(jets["eventNumber"].tolist(), jets["mcEventWeight"].tolist(), strict=True)) == pytest.approx(
        {1: 8.0, 3: 4.0, 5: 0.4, 2: 12.0}
    )
    assert summary.weighing is not None
    assert [sample.files for sample in summary.weighing.samples] == [3, 1]


def test_events_that_convert_did_not_read_are_not_in_the_sum(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", [of_sample(FIRST, i, 1.0) for i in range(4)], event_count=count(100))
    convert_files(
        ConvertSettings.make(input_files=[str(file)], data_type="qcd", output_path=tmp_path / "j" / "a", max_events=1)
    )
    jets, _ = built(tmp_path / "j")
    assert jets["mcEventWeight"] == pytest.approx([600 / 25])


def test_resampled_jets_stand_for_all(slices: Path, tmp_path: Path) -> None:
    def resample(source: Path, output: Path, fraction: float) -> Jets:
        resample_file(ResampleSettings.make(input_file=str(source), output_file=output, fraction=fraction))
        return read_jets(output)

    whole, _ = built(slices)
    part = resample(slices / "out.parquet", tmp_path / "half.parquet", 0.5)
    known = dict(zip(whole["eventNumber"].tolist(), whole["mcEventWeight"].tolist(), strict=True))
    assert part["mcEventWeight"].tolist() == pytest.approx([2 * known[int(number)] for number in part["eventNumber"]])
    assert "weights of simulated multijets were multiplied by 2" in read_metadata(tmp_path / "half.parquet").notes[-1]
    converted = read_jets(slices / "jz1" / "a.parquet")
    (slices / "part").mkdir()
    half = resample(slices / "jz1" / "a.parquet", slices / "part" / "a.parquet", 0.5)
    assert set(half["mcEventWeight"]) <= set(converted["mcEventWeight"])
    jets, _ = built(slices, input_files=[str(slices / "part" / "a.parquet")])
    assert jets["mcEventWeight"] == pytest.approx(2 * half["mcEventWeight"] * 600 / 60)


def test_other_jets_of_a_resampled_file_and_files_with_weights_of_their_own_keep_them(tmp_path: Path) -> None:
    inputs = [write_converted(tmp_path, 40, kind) for kind in (DataType.QCD, DataType.SIGNAL)]
    build_training_file(settings_for(tmp_path / "main.parquet", *inputs))
    resample_file(
        ResampleSettings.make(
            input_file=str(tmp_path / "main.parquet"), output_file=tmp_path / "part.parquet", fraction=0.25
        )
    )
    whole, part = read_jets(tmp_path / "main.parquet"), read_jets(tmp_path / "part.parquet")
    assert part["mcEventWeight"].tolist() == whole["mcEventWeight"][part["jet_id"]].tolist()


def test_several_samples_without_a_table_are_named(slices: Path) -> None:
    with pytest.raises(SampleError, match=r"2 samples \(mcChannelNumber 364701, 364702\).*normalise: none"):
        built(slices, samples=None)
    jets, _ = built(slices, samples=None, normalise="none")
    assert jets["mcEventWeight"].tolist() == [2.0, 3.0, 1.0, 4.0]
    one, _ = built(slices, samples=None, input_files=[str(slices / "jz1" / "*.parquet")])
    assert one["mcEventWeight"].tolist() == [2.0, 3.0, 1.0]


def test_a_sample_that_lacks_something_is_named(slices: Path) -> None:
    with pytest.raises(SampleError, match="there is no 364702"):
        built(slices, samples={FIRST: TABLE[FIRST]})
    for wrong, said in (
        ({"cross_section_pb": 0}, "cross_section_pb: should be above 0, got 0"),
        ({"k_facter": 1}, "did you mean k_factor"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_settings(BuildSettings, None, {"samples": {FIRST: {"cross_section_pb": 1.0} | wrong}})


def test_ntuples_without_their_count_of_events_need_the_sum_from_the_table(tmp_path: Path) -> None:
    sums = Normalisation(channel_numbers=[FIRST], run_numbers=[284500], events_read=10)
    path = write_converted(tmp_path, 10, normalisation=sums)
    with pytest.raises(SampleError, match=r"has no MetaData_EventCount.*364701.*initial_sum_of_weights"):
        build_training_file(settings_for(tmp_path / "out.parquet", path, samples=TABLE))
    given = {FIRST: {**TABLE[FIRST], "initial_sum_of_weights": 6.0}}
    build_training_file(settings_for(tmp_path / "out.parquet", path, samples=given, shuffle=False))
    expected = read_jets(path)["mcEventWeight"] * 100
    assert read_jets(tmp_path / "out.parquet")["mcEventWeight"] == pytest.approx(expected)


def test_an_empty_file_that_stands_alone_must_say_its_sample(slices: Path) -> None:
    (slices / "alone").mkdir()
    (slices / "jz1" / "empty.parquet").rename(slices / "alone" / "empty.parquet")
    inputs: list[Any] = [str(slices / name / "*.parquet") for name in ("jz1", "jz2", "alone")]
    with pytest.raises(SampleError, match=r"a file without events does not say which sample .*empty\.parquet.*channel"):
        built(slices, input_files=inputs)
    inputs[2] = {"input_file": inputs[2], "channel": FIRST}
    jets, _ = built(slices, input_files=inputs)
    assert jets["mcEventWeight"] == pytest.approx([8, 12, 4, 0.4])
    inputs[1] = {"input_file": inputs[1], "channel": FIRST}
    with pytest.raises(SampleError, match="holds sample 364702; the settings give channel 364701"):
        built(slices, input_files=inputs)


def test_jets_of_unknown_or_of_several_samples_cannot_be_weighed(tmp_path: Path) -> None:
    jets = converted_jets(4).without_columns(["mcChannelNumber"])
    write_jets(tmp_path / "a.parquet", jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    with pytest.raises(SampleError, match=r"a\.parquet: does not say which sample"):
        build_training_file(settings_for(tmp_path / "out.parquet", tmp_path / "a.parquet", samples=TABLE))
    both = Normalisation(channel_numbers=[FIRST, SECOND], events_read=4, event_count=count(4))
    path = write_converted(tmp_path, 4, normalisation=both)
    with pytest.raises(SampleError, match="2 samples"):
        build_training_file(settings_for(tmp_path / "out.parquet", path, samples=TABLE))


def test_the_weights_of_the_settings_are_of_one_kind(tmp_path: Path) -> None:
    for changes in ({"samples": TABLE}, {"pileup_weight": True}):
        with pytest.raises(ValueError, match="but normalise is none"):
            settings_for(tmp_path / "o.parquet", tmp_path, normalise="none", **changes)
    with pytest.raises(ValueError, match=r"2017\s+Input should be greater than 0"):
        settings_for(tmp_path / "o.parquet", tmp_path, period_luminosity_fb={"2017": 0.0})


def test_the_slices_of_the_demo_add_up_to_its_falling_spectrum(tmp_path: Path) -> None:
    table = {}
    for sample in all_samples(1500, 0):
        if sample.data_type is DataType.QCD:
            cross_section, efficiency = cross_section_pb(sample)
            table[sample.channel] = {"cross_section_pb": cross_section, "filter_efficiency": efficiency}
            write_demo_file(tmp_path / f"{sample.name}.root", sample, 0, seed=1)
    given = {"input_files": [str(tmp_path / "*.root")], "output_path": tmp_path / "jets"}
    convert_files(ConvertSettings.make(data_type="qcd", **given))
    inputs = [str(tmp_path / "jets" / "*.parquet")]
    build_training_file(BuildSettings.make(input_files=inputs, output_file=tmp_path / "m.parquet", samples=table))
    jets = read_jets(tmp_path / "m.parquet")
    pt, weights = 500.0 * jets["jet_pt"], jets["mcEventWeight"]
    event_of_jet = jets["mcChannelNumber"].astype(np.int64) * 1_000_000 + jets["source_entry"]
    order = np.lexsort((-pt, event_of_jet))
    leading = order[np.diff(event_of_jet[order], prepend=-1) != 0]
    edges = np.array([60.0, 90.0, 135.0, 200.0, 300.0, 420.0])
    found = np.histogram(pt[leading], edges, weights=weights[leading])[0]
    errors = np.sqrt(np.histogram(pt[leading], edges, weights=weights[leading] ** 2)[0])
    # 5e4 pb/GeV at 100 GeV, falling with the power 5.4; a resolution of 10 % lifts such a spectrum by some 8 %.
    expected = 1.08 * 5e4 * 100**5.4 / 4.4 * (edges[:-1] ** -4.4 - edges[1:] ** -4.4)
    assert np.sum(((found - expected) / errors) ** 2) < 20
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(found / np.diff(edges)), 1, w=found / errors)[0]
    assert slope == pytest.approx(-5.4, abs=0.25)
