"""A run with the real jets of 2016 as control region is analyzed, compared and scored like any other."""

from collections import Counter
from pathlib import Path

import pytest

from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.reporting.analysis import analyze_runs
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.compare import compare
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.scoring.small import score_settings

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def run(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs on synthetic main jets and the real control region."""
    folder = tmp_path_factory.mktemp("real_control")
    main, _ = write_training_files(folder, simulation=None)
    settings = TrainSettings.make(
        main_training_file=str(main),
        cr_training_file=str(control_region(real)),
        output_path=folder,
        epochs=2,
        num_splits=4,
        sample_fraction=1.0,
        train_fraction=0.5,
        keep_weights="all",
        threads=1,
    )
    with pytest.MonkeyPatch.context() as without_figures:
        without_figures.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        return Run(train(Start(settings), say=lambda text: None, details=lambda figures: "").run.path)


def control_region(real: Path) -> Path:
    return real / "frames" / "felix_control_region.pkl"


def test_analyze_recommends_one_of_its_epochs_and_has_its_k_s(run: Run, tmp_path: Path) -> None:
    settings = AnalyzeSettings.make(
        output_path=run.path.parent.parent, output_report=tmp_path / "analyze.md", replicas=10, plotted_epochs=1
    )
    analyze_runs(settings)
    page = (tmp_path / "analyze.md").read_text()
    assert "Of 2 epochs of 1 run, **default/00000/" in page
    assert "**AUC and K-S sum on the test part**" in page
    # All three ranges of pt have data and MC, so the sum is defined.
    assert all(row["ks_bib_hist"] > 0 for row in run.read_history())


def test_every_real_jet_is_known_by_its_part(run: Run, real: Path, tmp_path: Path) -> None:
    settings = score_settings(tmp_path, [control_region(real)], "default/0", output_path=run.path.parent.parent)
    (file,) = score_files(settings).files
    assert file.tally is not None
    assert file.tally.region == "control"
    parts = Counter(file.tally.jets_by_part())
    assert parts.total() == 226 + 223
    assert set(parts) == {"train", "validation", "test"}


def test_two_epochs_are_compared_on_jets_that_neither_was_trained_on(run: Run, real: Path, tmp_path: Path) -> None:
    settings = CompareSettings.make(
        first="default/0/0",
        second="default/0/1",
        input_files=[str(control_region(real))],
        output_path=run.path.parent.parent,
        output_report=tmp_path / "report.md",
        replicas=10,
        threads=1,
    )
    sample = compare(settings).samples["control"]
    assert 50 < len(sample.jets) < 200
    assert sample.ks is not None
    assert sample.ks_sum is not None
