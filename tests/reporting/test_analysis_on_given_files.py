"""Page of `cr_trainer analyze` for runs without test jets, which are evaluated on files that the user gives."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cal_ratio_trainer.config.runs import AnalyzeSettings, ImportSettings
from cal_ratio_trainer.datasets.weights import evaluation_weights
from cal_ratio_trainer.errors import NOTICE, ConfigError
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.jets.loading import open_jets, read_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.reporting.analysis import AnalysisResult, analyze_runs
from cal_ratio_trainer.runs.finding import find_network
from cal_ratio_trainer.runs.import_run import import_training
from cal_ratio_trainer.runs.test_sample import scored_jets
from cal_ratio_trainer.scoring.candidates import NothingToAnalyze, choose_runs
from tests.factories.files import write_training_files
from tests.factories.runs import history_row, write_run
from tests.formats.earlier_files import keras_2_zip
from tests.formats.numpy_network import random_weights
from tests.runs.test_import_run import SMALL, earlier_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported runs: epochs 0 and 2 of a training of three without history, the same with one, and a single file."""
    folder = tmp_path_factory.mktemp("given")
    write_training_files(folder, 600, 400)
    with_history = earlier_folder(folder)
    import_run(folder, with_history, "told")
    (with_history / "keras" / "history_checkpoint.json").unlink(missing_ok=True)
    (with_history / "history_checkpoint.json").unlink(missing_ok=True)
    import_run(folder, with_history, "untold")
    (folder / "alone").write_bytes(keras_2_zip(SMALL, random_weights(SMALL, 5)))
    import_run(folder, folder / "alone", "alone")
    return folder


def import_run(folder: Path, source: Path, name: str) -> None:
    import_training(ImportSettings.make(path=source, model_name=name, output_path=folder / "runs"))


def settings_of(folder: Path, report: Path, *names: str, **changes: Any) -> AnalyzeSettings:
    files = {kind: str(folder / f"{name}.parquet") for kind, name in FILES.items()}
    quick = {"replicas": 10, "best_of_each": 1, "device": "cpu"}
    places = {"output_path": folder / "runs", "output_report": report / "analyze.md"}
    return AnalyzeSettings.make(runs_to_analyze=list(names), **{**places, **files, **quick, **changes})


FILES = {"main_training_file": "main", "cr_training_file": "control"}
NO_FILES = dict.fromkeys(FILES)


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, FigureLabels]:
    """Labels of the figures by name; each figure is one white pixel."""
    pixel, drawn = io.BytesIO(), {}
    Image.new("RGB", (1, 1), "white").save(pixel, "PNG")

    def written(self: Drawing, folder: Path, labels: FigureLabels) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.png").write_bytes(pixel.getvalue())
        drawn[self.name] = labels
        return [folder / f"{self.name}.png"]

    monkeypatch.setattr(Drawing, "write", written)
    return drawn


def analyze(folder: Path, report: Path, *names: str, **changes: Any) -> tuple[AnalysisResult, str]:
    result = analyze_runs(settings_of(folder, report, *names, **changes))
    return result, result.report.read_text("utf-8").replace("\\", "").replace("\xa0", " ")


def test_every_kept_epoch_has_the_auc_of_its_network_on_all_jets_of_the_file(folder: Path, tmp_path: Path) -> None:
    (group,) = choose_runs(settings_of(folder, tmp_path, "untold/0")).groups
    (run,) = group.runs
    loaded = open_jets(folder / "main.parquet")
    tensors = JetTensors.from_jets([loaded.load()], torch.device("cpu"))
    weights = evaluation_weights(loaded.load()["mcEventWeight"].astype(float), loaded.load().label)
    for epoch in (0, 2):
        network = find_network(f"untold/0/{epoch}", folder / "runs").load()
        scored = scored_jets(loaded.load().scalars, scores_of(network, tensors), weights, loaded.metadata)
        assert run.rows[epoch]["val_auc"] == pytest.approx(roc_auc(scored), abs=1e-9)
    assert run.rows[1] == {}, "its weights were not kept"
    assert run.class_counts is not None
    assert sum(run.class_counts.values()) == len(loaded.load())


