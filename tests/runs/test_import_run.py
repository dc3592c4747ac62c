"""Import of an earlier training as a run: its files, its messages, and a training from its weights."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cal_ratio_trainer.config.loading import Layers, settings_from
from cal_ratio_trainer.config.runs import ImportSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.formats.fdeep_file import Flavour
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.safetensors_file import network_from_safetensors, safetensors_bytes
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape
from cal_ratio_trainer.runs.finding import find_network, find_networks
from cal_ratio_trainer.runs.import_run import ImportSummary, import_training
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.continuation import AUTO, find_start
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.formats.earlier_files import fdeep_file, keras_2_config, keras_2_zip, legacy_hdf5, written
from tests.formats.numpy_network import random_weights
from tests.network.sum_pooling import SumPooling

SMALL = NetworkShape(
    branches=(
        branch_shape("clusters", (6, 5), 3),
        branch_shape("tracks", (5, 4), 3),
        branch_shape("muon_segments", (4,), 2),
    ),
    hidden=(51, 6),
    dropout=0.1,
)
"""Hidden widths of hidden_layer_fraction 0.1."""

HISTORY = {
    "ks_qcd_hist": [0.9, 0.5, 0.4],
    "ks_sig_hist": [0.8, 0.3, 0.6],
    "ks_bib_hist": [0.7, 0.2, math.nan],
    "original_lossf": [1.1, 0.9, 0.8],
    "val_original_lossf": [1.2, 0.7, 0.9],
}
PARAMETERS = {
    **{"model_name": "default", "lr_values": 0.0004, "frac_list": 0.25, "layers_list": 1, "batch_size": 512},
    **{"num_splits": 15, "epochs": 3, "reg_values": 1e-11, "dropout_array": 0.1, "hidden_layer_fraction": 0.1},
    **{"filters_cnn_constit": [6, 5], "filters_cnn_track": [5, 4], "filters_cnn_MSeg": [4], "nodes_MSeg_lstm": 2},
    **{"main_training_file": "https://example.org/main.pkl", "cr_training_file": None, "include_low_mass": True},
}


def earlier_folder(folder: Path, shape: NetworkShape = SMALL, epochs: tuple[int, ...] = (0, 2)) -> Path:
    """The run folder of a training of the earlier program with three epochs."""
    run = folder / "calratio" / "00004"
    (run / "keras").mkdir(parents=True)
    for name, seed in {
        **{f"final_model_weights_{epoch}": epoch for epoch in epochs},
        "final_weights_checkpoint": 2,
    }.items():
        written(run / "keras", legacy_hdf5(shape, random_weights(shape, seed)), f"{name}.keras")
    written(run / "keras", keras_2_zip(shape, random_weights(shape, seed=99)), "final_model.keras")
    (run / "keras" / "history_checkpoint.json").write_text(json.dumps(HISTORY))
    (run / "training_params.yaml").write_text(yaml.dump(PARAMETERS))
    (run / "training_details.txt").write_text("Starting Training 2023\nAUC 0.9\n")
    return run


def imported(path: Path, folder: Path, **changes: Any) -> ImportSummary:
    """Result of an import into a folder."""
    return import_training(ImportSettings.make(path=path, output_path=folder / "runs", **changes))


def test_a_run_folder_becomes_a_run_with_the_weights_of_every_epoch(tmp_path: Path) -> None:
    summary = imported(earlier_folder(tmp_path), tmp_path)
    run = summary.run
    assert run.path == tmp_path / "runs" / "calratio" / "00000"
    assert summary.epochs == (0, 2)
    assert run.kept_epochs() == [0, 2]
    for name, seed in (("calratio/0", 2), ("calratio/0/last", 2), ("calratio/0/0", 0), ("calratio/-1/2", 2)):
        network = find_network(name, tmp_path / "runs")
        for file in (network.file, network.file.with_suffix(".keras")):
            stored = read_own_network(file)
            assert stored.shape == SMALL
            for weight, values in random_weights(SMALL, seed).items():
                np.testing.assert_array_equal(stored.weights[weight], values)


def test_history_settings_and_record_come_along(tmp_path: Path) -> None:
    earlier = earlier_folder(tmp_path)
    run = imported(earlier, tmp_path).run
    history = run.read_history()
    assert [row["ks_bib_hist"] for row in history] == pytest.approx(HISTORY["ks_bib_hist"], nan_ok=True)
    assert all(math.isnan(row["val_auc"]) and math.isnan(row["ks_qcd_spread"]) for row in history)
    settings = TrainSettings.model_validate(yaml.safe_load(run.settings_file.read_text()))
    assert (settings.learning_rate, settings.sample_fraction, settings.num_splits) == (0.0004, 0.25, 15)
    assert (settings.batch_size, settings.dropout, settings.hidden_layer_fraction) == (None, 0.1, 0.1)
    assert (settings.model_name, settings.output_path) == ("calratio", tmp_path / "runs")
    assert (settings.main_training_file, settings.cr_training_file) == ("https://example.org/main.pkl", "unknown")
    record = run.read_record()
    assert (record["status"], record["finished_epochs"], record["data"]) == ("imported", 3, {})
    assert record["imported"]["from"] == str(earlier)
    assert len(record["imported"]["files"]["final_weights_checkpoint.keras"]["sha256"]) == 64
    told = " ".join(record["notes"])
    for said in (
        "0 to 500 GeV is assumed",
        "fresh adversary",
        "no AUC",
        "Which jets it was trained on is not recorded",
    ):
        assert said in told
    assert "Starting Training 2023" in (run.path / "training_details.txt").read_text()


def test_an_epoch_is_chosen_by_the_history_that_came_along(tmp_path: Path) -> None:
    imported(earlier_folder(tmp_path, epochs=(0, 1, 2)), tmp_path)
    (network,) = find_networks("calratio/0/best", tmp_path / "runs", "validation-loss").files
    assert network.epoch == 1
    with pytest.raises(RunError, match="has no best epoch"):
        find_networks("calratio/0/best", tmp_path / "runs", "auc-near-lowest-ks")


def test_without_a_checkpoint_the_last_epoch_with_weights_is_the_newest(tmp_path: Path) -> None:
    earlier = earlier_folder(tmp_path, epochs=(0, 1))
    (earlier / "keras" / "final_weights_checkpoint.keras").unlink()
    summary = imported(earlier, tmp_path)
    assert len(summary.run.read_history()) == 2
    assert find_network("calratio/0/last", tmp_path / "runs").epoch == 1
    assert "Its history after epoch 1, the last one with weights, is left out." in summary.notes
    weights = read_own_network(summary.run.path / "keras" / "final_model.keras").weights
    np.testing.assert_array_equal(weights["output.bias"], random_weights(SMALL, seed=1)["output.bias"])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("net.h5", lambda shape, weights: legacy_hdf5(shape, weights, keras_2_config(shape))),
        ("net.keras", keras_2_zip),
        ("net.json", lambda shape, weights: fdeep_file(shape, weights, Flavour.KERAS_2)),
    ],
)
def test_a_file_becomes_a_run_named_after_it(name: str, make: Callable[..., bytes], tmp_path: Path) -> None:
    weights = random_weights(SMALL, seed=5)
    summary = imported(written(tmp_path, make(SMALL, weights), name), tmp_path)
    assert summary.run.name == "net/00000"
    assert summary.epochs == ()
    stored = read_own_network(find_network("net/0", tmp_path / "runs").file)
    assert stored.shape == SMALL
    np.testing.assert_array_equal(stored.weights["output.kernel"], weights["output.kernel"])
    again = imported(tmp_path / name, tmp_path, model_name="other")
    assert again.run.name == "other/00000"


def test_a_file_of_this_program_becomes_a_run_with_its_encoder(tmp_path: Path) -> None:
    shape = replace(SMALL, encoder=SumPooling.name)
    weights = {name: np.zeros(size, np.float32) for name, size in shape.weight_shapes().items()}
    summary = imported(written(tmp_path, safetensors_bytes(shape, weights), "final_model.safetensors"), tmp_path)
    assert summary.run.read_settings()["encoder"] == SumPooling.name
    assert not any("earlier program's final_model" in note for note in summary.notes)


def test_a_network_with_options_of_its_encoder_becomes_a_run_with_them(tmp_path: Path) -> None:
    options = (("width", 4), ("layers", 1), ("heads", 2), ("hidden", 3))
    branches = tuple(replace(branch, options=options) for branch in SMALL.branches)
    shape = replace(SMALL, encoder="transformer", branches=branches)
    content = safetensors_bytes(shape, random_weights(shape, seed=1))
    assert network_from_safetensors(content).shape == shape
    settings = imported(written(tmp_path, content, "final_model.safetensors"), tmp_path).run.read_settings()
    assert (settings["encoder"], settings["encoder_options"][:2]) == ("transformer", ["width=4", "layers=1"])


def test_parametrised_masses_are_settings_of_the_run(tmp_path: Path) -> None:
    one, two = (replace(SMALL, masses=masses) for masses in (1, 2))
    first = imported(written(tmp_path, keras_2_zip(one, random_weights(one, 1)), "one"), tmp_path)
    second = imported(written(tmp_path, keras_2_zip(two, random_weights(two, 1)), "two"), tmp_path)
    assert "It reads one mass, which is assumed to be llp_mH in TeV." in first.notes
    for summary, expected in ((first, (True, False)), (second, (True, True))):
        settings = yaml.safe_load(summary.run.settings_file.read_text())
        assert (settings["mH_parametrization"], settings["mS_parametrization"]) == expected


def test_settings_that_contradict_the_network_give_way_and_are_told(tmp_path: Path) -> None:
    earlier = earlier_folder(tmp_path)
    (earlier / "training_params.yaml").write_text(yaml.dump({**PARAMETERS, "filters_cnn_MSeg": [9, 9], "strange": 3}))
    summary = imported(earlier, tmp_path)
    assert "Its muon_segment_filters is [9, 9] in training_params.yaml, but the network has [4]." in summary.notes
    assert "Settings that this program does not have are left out: strange." in summary.notes


def test_strange_names_in_a_training_are_told_without_what_moves_a_cursor_and_not_at_any_length(tmp_path: Path) -> None:
    earlier = earlier_folder(tmp_path).rename(tmp_path / "what a \x1b name")
    names = {"\x1b[2J": [1], "x" * 10_000: [2]}
    (earlier / "keras" / "history_checkpoint.json").write_text(json.dumps({**HISTORY, **names}))
    (earlier / "training_params.yaml").write_text(yaml.dump({**PARAMETERS, "\x1b[31m": 1, "y" * 10_000: 2}))
    summary = imported(earlier, tmp_path, model_name="strange")
    told = [*summary.notes, summary.description]
    assert any(r"\x1b[2J" in note for note in told)
    assert all(line.isprintable() and len(line) < 1000 for line in told)
    assert "\x1b" not in summary.run.read_record()["imported"]["from"]


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, keras_2_zip(SMALL, random_weights(SMALL, 1)), "net\udcff.keras")
    with pytest.raises(ValueError, match="is no text in UTF-8; rename the file or folder"):
        imported(file, tmp_path, model_name="strange")


def damage_epoch(run: Path) -> None:
    """Truncates one of the files."""
    file = run / "keras" / "final_model_weights_2.keras"
    file.write_bytes(file.read_bytes()[:5000])


def other_network(run: Path) -> None:
    """Adds weights of another network to those of the run."""
    written(run / "keras", legacy_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, 1)), "final_model_weights_2.keras")


def bad_settings(run: Path) -> None:
    """Settings with an invalid learning rate."""
    (run / "training_params.yaml").write_text(yaml.dump({**PARAMETERS, "lr_values": -1}))


def deep_settings(run: Path) -> None:
    """Settings nested so deeply that the reader needs a second attempt."""
    (run / "training_params.yaml").write_text("a: " + "[" * 3_000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_epoch, r"final_model_weights_2\.keras: the HDF5 data is damaged"),
        (
            other_network,
            r"final_model_weights_2\.keras: layer .* has shape|weights of layer .* are missing|holds weights",
        ),
        (bad_settings, r"training_params\.yaml: learning_rate"),
        (deep_settings, "nested too deeply|not valid YAML"),
        (lambda run: (run / "keras" / "history_checkpoint.json").write_text("[1"), "is no valid JSON"),
    ],
)
def test_a_damaged_training_is_refused_and_nothing_is_left(
    damage: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    earlier = earlier_folder(tmp_path)
    damage(earlier)
    with pytest.raises((InputFileError, ConfigError), match=said):
        imported(earlier, tmp_path)
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


def test_a_path_without_a_good_name_asks_for_one(tmp_path: Path) -> None:
    file = written(tmp_path, keras_2_zip(SMALL, random_weights(SMALL, 1)), "my net (2)")
    with pytest.raises(ConfigError, match="gives no name for the model; say one with --model_name"):
        imported(file, tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def small_run(tmp_path: Path) -> ImportSummary:
    """An imported run."""
    return imported(earlier_folder(tmp_path), tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Training files as settings."""
    main, control = write_training_files(tmp_path_factory.mktemp("data"), 400, 300)
    return {"main_training_file": str(main), "cr_training_file": str(control)}


