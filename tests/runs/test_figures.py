"""Plots of a run redrawn from its folder."""

import json
import math
from pathlib import Path

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.plotting import write_all
from cal_ratio_trainer.plotting.catalogue import epoch_plot_names
from cal_ratio_trainer.runs.figure_data import EpochHistograms, ks_of_row, ranges_of, read_evaluation
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files

SAMPLE = {
    *("000_main_bib_predictions", "000_val_adversary_sig_predictions", "000_val_adversary_midPt_qcd_predictions"),
    *("main_network_acc", "test_adv_loss", "ks_bib", "adv_bib_predictions", "SoverB_scan", "signal_llp_efficiencies"),
    *("roc_curve_atlas_rej_bib", "sig_predictions_half_linear"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all its plots, whose training files are gone."""
    folder = tmp_path_factory.mktemp("run")
    main, control = write_training_files(folder)
    settings = TrainSettings.make(
        main_training_file=str(main),
        cr_training_file=str(control),
        output_path=folder,
        epochs=1,
        num_splits=4,
        sample_fraction=1.0,
        train_fraction=0.7,
        threads=1,
    )
    run = Run(train(Start(settings), lambda text: None, lambda figures: "", observer=RunDisplay()).run.path)
    main.unlink()
    control.unlink()
    return run


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """Copy of the files for the plots, which tests may damage."""
    copy = tmp_path / "model" / "00000"
    (copy / "histograms").mkdir(parents=True)
    for name in ("run.json", "history.json", "evaluation.json", "training_params.yaml", "histograms/000.json"):
        (copy / name).write_bytes((trained.path / name).read_bytes())
    return Run(copy)


def test_every_plot_of_a_run_can_be_drawn_again_to_the_byte(trained: Run, tmp_path: Path) -> None:
    drawings = trained.drawings
    assert {drawing.name for drawing in drawings} == {path.stem for path in trained.path.glob("*.png")}
    chosen = [drawing for drawing in drawings if drawing.name in SAMPLE]
    assert len(chosen) == len(SAMPLE)
    again = write_all(chosen, tmp_path, trained.figure_labels())
    assert [path.name for path in again if path.read_bytes() != (trained.path / path.name).read_bytes()] == []


def test_all_of_it_is_drawn_in_the_format_one_says(run: Run) -> None:
    few = run.drawings[18:20]
    vars(run)["drawings"] = few
    written = run.redraw({"plot_format": "pdf", "experiment": "ATLAS"})
    # The page of the run shows the PNG files.
    assert written == [run.path / f"{drawing.name}{suffix}" for drawing in few for suffix in (".png", ".pdf")]
    assert all(path.read_bytes().startswith(b"%PDF") for path in written if path.suffix == ".pdf")


def test_a_demo_stays_a_demo_and_settings_that_are_none_are_refused(run: Run) -> None:
    labels = run.figure_labels({"experiment": "ATLAS", "luminosity_fb": 139, "energy_tev": 13.6})
    assert (labels.experiment, labels.luminosity_fb, labels.energy_tev) == ("demo", None, 13.6)
    with pytest.raises(ConfigError, match="plot_format"):
        run.figure_labels({"plot_format": "gif"})
    record = run.read_record()
    for file in record["data"].values():
        file["simulation"] = None
    run.write_record(record)
    assert Run(run.path).figure_labels({"status": "Work in progress"}).qualifiers == "Work in progress"


def test_histograms_without_distances_get_them_from_the_history(run: Run) -> None:
    ks = EpochHistograms.read(run.histograms_file(0)).ks
    content = json.loads(run.histograms_file(0).read_text())
    del content["ks"]
    run.histograms_file(0).write_text(json.dumps(content))
    assert EpochHistograms.read(run.histograms_file(0)).ks is None
    assert ks_of_row(run.read_history()[0], ranges_of([0.25, 0.5])) == ks
    assert ks_of_row({"val_auc": 0.9}, ranges_of([0.25, 0.5])) is None
    drawn = {drawing.name: drawing.content for drawing in run.drawings}
    assert "$p_T$ > 250 GeV" in drawn["000_val_adversary_highPt_sig_predictions"][1]


def test_what_a_run_does_not_have_is_left_out_and_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.histograms_file(0).write_text("{")
    run.evaluation_file.write_text('{"epoch": 0, "figures": {"format": 99}}')
    names = {drawing.name for drawing in run.drawings}
    assert "ks_bib" in names
    assert not names & {*epoch_plot_names(0), "SoverB_scan"}
    assert "the plots of epoch 0 are left out" in caplog.text
    assert "the final plots are left out" in caplog.text
    run.evaluation_file.unlink()
    with pytest.raises(InputFileError, match="was not evaluated"):
        read_evaluation(run.evaluation_file)


def test_epochs_that_do_not_all_know_the_same_are_drawn_all_the_same(run: Run) -> None:
    (first,) = json.loads(run.history_file.read_text())
    rows = [{"epoch": 0, "original_lossf": 1.0}, first | {"epoch": 1}]
    run.history_file.write_text(json.dumps(rows))
    drawn = {each.name: each.content for each in run.drawings}
    _, history, _ = drawn["val_auc"]
    assert [math.isnan(value) for value in history["val_auc"]] == [True, False]
    assert "main_nn_loss" in drawn


def test_final_plots_of_an_earlier_epoch_say_so(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    rows = json.loads(run.history_file.read_text())
    run.history_file.write_text(json.dumps([*rows, {**rows[0], "epoch": 1}]))
    assert run.drawings
    assert "the final plots show epoch 0" in caplog.text


def test_a_run_without_record_is_refused_for_nobody_knows_whether_it_is_a_demo(run: Run) -> None:
    run.record_file.unlink()
    with pytest.raises(RunError, match=r"has no run\.json that describes its jets"):
        run.redraw()
