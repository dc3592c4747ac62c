"""Training without adversary and without control-region file, and the later commands on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.loading import Layers, settings_from
from cal_ratio_trainer.config.profiles import resolve_layers
from cal_ratio_trainer.config.runs import AnalyzeSettings, RunsSettings
from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.used_events import read_used_events
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.plotting.catalogue import epoch_plot_names
from cal_ratio_trainer.reporting.analysis import analyze_runs
from cal_ratio_trainer.reporting.runs import run_rows, runs_table
from cal_ratio_trainer.runs import network_facts
from cal_ratio_trainer.runs.finding import find_network
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, recommended_epoch
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE
from cal_ratio_trainer.scoring.compare import compare
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.run_plots import RunPlots
from cal_ratio_trainer.training.train import train
from tests.factories.files import load_training_data, write_training_files
from tests.factories.runs import TINY, set_settings, train_set
from tests.scoring.small import score_settings

_SAID = "no control-region file: no K-S, no figures of the control region"


def trained(folder: Path, continue_from: str | None = None, **flags: Any) -> tuple[Run, list[str]]:
    """Run of `cr_trainer train` with flags, and its output; nothing is drawn."""
    given = {"output_path": folder, **flags}
    layers: Layers = resolve_layers([("packaged defaults", TrainSettings.defaults()), ("command line", given)])[0]
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        start = find_start(layers, settings_from(TrainSettings, layers), continue_from)
        return Run(train(start, said.append, details=lambda figures: "").run.path), said


@pytest.fixture(scope="module")
def main_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A main training file without a control region beside it."""
    main, control = write_training_files(tmp_path_factory.mktemp("data"), 600, 10)
    control.unlink()
    return main


@pytest.fixture(scope="module")
def run(main_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three epochs, two and a further one."""
    folder, files = tmp_path_factory.mktemp("runs"), {"main_training_file": str(main_file), "adversary_weight": "0"}
    _, said = trained(folder, **TINY, **files)
    assert _SAID in said
    assert not any(sentence.startswith("control") for sentence in said)
    return trained(folder, "-1", epochs=1, **files)[0]


def test_its_history_and_record_have_no_figures_of_the_control_region(run: Run) -> None:
    history, record = json.loads(run.history_file.read_text()), run.read_record()
    assert len(history) == 3
    assert [row["ks_bib_hist"] for row in history] == [None] * 3
    assert all(row["val_auc"] > 0 for row in history)
    assert list(record["data"]) == ["main"]
    assert not any(name.startswith("ks_") for name in record["test"])
    assert run.read_settings()["cr_training_file"] is None
    assert not (run.path / CONTROL_FILE).exists()
    assert {group.sample for group in read_used_events(run.path) or ()} == {"main"}


def test_its_best_network_is_that_of_the_highest_auc_and_is_kept_and_scores(
    run: Run, main_file: Path, tmp_path: Path
) -> None:
    aucs = [row["val_auc"] for row in run.read_history()]
    best = recommended_epoch(run.read_history())
    assert best == aucs.index(max(aucs))
    assert best in run.kept_epochs()
    output_path = run.path.parents[1]
    summary = score_files(score_settings(tmp_path, [main_file], "default/0/best", output_path=output_path))
    assert not summary.failed


def test_it_is_analyzed_listed_and_compared_without_ks(run: Run, tmp_path: Path) -> None:
    output_path, name = run.path.parents[1], f"default/00000/{recommended_epoch(run.read_history())}"
    given = {"output_path": output_path, "replicas": 5, "device": "cpu"}
    result = analyze_runs(AnalyzeSettings.make(output_report=tmp_path / "report.md", **given))
    assert result.recommended == (name,)
    assert result.failures == ()
    page = result.report.read_text("utf-8").replace("\\", "")
    assert f"**{name}** is recommended" in page
    assert "Without control region there is no K-S, and it is the epoch of the highest AUC." in page
    assert "nan" not in page
    table = runs_table(run_rows(RunsSettings.make(output_path=output_path)), DEFAULT_RULE)
    assert table.rows[0][table.columns.index("its K-S sum")] == "-"
    assert "Without control region there is no K-S" in table.note
    settings = CompareSettings.make(
        first=name, second="default/0/last", output_report=tmp_path / "compared" / "report.md", **given
    )
    assert list(compare(settings).samples) == ["main"]
    network = find_network(name, output_path)
    figures = network_facts.network_facts(network, network.load(), network_facts.test_jets_of(run.path)).figures
    assert figures["auc"] > 0
    assert not any(figure.startswith("ks_") for figure in figures)


def test_the_rules_by_ks_recommend_nothing_and_say_why(run: Run, tmp_path: Path) -> None:
    given = {"output_path": run.path.parents[1], "replicas": 5, "device": "cpu", "rule": "ks-sum"}
    page = analyze_runs(AnalyzeSettings.make(output_report=tmp_path / "report.md", **given)).report.read_text("utf-8")
    assert "No epoch has a K-S sum: there is no control region." in page


def test_its_plots_are_those_of_the_main_jets_and_are_not_drawn_twice(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {drawing.name for drawing in run.drawings}
    assert {*epoch_plot_names(2, with_control=False), "main_nn_loss", "val_auc", "sig_predictions"} <= names
    assert [name for name in names if "ks_" in name or "adv" in name] == []
    assert run.figure_labels().simulation
    asked: list[str] = []
    monkeypatch.setattr(
        "cal_ratio_trainer.training.run_plots.DrawingPool.submit",
        lambda pool, drawings, *given, **more: asked.extend(drawing.name for drawing in drawings),
    )
    for name in epoch_plot_names(0, with_control=False):
        (run.path / f"{name}.png").touch()
    settings = TrainSettings.make(**run.read_settings())
    data = load_training_data(settings, Path(settings.main_training_file))[0]
    with RunPlots(run, settings, data) as plots:
        plots.draw_missing(run.read_history()[:2])
    assert sorted(asked) == sorted(epoch_plot_names(1, with_control=False))


def test_a_control_region_that_a_run_had_is_missed_where_its_test_jets_are_gone(tmp_path: Path) -> None:
    main, control = write_training_files(tmp_path, 600, 400)
    given = {"main_training_file": str(main), "cr_training_file": str(control), "adversary_weight": 0, "epochs": 1}
    run, said = trained(tmp_path / "runs", None, **(TINY | given))
    assert _SAID not in said
    assert run.read_history()[0]["ks_bib_hist"] > 0
    (run.path / CONTROL_FILE).unlink()
    with pytest.raises(InputFileError, match=CONTROL_FILE):
        run.test_sample()


def test_a_fold_set_does_without_too(main_file: Path, tmp_path: Path) -> None:
    given = {"cr_training_file": None, "adversary_weight": 0, "epochs": 1}
    # Two jobs, of which the second finds the set of the first.
    _, summary = (train_set(set_settings((main_file, main_file), tmp_path, fold=fold, **given)) for fold in (0, 1))
    assert summary.figures is not None
    assert summary.figures.ks is None
    assert list(summary.run.read_record()["data"]) == ["main"]
    assert not (summary.run.path / CONTROL_FILE).exists()
    settings = AnalyzeSettings.make(
        output_path=tmp_path, output_report=tmp_path / "report.md", replicas=5, device="cpu"
    )
    assert analyze_runs(settings).recommended == ("default/00000/best",)
