"""`cr_trainer analyze` and `cr_trainer runs` on a fold set, which counts as one run."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import AnalyzeSettings, RunsSettings
from cal_ratio_trainer.reporting.analysis import analyze_runs
from cal_ratio_trainer.reporting.runs import run_rows
from cal_ratio_trainer.runs.recommendation import BestEpochs, mean_row, recommended_epoch
from cal_ratio_trainer.scoring.candidates import NothingToAnalyze, choose_runs, shortlist, with_results
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, history_row, set_settings, train_set, train_small


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two networks, and a run of one, on the same files."""
    folder = tmp_path_factory.mktemp("folds")
    files = write_training_files(folder, 600, 400)
    train_set(set_settings(files, folder, keep_weights="all"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        train_small(files, folder, **TINY)
    return folder


def settings_of(runs: Path, folder: Path, *names: str) -> AnalyzeSettings:
    given = {
        "output_path": runs,
        "output_report": folder / "analyze.md",
        "replicas": 5,
        "best_of_each": 1,
        "plotted_epochs": 1,
        "device": "cpu",
    }
    return AnalyzeSettings.make(runs_to_analyze=list(names), **given)


def test_a_set_and_a_run_on_the_same_files_are_held_against_each_other(runs: Path, tmp_path: Path) -> None:
    result = analyze_runs(settings_of(runs, tmp_path))
    assert result.runs == ("default/00000", "default/00001")
    (recommended,) = result.recommended
    assert recommended == "default/00000/best" or recommended.startswith("default/00001/")
    page = result.report.read_text("utf-8").replace("\\", "")
    assert "default/00000 is a fold set, 2 networks that count as one run" in page
    assert "Of 4 epochs of 2 runs" in page
    assert "default/00000/best" in page


def test_a_set_offers_one_choice_and_its_test_jets_are_those_of_all_folds_once(runs: Path, tmp_path: Path) -> None:
    settings = settings_of(runs, tmp_path, "default/0")
    (group,) = choose_runs(settings).groups
    (candidate,) = with_results(shortlist(group, 2), settings)
    assert (candidate.name, candidate.reasons) == ("default/00000/best", ("recommended",))
    sample, other = candidate.run.sample, choose_runs(settings_of(runs, tmp_path, "default/1")).runs[0].sample
    assert sample is not None
    assert other is not None
    assert candidate.result is not None
    # One seed: the split puts the same events into the test part, with folds and without.
    assert sorted(sample.main.jets["jet_phi"].tolist()) == sorted(other.main.jets["jet_phi"].tolist())
    assert sum(candidate.run.class_counts.values()) == len(other.main.jets)  # type: ignore[union-attr]


def test_the_best_of_a_set_is_each_network_at_its_own_best_epoch(runs: Path) -> None:
    histories = [[history_row(0.9, 0.9), history_row(0.99, 0.7)], [history_row(0.98, 0.6), history_row(0.5, 0.9)]]
    best = BestEpochs.of(histories, "ks-sum")
    assert best is not None
    assert (best.epochs, best.words) == ((1, 0), "1+0")
    assert best.row["val_auc"] == pytest.approx(0.985)
    assert best.epochs == tuple(recommended_epoch(history, "ks-sum") for history in histories)
    assert BestEpochs.of([histories[0], [{}]], "ks-sum") is None
    assert np.isnan(mean_row([{"loss": 1.0}, {"loss": float("nan")}])["loss"])


def test_a_set_that_lacks_folds_is_not_judged(runs: Path, tmp_path: Path) -> None:
    files = (runs / "main.parquet", runs / "control.parquet")
    train_set(set_settings(files, tmp_path / "runs", fold=0, epochs=1))
    with pytest.raises(NothingToAnalyze, match="is incomplete; it can be judged when all its folds are trained"):
        choose_runs(settings_of(tmp_path / "runs", tmp_path, "default/0"))
    with pytest.raises(NothingToAnalyze, match=r"not finished are default/00000 \(incomplete\)"):
        choose_runs(settings_of(tmp_path / "runs", tmp_path))


def test_a_set_is_one_line_of_the_table_of_runs_and_its_folds_can_be_listed(runs: Path) -> None:
    rows = run_rows(RunsSettings.make(output_path=runs))
    assert [row.run.name for row in rows] == ["default/00000", "default/00001"]
    assert (rows[0].run.status, rows[0].run.epochs) == ("finished", 2)
    assert rows[0].best_epoch in {"0+0", "0+1", "1+0", "1+1"}
    with_folds = run_rows(RunsSettings.make(output_path=runs, folds=True))
    names = ["default/00000", "default/00000/fold_0", "default/00000/fold_1", "default/00001"]
    assert [row.run.name for row in with_folds] == names