def start_of(folder: Path, continue_from: str, **given: Any) -> Start:
    """Start of a training by `--continue`, with some settings on the command line."""
    flags = {"model_name": "calratio", "output_path": folder / "runs", **given}
    layers: Layers = [("packaged defaults", TrainSettings.defaults()), ("command line", flags)]
    return find_start(layers, settings_from(TrainSettings, layers), continue_from)


def trained(start: Start) -> TrainSummary:
    """Training from this start."""
    return train(start, say=lambda text: None, details=lambda figures: "")


TINY = {"epochs": 1, "num_splits": 2, "threads": 1, "sample_fraction": 1.0, "epoch_plots": False}


@pytest.mark.usefixtures("without_figures")
def test_going_on_makes_a_new_run_from_the_imported_weights(
    small_run: ImportSummary, files: dict[str, str], tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in small_run.run.path.rglob("*") if path.is_file()}
    start = start_of(tmp_path, "0", **files, **TINY, learning_rate=1e-12)
    assert start.run is None
    assert start.settings.cluster_filters == [6, 5]
    summary = trained(start)
    assert summary.run.name == "calratio/00001"
    expected = random_weights(SMALL, seed=2)
    weights = read_own_network(summary.run.path / "keras" / "final_model.keras").weights
    for name, values in expected.items():
        np.testing.assert_allclose(weights[name], values, atol=1e-6, err_msg="with no learning, weights stay")
    record = summary.run.read_record()
    assert record["initial_weights"]["run"] == "calratio/00000"
    assert "its test jets may be some that it was trained on" in record["notes"][0]
    assert record["finished_epochs"] == 1
    assert {path: path.read_bytes() for path in before} == before, "the imported run stays as it is"


