"""Output of the loop after an epoch."""

import json
import math
from pathlib import Path

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.runs.record import Timings
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.loop import TrainingDiverged, epoch_line, short_note
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files

C2ST = ("auc", "error", "expected", "spread", "excess")
ROW = {
    "original_lossf": 0.51,
    "val_original_lossf": 0.48,
    "val_original_adv_lossf": 0.7,
    "val_auc": 0.98765,
    **{f"ks_{name}_hist": value for name, value in (("qcd", 0.2), ("sig", 0.3), ("bib", 0.25))},
    **{f"ks_{name}_excess": 1.5 for name in ("qcd", "sig", "bib")},
}


def test_the_epoch_line_has_losses_auc_ks_rate_and_time_left() -> None:
    timings = Timings(steps=2.0, main_jets=20_000, epochs=[2.0, 4.0])
    line = epoch_line([ROW, ROW], 12, timings)
    for words in (
        "epoch 001 (2 of 12)",
        "loss 0.51",
        "val 0.48",
        "AUC 0.9877",
        "bib 0.25(+1.5",
        "10.0k jets/s",
        "30.0 s left",
    ):
        assert words in line
    assert short_note([ROW], 15) == "1 of 15 epochs, AUC 0.9877, K-S 0.75"


@pytest.mark.usefixtures("without_figures")
def test_a_classifier_looks_for_differences_of_data_and_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.training.loop._TRAINED_PER_C2ST_JET", 1)
    _train(tmp_path, control_jets=1000, train_fraction=0.4, epochs=3, c2st_every=2)
    run = tmp_path / "runs" / "default" / "00000"
    rows = json.loads((run / "history.json").read_text())
    assert list(rows[0])[-6:] == ["val_auc_error", *(f"c2st_{name}" for name in C2ST)]
    assert [row["c2st_auc"] is not None for row in rows] == [False, True, True]
    assert 0.3 < rows[1]["c2st_auc"] < 0.7
    assert rows[2]["c2st_excess"] == pytest.approx(
        (rows[2]["c2st_auc"] - rows[2]["c2st_expected"]) / rows[2]["c2st_spread"]
    )
    record = json.loads((run / "run.json").read_text())
    assert math.isfinite(record["test"]["c2st_auc"])
    assert 0 < record["timings"]["c2st_s"] < record["timings"]["validation_s"]
    _train(tmp_path, c2st_every=0)
    rows = json.loads((tmp_path / "runs" / "default" / "00001" / "history.json").read_text())
    assert not any(name.startswith("c2st") for name in rows[0])


def test_a_training_without_adversary_says_and_draws_nothing_of_one(tmp_path: Path) -> None:
    line = epoch_line([{**ROW, "val_original_adv_lossf": math.nan}], 12, Timings(epochs=[2.0]))
    assert "adversary" not in line
    assert "nan" not in line
    _train(tmp_path, adversary_weight=0.0, epoch_plots=False)
    drawn = {path.name for path in (tmp_path / "runs" / "default" / "00000").glob("*.png")}
    assert {"main_nn_loss.png", "ks_bib.png", "adv_bib_predictions.png"} <= drawn
    assert not {"adv_acc.png", "train_adv_loss.png", "test_adv_loss.png", "main_adv_acc.png"} & drawn


def test_an_adversary_that_is_confidently_wrong_is_told_once() -> None:
    wrong, adversary = {**ROW, "val_original_adv_lossf": 1.5}, Adversary(DomainSettings(10.0))
    assert adversary.warning([ROW]) is None
    assert "try an adversary_weight below 10" in (adversary.warning([ROW, wrong]) or "")
    assert adversary.warning([ROW, wrong, wrong]) is None
    assert adversary.warning([{**ROW, "val_original_adv_lossf": math.nan}]) is None


def _train(folder: Path, control_jets: int = 300, **changes: object) -> None:
    main, control = write_training_files(folder, 400, control_jets)
    small = {"epochs": 2, "num_splits": 4, "sample_fraction": 1.0, "train_fraction": 0.7, "threads": 1}
    settings = TrainSettings.make(
        main_training_file=str(main), cr_training_file=str(control), output_path=folder / "runs", **(small | changes)
    )
    train(Start(settings), lambda text: None, details=lambda figures: "", observer=RunDisplay())


@pytest.mark.usefixtures("without_figures")
def test_a_training_that_diverges_ends_and_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingDiverged, match=r"NaN or infinite in epoch 0\. Start again with a smaller learning_rate"
    ):
        _train(tmp_path, learning_rate=1e30)
    assert not (tmp_path / "runs" / "default").exists()


@pytest.mark.usefixtures("without_figures")
def test_what_was_trained_before_a_training_diverged_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_step = TrainingStep.__call__

    def diverging(self: TrainingStep, *arguments: object) -> None:
        whole_step(self, *arguments)  # type: ignore[arg-type]
        if arguments[2:4] == (1, 3):
            self.classifier.get_parameter("output.bias").data.fill_(math.nan)

    monkeypatch.setattr(TrainingStep, "__call__", diverging)
    with pytest.raises(TrainingDiverged, match=r"in epoch 1; the network of epoch 0 is in .*00000"):
        _train(tmp_path)
    run = tmp_path / "runs" / "default" / "00000"
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
    # A continuation would end the same way, so `auto` of a job script starts a new run.
    settings = TrainSettings.make(output_path=tmp_path / "runs")
    assert find_start([("defaults", {}), ("command line", {})], settings, "auto").run is None
    assert len(json.loads((run / "history.json").read_text())) == 1
    assert (run / "keras" / "checkpoint.safetensors").exists()
