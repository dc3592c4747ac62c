"""`convert training` for runs: network, jets, and content of the card."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cal_ratio_trainer.config.runs import AnalyzeSettings, ConvertTrainingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.probe_jets import KnownScores
from cal_ratio_trainer.jets.store import read_scalars
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.runs import network_facts
from cal_ratio_trainer.runs.network_export import TrainingExport, export_training
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.test_sample import TestJets
from cal_ratio_trainer.scoring.candidates import choose_runs, shortlist, with_results
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import change_settings
from tests.formats.numpy_network import random_weights

SMALL = {
    "epochs": 2,
    "num_splits": 3,
    "sample_fraction": 1.0,
    "keep_weights": "all",
    "cluster_filters": [8, 4],
    "track_filters": [8, 4],
    "muon_segment_filters": [4],
    "hidden_layer_fraction": 0.05,
}


def trained(folder: Path, **changes: Any) -> Path:
    """The folder of runs after a tiny training of run 0 of the model 'tiny'."""
    main, control = write_training_files(folder)
    settings = TrainSettings.make(
        model_name="tiny",
        main_training_file=str(main),
        cr_training_file=str(control),
        output_path=folder / "runs",
        **{**SMALL, "train_fraction": 0.7, "threads": 1, **changes},
    )
    with pytest.MonkeyPatch.context() as patch:
        # Drawing takes most of the time of so small a training.
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        train(Start(settings), say=lambda text: None, details=lambda figures: "")
    return folder / "runs"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the usual kind."""
    return trained(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def special_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run with both masses as inputs, two recurrent layers and a value for times that were not measured."""
    folder = tmp_path_factory.mktemp("special")
    return trained(folder, mH_parametrization=True, mS_parametrization=True, lstm_layers=2, missing_t0=-5.0)


def exported(training: str, runs: Path, output: Path, **changes: Any) -> TrainingExport:
    """Export a network of these runs."""
    settings = ConvertTrainingSettings.make(training=training, output_path=runs, output_json=output, **changes)
    return export_training(settings)


def card_of(output: Path) -> dict[str, Any]:
    """The card beside a file."""
    said: dict[str, Any] = json.loads(output.with_suffix(".card.json").read_text())
    return said


def test_the_epoch_that_is_asked_for_is_written(runs: Path, tmp_path: Path) -> None:
    for word, epoch, file in (("0", 0, "final_model_weights_0.keras"), ("last", 1, "final_model.keras")):
        done = exported(f"tiny/0/{word}", runs, tmp_path / "model.json")
        assert done.name == f"tiny/00000/{epoch}"
        weights = read_own_network(runs / "tiny" / "00000" / "keras" / file).weights
        graph = read_fdeep((tmp_path / "model.json").read_bytes()).graph
        np.testing.assert_array_equal(graph.weights["dense_1"].arrays[0], weights["hidden.0.kernel"])
        assert card_of(tmp_path / "model.json")["training"]["epoch"] == epoch


def test_the_card_holds_what_the_run_says_and_the_figures_of_this_very_network(runs: Path, tmp_path: Path) -> None:
    run = runs / "tiny" / "00000"
    record = json.loads((run / "run.json").read_text())
    exported("tiny/0/last", runs, tmp_path / "model.json")
    card = card_of(tmp_path / "model.json")
    assert card["training"]["versions"] == record["versions"]
    for name, file in (("main", "main.parquet"), ("control", "control.parquet")):
        assert card["data"][name]["file"] == file
        assert card["data"][name]["sha256"] == record["data"][name]["sha256"]
    labels = read_scalars(run / "test_sample.parquet", ["label"]).column("label").to_numpy()
    assert [card["test_figures"][f"jets_{name}"] for name in ("qcd", "sig", "bib")] == np.bincount(labels).tolist()
    for figure in ("auc", "auc_qcd", "auc_bib", "ks_bib_hist", "ks_bib_expected"):
        assert card["test_figures"][figure] == pytest.approx(record["test"][figure], rel=1e-3)
    exported("tiny/0/0", runs, tmp_path / "first.json")
    assert card_of(tmp_path / "first.json")["test_figures"]["auc"] != card["test_figures"]["auc"]
    assert any("demo" in note for note in card["notes"])
    text = (tmp_path / "model.card.json").read_text()
    assert str(runs.parent) not in text, "folders of this machine are nobody's business"
    assert record["machine"]["host"] not in card["training"].values()


def test_the_card_has_the_figures_of_the_analysis_for_a_run_with_its_own_pt_ranges_and_masses(tmp_path: Path) -> None:
    own = {"mH_parametrization": True, "include_high_mass": False, "pt_ranges": [0.35, 0.65]}
    runs = trained(tmp_path, epochs=1, **own)
    exported("tiny/0/last", runs, tmp_path / "model.json")
    figures = card_of(tmp_path / "model.json")["test_figures"]
    settings = AnalyzeSettings.make(
        runs_to_analyze=["tiny/0"], output_path=runs, output_report=tmp_path / "analyze.md", replicas=2, device="cpu"
    )
    (group,) = choose_runs(settings).groups
    (newest,) = (each.result for each in with_results(shortlist(group, 1), settings))
    assert newest is not None
    ks = newest.ks.to_dict()
    assert ks["ks_bib_mid"] > 0
    # The card shows four digits.
    assert {name: figures[name] for name in ks} == pytest.approx(ks, rel=6e-4)
    aucs = [figures["auc"], figures["auc_qcd"], figures["auc_bib"]]
    assert aucs == pytest.approx([roc.auc for roc in newest.rocs], rel=6e-4)


def test_without_usable_settings_or_control_jets_the_card_says_why_it_has_no_figures(
    runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    run = tmp_path / "runs" / "tiny" / "00000"
    change_settings(Run(run), mS_parametrization=True)
    done = exported("tiny/0/last", tmp_path / "runs", tmp_path / "model.json")
    assert "The run's settings cannot be used, so there are no figures of merit" in done.notes
    assert card_of(tmp_path / "model.json")["test_figures"] == {}
    (run / "control_test_sample.parquet").unlink()
    done = exported("tiny/0/last", tmp_path / "runs", tmp_path / "model.json")
    assert "The run keeps no test jets of its control region, so there are no figures of merit" in done.notes


def load_check_of(file: Path) -> KnownScores:
    """Jets of the load check of a frugally-deep file."""
    tests = read_fdeep(file.read_bytes()).tests
    assert tests is not None
    return tests


def test_jets_of_the_load_check_are_those_of_the_run_s_test_part(runs: Path, tmp_path: Path) -> None:
    exported("tiny/0/last", runs, tmp_path / "model.json")
    known = read_scalars(runs / "tiny" / "00000" / "test_sample.parquet", ["jet_pt"]).column("jet_pt").to_numpy()
    inputs = load_check_of(tmp_path / "model.json").inputs.arrays
    assert len(inputs[3]) == 12
    assert np.isin(inputs[3][:, 0], known).all()


def test_a_test_part_of_one_jet_is_followed_by_drawn_ones_so_that_the_load_check_has_its_twelve(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_jet(run: Any) -> TestJets | None:
        test = network_facts.test_jets_of(run)
        return replace(test, jets=test.jets.take(np.array([0]))) if test else None

    monkeypatch.setattr("cal_ratio_trainer.runs.network_export.test_jets_of", one_jet)
    exported("tiny/0/last", runs, tmp_path / "model.json")
    tests = load_check_of(tmp_path / "model.json")
    assert len({tuple(jet) for jet in tests.inputs.arrays[3]}) > 1
    assert len(tests.scores) == 12
    assert tests.scores.max() <= 0.95


def test_of_a_network_that_is_saturated_everywhere_the_card_says_what_that_means_for_the_load_check(
    runs: Path, tmp_path: Path
) -> None:
    stored = read_own_network(runs / "tiny" / "00000" / "keras" / "final_model.keras")
    shape, weights = stored.shape, stored.weights
    weights["output.bias"] = np.array([0, 50, 0], dtype=np.float32)
    write_keras(tmp_path / "network.keras", shape, weights)
    done = exported(str(tmp_path / "network.keras"), runs, tmp_path / "model.json")
    assert any("the check of frugally-deep on loading sees large mistakes only" in note for note in done.notes)
    assert any("sees large mistakes only" in note for note in card_of(tmp_path / "model.json")["notes"])
    assert len(load_check_of(tmp_path / "model.json").scores) == 12


def test_all_formats_of_a_parametrised_network_pass_and_the_card_says_what_it_reads(
    special_runs: Path, tmp_path: Path
) -> None:
    done = exported("tiny/0/best", special_runs, tmp_path / "model.json", format="all", with_preprocessing=True)
    assert [file.format for file in done.exported.files] == ["fdeep", "fdeep-keras3", "keras", "onnx"]
    card = card_of(tmp_path / "model.json")
    assert card["scaling"]["missing_t0_ns"] == -5
    assert [array["shape"] for array in card["inputs"]] == [[30, 14], [20, 12], [30, 8], [5]]
    assert [number["name"] for number in card["inputs"][3]["numbers"][3:]] == ["llp_mH", "llp_mS"]
    assert [number["name"] for number in card["inputs_of_converted_jets"][3]["numbers"][3:]] == ["llp_mH", "llp_mS"]
    assert 0 < card["test_figures"]["auc"] <= 1
    inputs = onnx.load_model(str(tmp_path / "model.onnx")).graph.input
    shapes = [[dim.dim_value for dim in each.type.tensor_type.shape.dim][1:] for each in inputs]
    assert shapes == [[30, 12], [20, 10], [30, 6], [5]]


def test_the_same_run_gives_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        exported("tiny/0/best", runs, tmp_path / folder / "model.json", format="all")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_of_a_file_without_a_run_it_is_said_what_is_assumed(tmp_path: Path) -> None:
    write_keras(tmp_path / "network.keras", DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    done = exported(str(tmp_path / "network.keras"), tmp_path, tmp_path / "out.json")
    assert done.name == "network.keras"
    assert any("0 to 500 GeV is assumed" in note for note in done.notes)
    card = card_of(tmp_path / "out.json")
    assert card["test_figures"] == {}
    assert card["notes"] == list(done.notes)


def test_a_run_without_test_jets_is_exported_all_the_same(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    for name in ("test_sample.parquet", "control_test_sample.parquet"):
        (tmp_path / "runs" / "tiny" / "00000" / name).unlink()
    done = exported("tiny/0/last", tmp_path / "runs", tmp_path / "model.json")
    assert any("keeps no test jets" in note for note in done.notes)
    assert card_of(tmp_path / "model.json")["scaling"]["max_jet_pt_gev"] == 500


def test_a_network_that_is_not_there_leaves_nothing(runs: Path, tmp_path: Path) -> None:
    for name in ("tiny/0/7", "tiny/5/last", "other/0/last", "tiny"):
        with pytest.raises(UserError):
            exported(name, runs, tmp_path / "model.json")
    assert list(tmp_path.iterdir()) == []


def test_an_imported_run_says_where_it_comes_from_and_not_the_import_s_own_versions(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "old" / "00000"
    write_keras(run / "keras" / "final_model.keras", DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    record = {
        "status": "imported",
        "seed": 1,
        "versions": {"torch": "of the import"},
        "data": {},
        "notes": ["Its scaling is assumed."],
        "imported": {
            "from": "/home/somebody/old_run",
            "newest": "weights.h5",
            "form": "HDF5",
            "files": {"weights.h5": {"sha256": "0" * 64}},
        },
    }
    (run / "run.json").write_text(json.dumps(record))
    done = exported("old/0/last", tmp_path / "runs", tmp_path / "model.json")
    card = card_of(tmp_path / "model.json")
    assert card["training"] == {
        "run": "old/00000",
        "imported_from": "old_run",
        "newest_weights_from": "weights.h5",
        "form": "HDF5",
        "sha256": {"weights.h5": "0" * 64},
        "exported_by": card["training"]["exported_by"],
    }
    assert card["notes"] == ["The run keeps no test jets, so there are no figures of merit", "Its scaling is assumed"]
    assert "somebody" not in (tmp_path / "model.card.json").read_text()
    assert done.exported.files[0].format == "fdeep"