@pytest.mark.usefixtures("without_figures")
def test_a_new_run_that_was_stopped_before_its_first_checkpoint_begins_with_the_same_weights(
    small_run: ImportSummary, files: dict[str, str], tmp_path: Path
) -> None:
    summary = trained(start_of(tmp_path, "0", **files, **TINY))
    summary.run.checkpoint_file.unlink()
    summary.run.write_record(summary.run.read_record() | {"status": "interrupted"})
    again = start_of(tmp_path, "1")
    assert again.run == Run(summary.run.path)
    assert again.initial == start_of(tmp_path, "0", **files).initial
    assert again.initial is not None


def test_a_continued_run_needs_training_files_and_keeps_its_network(
    small_run: ImportSummary, files: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"imported without its training files; say one .* with --cr_training_file"):
        start_of(tmp_path, "0")
    wider = start_of(tmp_path, "0", **files, **TINY, cluster_filters=[6, 6])
    with pytest.raises(ConfigError, match=r"another network than that of calratio/00000: its clusters.dense.1.kernel"):
        trained(wider)
    assert not (tmp_path / "runs" / "calratio" / "00001").exists()


def test_auto_passes_over_an_imported_run(small_run: ImportSummary, files: dict[str, str], tmp_path: Path) -> None:
    start = start_of(tmp_path, AUTO, **files)
    assert (start.run, start.initial) == (None, None)


def test_of_an_imported_run_the_history_is_drawn_as_far_as_it_is_known(
    small_run: ImportSummary, caplog: pytest.LogCaptureFixture
) -> None:
    names = {drawing.name for drawing in Run(small_run.run.path).drawings}
    assert names == {"ks_qcd", "ks_sig", "ks_bib", "main_nn_loss"}, "AUC and accuracies are not in its history"
    (said,) = caplog.messages
    assert "only its history can be drawn" in said


def test_of_an_imported_run_without_history_nothing_can_be_drawn_and_it_says_what_can(tmp_path: Path) -> None:
    run = imported(written(tmp_path, keras_2_zip(SMALL, random_weights(SMALL, 1)), "one"), tmp_path).run
    with pytest.raises(RunError, match="without a history, so there is nothing to draw of it; 'cr_trainer analyze'"):
        assert run.drawings
