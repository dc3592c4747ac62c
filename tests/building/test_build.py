"""Training files: their content, and inputs that are refused."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.building import shuffle as shuffle_module
from cal_ratio_trainer.building.checks import DuplicateJets
from cal_ratio_trainer.building.scan import AlreadyBuilt
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.expressions import ExpressionError
from cal_ratio_trainer.jets.loading import OutputExists, open_jets, read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Normalisation
from cal_ratio_trainer.jets.schema import CLUSTERS
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from tests.building.jet_files import settings_for, write_converted
from tests.factories.files import write_flat
from tests.factories.jets import assert_same_constituents, converted_jets

ALL_COLUMNS = (
    *("label", "jet_pt", "jet_eta", "jet_phi", "eventNumber", "runNumber", "mcEventWeight"),
    *("llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"),
    *("source_file", "source_entry", "jet_index", "mcChannelNumber", "jet_id"),
)


def built(output: Path, *inputs: Any, **changes: Any) -> Jets:
    """The jets of a build."""
    build_training_file(settings_for(output, *inputs, **changes))
    return read_jets(output)


def identities(jets: Jets) -> list[tuple[int, int, int]]:
    """Values that identify jets, in row order."""
    columns = (jets["label"], jets["eventNumber"], jets["jet_index"])
    return [(int(a), int(b), int(c)) for a, b, c in zip(*columns, strict=True)]


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """One file of each class of a main file."""
    kinds = (DataType.SIGNAL, DataType.QCD, DataType.BIB)
    return [write_converted(tmp_path, 20 + 7 * number, kind) for number, kind in enumerate(kinds)]


def test_a_main_file_holds_all_jets_once_with_the_columns_of_a_training(tmp_path: Path, three: list[Path]) -> None:
    jets = built(tmp_path / "main.parquet", *three)
    given = [identity for path in three for identity in identities(read_jets(path))]
    assert sorted(identities(jets)) == sorted(given)
    assert tuple(jets.scalars.column_names) == ALL_COLUMNS
    assert jets["jet_id"].tolist() == list(range(len(given)))
    assert jets["jet_pt"].max() <= 1
    sources = {(int(label), name) for label, name in zip(jets["label"], jets["source_file"], strict=True)}
    assert sources == {(1, "sig_1.root"), (0, "qcd_1.root"), (2, "bib_1.root")}


def test_without_shuffling_the_order_is_that_of_the_inputs(tmp_path: Path, three: list[Path]) -> None:
    jets = built(tmp_path / "main.parquet", *three, shuffle=False)
    assert identities(jets) == [identity for path in three for identity in identities(read_jets(path))]


def test_the_same_seed_gives_the_same_jets_and_another_seed_another_order(tmp_path: Path, three: list[Path]) -> None:
    first, again, other = (
        identities(built(tmp_path / f"{number}.parquet", *three, seed=seed)) for number, seed in enumerate((5, 5, 6))
    )
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_the_order_does_not_depend_on_the_size_of_what_is_held(
    tmp_path: Path, three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = identities(built(tmp_path / "1.parquet", *three))
    for name, size in (("JETS_AT_A_TIME", 3), ("MAX_BUCKETS", 2)):
        monkeypatch.setattr(shuffle_module, name, size)
        assert identities(built(tmp_path / f"{name}.parquet", *three)) == whole


def test_shuffled_classes_are_mixed(tmp_path: Path) -> None:
    inputs = [write_converted(tmp_path, 2000, kind) for kind in (DataType.SIGNAL, DataType.QCD)]
    labels = built(tmp_path / "main.parquet", *inputs)["label"]
    # 2000 jets of two equal classes: 1000 +- 22 signal jets in the first half; five spreads are allowed.
    assert abs(int(labels[:2000].sum()) - 1000) < 110


def test_samples_have_the_size_asked_for_and_are_drawn_from_all_files_of_an_entry(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_converted(tmp_path, 50, seed=seed)
    entry = {"input_file": str(tmp_path / "qcd_*.parquet"), "num_events": 60}
    jets = built(tmp_path / "main.parquet", entry)
    assert len(jets) == len(set(identities(jets))) == 60
    assert set(jets["source_file"]) == {"qcd_1.root", "qcd_2.root", "qcd_3.root"}
    assert identities(built(tmp_path / "again.parquet", entry)) == identities(jets)


def test_asking_for_more_jets_than_there_are_takes_all_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_converted(tmp_path, 10)
    assert len(built(tmp_path / "main.parquet", {"input_file": str(path), "num_events": 11})) == 10
    assert "num_events is 11, but only 10 jets are available" in caplog.text


def test_filters_take_the_jets_that_fulfil_them(tmp_path: Path) -> None:
    path = write_converted(tmp_path, 100)
    odd = {"input_file": str(path), "event_filter": "eventNumber % 2 == 1 and jet_pt > 100"}
    jets, given = built(tmp_path / "main.parquet", odd, shuffle=False), read_jets(path)
    expected = given.where((given["eventNumber"] % 2 == 1) & (given["jet_pt"] > 100))
    assert 0 < len(expected) < 50
    assert identities(jets) == identities(expected)


def test_two_entries_may_take_different_jets_of_one_file(tmp_path: Path) -> None:
    path = str(write_converted(tmp_path, 100))
    halves = [{"input_file": path, "event_filter": f"eventNumber % 2 == {rest}"} for rest in (0, 1)]
    assert len(built(tmp_path / "main.parquet", *halves)) == 100


def test_a_filter_on_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    entry = {"input_file": str(write_converted(tmp_path, 4)), "event_filter": "eventNumbr > 1"}
    with pytest.raises(ExpressionError, match="did you mean eventNumber"):
        built(tmp_path / "main.parquet", entry)


def test_a_filter_passes_over_a_file_without_jets(tmp_path: Path) -> None:
    write_jets(tmp_path / "qcd_0.parquet", Jets.empty(), JetMetadata(stage="converted", data_type=DataType.QCD))
    write_converted(tmp_path, 10)
    entry = {"input_file": str(tmp_path / "qcd_*.parquet"), "event_filter": "runNumber > 1"}
    assert len(built(tmp_path / "main.parquet", entry)) == 10


def test_a_control_file_is_built_of_simulation_and_data(tmp_path: Path) -> None:
    inputs = [write_converted(tmp_path, 10, kind) for kind in (DataType.QCD, DataType.DATA)]
    jets = built(tmp_path / "control.parquet", *inputs, kind="control")
    assert sorted(jets["label"].tolist()) == [0] * 10 + [2] * 10
    assert read_metadata(tmp_path / "control.parquet").kind == "control"


@pytest.mark.parametrize(
    ("kind", "data_type"), [("main", DataType.DATA), ("control", DataType.SIGNAL), ("control", DataType.BIB)]
)
def test_data_types_that_have_no_place_are_refused_by_name(tmp_path: Path, kind: str, data_type: DataType) -> None:
    path = write_converted(tmp_path, 5, data_type)
    with pytest.raises(InputFileError, match=f"{path.name}: holds {data_type} jets; a {kind} file is built of"):
        built(tmp_path / "out.parquet", path, kind=kind)


def test_legacy_frames_go_by_their_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind in (DataType.SIGNAL, DataType.QCD):
        jets = converted_jets(5, kind).without_columns(["HLT_jet_pT", "mcChannelNumber", "jet_index"])
        write_flat(tmp_path / f"{kind}.pkl", jets, JetMetadata(stage="converted"))
    assert len(built(tmp_path / "main.parquet", tmp_path / "sig.pkl", tmp_path / "qcd.pkl")) == 10
    assert "taken from their labels" in caplog.text
    assert "do not store the position of each jet" in caplog.text
    with pytest.raises(InputFileError, match="signal jets"):
        built(tmp_path / "control.parquet", tmp_path / "sig.pkl", kind="control")


def test_the_settings_can_say_what_a_legacy_frame_holds(tmp_path: Path) -> None:
    jets = converted_jets(5, DataType.DATA).without_columns(["mcChannelNumber", "jet_index"])
    write_flat(tmp_path / "data.pkl", jets, JetMetadata(stage="converted"))
    entry = {"input_file": str(tmp_path / "data.pkl"), "data_type": "data"}
    assert len(built(tmp_path / "control.parquet", entry, kind="control")) == 5
    with pytest.raises(InputFileError, match="holds data jets; a main file"):
        built(tmp_path / "main.parquet", entry)
    with pytest.raises(InputFileError, match="jets of label 2; qcd jets have 0"):
        built(tmp_path / "main.parquet", entry | {"data_type": "qcd"})
    path = write_converted(tmp_path, 5)
    with pytest.raises(InputFileError, match="holds qcd jets by its metadata, but the settings give data_type sig"):
        built(tmp_path / "main.parquet", {"input_file": str(path), "data_type": "sig"})


def test_a_built_file_is_refused_with_an_explanation(tmp_path: Path) -> None:
    path = write_converted(tmp_path, 20)
    built(tmp_path / "main.parquet", path)
    built(tmp_path / "main.pkl", path)
    for again in ("main.parquet", "main.pkl"):
        with pytest.raises(AlreadyBuilt, match="scaling twice would spoil them"):
            built(tmp_path / "twice.parquet", tmp_path / again)


def test_training_files_are_put_together_as_they_are(tmp_path: Path) -> None:
    converted = [write_converted(tmp_path, 30), write_converted(tmp_path, 20, DataType.SIGNAL)]
    at_once = built(tmp_path / "at_once.parquet", *converted, shuffle=False)
    built(tmp_path / "ours.parquet", converted[0])
    built(tmp_path / "theirs.pkl", converted[1])
    summary = build_training_file(
        settings_for(tmp_path / "both.parquet", tmp_path / "ours.parquet", tmp_path / "theirs.pkl")
    )
    both = read_jets(tmp_path / "both.parquet")
    assert both["jet_id"].tolist() == list(range(50))
    order = [np.lexsort((jets["jet_pt"], jets["eventNumber"], jets.label)) for jets in (both, at_once)]
    assert_same_constituents(both.take(order[0]), at_once.take(order[1]))
    for name in ("jet_pt", "jet_eta", "mcEventWeight"):
        np.testing.assert_array_equal(both[name][order[0]], at_once[name][order[1]])
    assert read_metadata(tmp_path / "both.parquet").stage == "built"
    assert "nothing was scaled again" in " ".join(summary.notes)


def test_training_files_are_not_mixed_with_converted_files_or_with_another_range_or_kind(tmp_path: Path) -> None:
    qcd, signal = write_converted(tmp_path, 30), write_converted(tmp_path, 20, DataType.SIGNAL)
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    built(one, qcd)
    with pytest.raises(AlreadyBuilt, match=r"one\.parquet: is already a training file .*sig_1\.parquet is not"):
        built(tmp_path / "out.parquet", signal, one)
    built(other, signal, min_jet_pt=40)
    with pytest.raises(
        InputFileError, match=r"other\.parquet: is scaled with 40 to 500 GeV.* settings give 0 to 500 GeV"
    ):
        built(tmp_path / "out.parquet", one, other)
    built(other, write_converted(tmp_path, 20, DataType.DATA), kind="control", overwrite=True)
    with pytest.raises(InputFileError, match=r"other\.parquet: is a control training file, but kind is main"):
        built(tmp_path / "out.parquet", one, other)
    built(other, signal, overwrite=True)
    with pytest.raises(ConfigError, match="training files keep their weights"):
        built(tmp_path / "out.parquet", one, other, samples={364701: {"cross_section_pb": 1, "filter_efficiency": 1}})
    with pytest.raises(DuplicateJets, match=r"30 jets occur twice .*which is given twice"):
        built(tmp_path / "out.parquet", one, one)
    assert not (tmp_path / "out.parquet").exists()


def test_values_that_are_not_finite_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jets = converted_jets(6)
    jets = jets.with_columns({"jet_pt": np.where(np.arange(6) == 2, np.nan, jets["jet_pt"])})
    clusters = jets.constituents["clusters"]
    values = clusters.values.copy()
    values[3, CLUSTERS.position("time")] = np.inf
    jets = Jets(jets.scalars, {**jets.constituents, "clusters": clusters.with_values(values)})
    write_jets(tmp_path / "in.parquet", jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    built(tmp_path / "out.parquet", tmp_path / "in.parquet")
    for name in ("jet_pt", "clus_time"):
        assert f"1 values of {name} are NaN or infinite" in caplog.text
        assert f"1 values of {name} are NaN or infinite" in " ".join(read_metadata(tmp_path / "out.parquet").notes)


def test_a_pt_beyond_all_energy_is_refused(tmp_path: Path) -> None:
    jets = converted_jets(6).with_columns({"jet_pt": np.full(6, 1e38)})
    write_jets(tmp_path / "in.parquet", jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    with pytest.raises(InputFileError, match=r"in\.parquet: column jet_pt has 6 values up to 1e\+38 GeV"):
        built(tmp_path / "out.parquet", tmp_path / "in.parquet")


def test_jets_without_event_numbers_are_told_apart_by_their_kinematics(tmp_path: Path) -> None:
    jets = converted_jets(20, eventNumber=pa.nulls(20, pa.uint64()), runNumber=pa.nulls(20, pa.uint32()))
    path = tmp_path / "in.parquet"
    write_jets(path, jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    assert len(built(tmp_path / "out.parquet", path)) == 20
    write_jets(path, Jets.concatenate([jets, jets.slice(0, 2)]), JetMetadata(stage="converted", data_type=DataType.QCD))
    with pytest.raises(DuplicateJets, match=r"2 jets occur twice \(same data type, run, event, pt, eta and phi\)"):
        built(tmp_path / "again.parquet", path)


def test_jets_that_come_twice_are_refused_with_their_number_and_files(tmp_path: Path) -> None:
    first, second = write_converted(tmp_path, 20), tmp_path / "copy.parquet"
    jets = read_jets(first)
    write_jets(second, Jets.concatenate([jets.slice(3, 8), converted_jets(4, seed=9)]), read_metadata(first))
    with pytest.raises(DuplicateJets, match=r"5 jets occur twice .*5 in .*qcd_1\.parquet and .*copy\.parquet"):
        built(tmp_path / "main.parquet", first, second)
    with pytest.raises(DuplicateJets, match=r"20 jets .*which is given twice"):
        built(tmp_path / "main.parquet", first, first)
    write_jets(second, Jets.concatenate([jets, jets.slice(0, 1)]), read_metadata(first))
    with pytest.raises(DuplicateJets, match=r"1 jet occurs twice .*1 within .*copy\.parquet"):
        built(tmp_path / "main.parquet", second)
    assert not (tmp_path / "main.parquet").exists()


@pytest.mark.parametrize("column", ["eventNumber", "runNumber", "jet_index", "mcChannelNumber"])
def test_jets_that_differ_in_one_part_of_their_identity_are_two_jets(tmp_path: Path, column: str) -> None:
    jets = converted_jets(6)
    other = jets.with_columns({column: jets[column] + 7})
    write_jets(tmp_path / "a.parquet", jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    write_jets(tmp_path / "b.parquet", other, JetMetadata(stage="converted", data_type=DataType.QCD))
    assert len(built(tmp_path / "main.parquet", tmp_path / "a.parquet", tmp_path / "b.parquet")) == 12


def test_the_same_jets_as_signal_and_as_qcd_are_no_duplicates(tmp_path: Path) -> None:
    jets = converted_jets(6)
    for data_type in (DataType.QCD, DataType.SIGNAL):
        labelled = jets.with_columns({"label": np.full(6, data_type.label)})
        write_jets(tmp_path / f"{data_type}.parquet", labelled, JetMetadata(stage="converted", data_type=data_type))
    assert len(built(tmp_path / "main.parquet", tmp_path / "qcd.parquet", tmp_path / "sig.parquet")) == 12


def test_legacy_jets_that_come_twice_are_found_by_their_kinematics(tmp_path: Path) -> None:
    jets = converted_jets(6).without_columns(["mcChannelNumber", "jet_index"])
    write_flat(tmp_path / "old.pkl", jets, JetMetadata(stage="converted"))
    with pytest.raises(DuplicateJets, match="6 jets occur twice"):
        built(tmp_path / "main.parquet", tmp_path / "old.pkl", write_converted(tmp_path, 6))


def test_the_file_says_what_it_is_made_of(tmp_path: Path) -> None:
    inputs = []
    for seed, simulation in ((1, "demo"), (2, None)):
        sums = Normalisation(
            event_count={"initial": 100.0}, channel_numbers=[364700 + seed], events_read=10, sum_of_weights_read=2.5
        )
        inputs.append(write_converted(tmp_path, 10, seed=seed, normalisation=sums, simulation=simulation))
    summary = build_training_file(settings_for(tmp_path / "main.parquet", *inputs, max_jet_pt=400))
    found = read_metadata(tmp_path / "main.parquet")
    assert (found.stage, found.kind, found.rows) == ("built", "main", 20)
    assert found.scaling is not None
    assert (found.scaling.min_jet_pt, found.scaling.max_jet_pt) == (0, 400)
    assert [(each.path, each.size_bytes) for each in found.inputs] == [(str(p), p.stat().st_size) for p in inputs]
    assert all(len(each.sha256 or "") == 64 for each in found.inputs)
    assert found.normalisation is not None
    assert found.normalisation.event_count == {"initial": 200.0}
    assert found.normalisation.channel_numbers == [364701, 364702]
    assert found.normalisation.sum_of_weights_read == 5.0
    assert found.details["normalisation_by_sample"]["364701"]["event_count"] == {"initial": 100.0}
    assert found.simulation == "demo"
    assert any(note.startswith("mixed:") for note in found.notes)
    weights = sum(float(read_jets(path)["mcEventWeight"].sum()) for path in inputs)
    assert found.details["classes"][0]["jets"] == 20
    assert found.details["classes"][0]["sum_of_weights"] == pytest.approx(weights)
    assert {group["mcChannelNumber"] for group in found.details["slices"]} == {364701, 364702}
    assert "364702" in summary.as_text()
    assert "QCD" in summary.as_text()


def test_a_flat_file_of_a_build_holds_the_same_jets(tmp_path: Path, three: list[Path]) -> None:
    ragged = built(tmp_path / "main.parquet", *three)
    for name, layout in (("flat.parquet", "flat"), ("flat.pkl", "ragged")):
        build_training_file(settings_for(tmp_path / name, *three, layout=layout))
        flat = open_jets(tmp_path / name)
        assert flat.report.layout == ("pickled frame" if name.endswith("pkl") else "flat Parquet")
        for kind, lists in ragged.constituents.items():
            np.testing.assert_array_equal(flat.load().constituents[kind].padded(5), lists.padded(5))
        np.testing.assert_array_equal(flat.load()["eventNumber"], ragged["eventNumber"])


def test_a_range_that_starts_above_zero_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    built(tmp_path / "main.parquet", write_converted(tmp_path, 5), min_jet_pt=40)
    assert "from the pt of clusters" in caplog.text
    caplog.clear()
    built(tmp_path / "other.parquet", tmp_path / "qcd_1.parquet")
    assert "from the pt of clusters" not in caplog.text


def test_a_control_file_without_data_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        built(tmp_path / "control.parquet", write_converted(tmp_path, 5), kind="control")
    assert "there is no multijet data (label 2)" in caplog.text


def test_columns_can_be_left_out_by_name_or_pattern(tmp_path: Path) -> None:
    jets = built(tmp_path / "main.parquet", write_converted(tmp_path, 5), remove_branches=["llp_*", "source_file"])
    assert "llp_mH" not in jets
    assert "source_file" not in jets
    assert "runNumber" in jets
    with pytest.raises(ConfigError, match="jet_pt"):
        built(tmp_path / "other.parquet", tmp_path / "qcd_1.parquet", remove_branches=["jet_pt"])


def test_an_output_that_exists_or_is_an_input_is_refused(tmp_path: Path) -> None:
    path = write_converted(tmp_path, 5)
    built(tmp_path / "main.parquet", path)
    with pytest.raises(OutputExists):
        built(tmp_path / "main.parquet", path)
    with pytest.raises(InputFileError, match="is an input"):
        built(path, path, overwrite=True)
    assert len(built(tmp_path / "main.parquet", path, overwrite=True, seed=7)) == 5


def test_patterns_and_paths_without_a_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none_\*: no file matches this pattern"):
        built(tmp_path / "main.parquet", str(tmp_path / "none_*"))
    with pytest.raises(InputFileError, match="none: no such file"):
        built(tmp_path / "main.parquet", str(tmp_path / "none"))


def test_inputs_may_be_urls(tmp_path: Path) -> None:
    import fsspec

    path = write_converted(tmp_path, 5)
    with fsspec.open("memory://inputs/jets.parquet", "wb") as file:
        file.write(path.read_bytes())
    cache = tmp_path / "cache"
    assert len(built(tmp_path / "main.parquet", "memory://inputs/jets.parquet", cache_path=cache)) == 5
    assert len(built(tmp_path / "other.parquet", path.as_uri())) == 5
    assert read_metadata(tmp_path / "main.parquet").inputs[0].path == "memory://inputs/jets.parquet"


def test_files_without_any_jet_make_an_empty_training_file(tmp_path: Path) -> None:
    write_jets(tmp_path / "none.parquet", Jets.empty(), JetMetadata(stage="converted", data_type=DataType.QCD))
    assert len(built(tmp_path / "main.parquet", tmp_path / "none.parquet")) == 0


def test_a_failure_half_way_leaves_nothing_behind(
    tmp_path: Path, three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shuffle_module, "append_table", full)
    with pytest.raises(OSError, match="No space left"):
        built(tmp_path / "out" / "main.parquet", *three)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="kills a process the POSIX way")
def test_a_killed_build_leaves_no_output_and_no_buckets(tmp_path: Path) -> None:
    path = write_converted(tmp_path, 3000)
    output = tmp_path / "out" / "main.parquet"
    script = (
        "import sys, time\n"
        "from cal_ratio_trainer.building import shuffle, build_training_file\n"
        "from cal_ratio_trainer.config.build import BuildSettings\n"
        "shuffle.JETS_AT_A_TIME = 10\n"
        "def slow(*given):\n"
        "    print('half way', flush=True)\n"
        "    time.sleep(60)\n"
        "shuffle._read = slow\n"
        "build_training_file(BuildSettings.make(input_files=[sys.argv[1]], output_file=sys.argv[2]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path), str(output)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [each.name for each in output.parent.iterdir() if not each.name.startswith(".main.")]
    assert left == []
    process.stdout.close()


def test_old_configurations_are_read(tmp_path: Path) -> None:
    config = tmp_path / "build.yaml"
    config.write_text(
        "input_files:\n"
        "  - input_file: a.pkl\n    num_events: 10\n    event_filter: eventNumber % 2 == 1\n"
        "  - b.parquet\n"
        "output_file: main.pkl\nmin_jet_pt: 0\nmax_jet_pt: 500\nremove_branches: [HLT_jet_*]\n"
    )
    settings = load_settings(BuildSettings, config)
    assert [each.input_file for each in settings.input_files] == ["a.pkl", "b.parquet"]
    assert settings.input_files[0].num_events == 10
    config.write_text(settings.as_yaml())
    assert load_settings(BuildSettings, config) == settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_jet_pt": 0}, "must be below max_jet_pt"),
        ({"input_files": []}, "no files of jets are given"),
        ({"input_files": [{"input_file": "a", "num_event": 3}]}, "num_events"),
        ({"kind": "big"}, "main"),
        ({"output_file": None}, "output_file"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(BuildSettings, None, {"input_files": ["a"], "output_file": "b", **changes})