def test_runs_that_are_judged_on_the_same_files_are_held_against_each_other(
    folder: Path, tmp_path: Path, labels: dict[str, FigureLabels]
) -> None:
    result, page = analyze(folder, tmp_path, "told/0", "untold/0", "alone/0")
    assert result.failures == ()
    (best,) = result.recommended
    assert re.fullmatch(r"(told|untold)/00000/[02]|alone/00000/last", best)
    assert re.search(r"Of \d epochs of 3 runs", page)
    assert "**all jets of main.parquet and control.parquet**" in page
    assert "is no test part" in page
    assert "test part, which no choice has seen" not in page
    assert "**AUC and K-S sum on the given files**" in page
    assert "(test)" not in page
    assert "alone/00000/last" in page
    assert {each.experiment for each in labels.values()} == {"demo"}, "the jets are the demo's"
    assert any(name.endswith("main_sig_predictions_linear") for name in labels)
    assert not any(name.startswith("untold_00000_main_nn_loss") for name in labels)
    assert any(name.startswith("told_00000_main_nn_loss") for name in labels)


def test_what_the_history_says_of_losses_is_kept_and_its_ks_gives_way(folder: Path, tmp_path: Path) -> None:
    (group,) = choose_runs(settings_of(folder, tmp_path, "told/0")).groups
    (run,) = group.runs
    assert run.rows[0]["val_original_lossf"] == run.run.history[0]["val_original_lossf"]
    assert run.rows[0]["ks_bib_hist"] != run.run.history[0]["ks_bib_hist"]
    assert not any(name == "val_auc" or name.startswith("ks_") for name in run.rows[1])


def test_a_run_with_test_jets_of_its_own_is_judged_by_these_and_the_user_is_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "runs" / "own" / "00000", [history_row(0.9, 0.8)])
    write_jets(
        run.path / "test_sample.parquet", read_jets(folder / "main.parquet"), read_metadata(folder / "main.parquet")
    )
    with caplog.at_level(NOTICE):
        chosen = choose_runs(settings_of(folder, tmp_path, "own/0", output_path=tmp_path / "runs"))
    assert not chosen.runs[0].is_judged_on_given_files
    assert "the given training files are not read" in caplog.text


def test_without_files_a_run_without_history_is_told_what_to_give(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToAnalyze, match="--main_training_file and --cr_training_file name files to judge"):
        choose_runs(settings_of(folder, tmp_path, "untold/0", **NO_FILES))


def test_one_file_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ValueError), match="go together"):
        settings_of(folder, tmp_path, "untold/0", cr_training_file=None)


def test_jets_of_another_scaling_are_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "main.parquet"
    metadata = read_metadata(folder / "main.parquet").model_copy(
        update={"scaling": Scaling(min_jet_pt=40, max_jet_pt=500)}
    )
    write_jets(file, read_jets(folder / "main.parquet"), metadata)
    with pytest.raises(NothingToAnalyze, match=r"is scaled with 40 to 500 GeV, and the network reads .* 0 to 500 GeV"):
        choose_runs(settings_of(folder, tmp_path, "untold/0", main_training_file=str(file)))


def test_a_run_without_any_network_is_a_failure_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    run = folder / "runs" / "bare" / "00000"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": "failed"}))
    chosen = choose_runs(settings_of(folder, tmp_path, "bare/0", "alone/0"))
    ((name, why),) = chosen.failures
    assert name == "bare/00000"
    assert "no weights" in why
    assert [each.name for each in chosen.runs] == ["alone/00000"]
    assert np.isfinite(chosen.runs[0].rows[0]["val_auc"])
