"""Test jets of a run, scored again with its networks."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.loading import load_jets
from cal_ratio_trainer.runs.directory import RunDirectory, RunError
from cal_ratio_trainer.runs.networks import find_networks
from cal_ratio_trainer.runs.overview import RunOverview
from cal_ratio_trainer.runs.test_sample import RunSample, known_settings
from tests.factories.files import write_training_files
from tests.factories.runs import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A small real training."""
    folder = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        return train_small(write_training_files(folder, 600, 400), folder / "runs")


def sample_of(run: RunDirectory) -> RunSample:
    return RunSample.read(run, RunOverview.of(run).settings)


def test_the_newest_network_gives_the_scores_and_the_figures_that_the_training_wrote(run: RunDirectory) -> None:
    sample = sample_of(run)
    main, control = sample.scored_by(find_networks(f"{run.name}/last", run.path.parents[1]).load())
    written = np.stack([sample.main.jets[f"jet_nn_{label.output}"] for label in Label], axis=1)
    assert main.scores == pytest.approx(written, abs=1e-6)
    assert set(main.higgs_masses) == {125.0, 600.0}
    assert (main.weights == sample.main.jets["evaluation_weight"]).all()
    is_data = sample.control.jets.label == 2
    assert (control.is_data == is_data).all()
    assert 0 < control.is_data.mean() < 1


def test_jets_of_an_event_share_its_number(run: RunDirectory) -> None:
    sample = sample_of(run)
    numbers = sample.main.jets["eventNumber"]
    assert len(np.unique(sample.main.events)) < len(numbers)
    for event in np.unique(sample.main.events):
        assert len(np.unique(numbers[sample.main.events == event])) == 1


def test_two_runs_have_the_same_checksum_when_they_have_the_same_test_jets(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    files = (run.path.parents[2] / "main.parquet", run.path.parents[2] / "control.parquet")
    other_network = train_small(files, tmp_path, epochs=1, adversary_weight=0.0)
    other_split = train_small(files, tmp_path, epochs=1, seed=2)
    assert sample_of(other_network).checksum == sample_of(run).checksum
    assert sample_of(other_split).checksum != sample_of(run).checksum


def test_a_network_that_reads_masses_is_given_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    files = write_training_files(tmp_path, 600, 400)
    run = train_small(files, tmp_path / "runs", epochs=1, mH_parametrization=True, include_high_mass=False)
    sample = sample_of(run)
    network = find_networks(f"{run.name}/last", tmp_path / "runs").load()
    main, _ = sample.scored_by(network)
    written = np.stack([sample.main.jets[f"jet_nn_{label.output}"] for label in Label], axis=1)
    signal = sample.main.jets.label == Label.SIGNAL
    # Signal has its own masses; the others have random ones, and the training used low ones only.
    assert main.scores[signal] == pytest.approx(written[signal], abs=1e-6)
    assert main.scores[~signal] == pytest.approx(written[~signal], abs=0.2)
    without = {**RunOverview.of(run).settings, "mH_parametrization": False}
    with pytest.raises(RunError, match="1 masses, but settings for 0"):
        RunSample.read(run, without).scored_by(network)


def test_missing_damaged_and_foreign_files_are_told_by_name(run: RunDirectory, tmp_path: Path) -> None:
    settings = RunOverview.of(run).settings
    other = RunDirectory(tmp_path / "m" / "00000")
    other.path.mkdir(parents=True)
    with pytest.raises(InputFileError, match=r"test_sample\.parquet: no such file"):
        RunSample.read(other, settings)
    whole = (run.path / "test_sample.parquet").read_bytes()
    (other.path / "test_sample.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputFileError, match=r"test_sample\.parquet"):
        RunSample.read(other, settings)
    (other.path / "test_sample.parquet").write_bytes((run.path.parents[2] / "main.parquet").read_bytes())
    with pytest.raises(UserError, match="evaluation_weight"):
        RunSample.read(other, settings)
    with pytest.raises(RunError, match="settings that cannot be used"):
        RunSample.read(run, {"pt_ranges": "wide"})


def test_settings_of_other_versions_are_passed_over(run: RunDirectory) -> None:
    settings = dict(RunOverview.of(run).settings)
    del settings["plot_format"]
    assert RunSample.read(run, {**settings, "not_invented_yet": 1}).settings.seed == 1


def test_whole_files_have_the_weights_that_figures_of_merit_use(run: RunDirectory) -> None:
    folder = run.path.parents[2]
    files = (folder / "main.parquet", folder / "control.parquet")
    sample = RunSample.of_files(files, known_settings(run, RunOverview.of(run).settings))
    assert len(sample.main.jets) == len(load_jets(files[0]).jets), "all jets, whatever was trained on"
    main, control = sample.scored_by(find_networks(f"{run.name}/last", run.path.parents[1]).load())
    sums = {label: main.weights[main.labels == label].sum() for label in Label}
    assert sums[Label.QCD] == pytest.approx(sums[Label.SIGNAL])
    assert control.weights[control.is_data].sum() == pytest.approx(control.weights[~control.is_data].sum())
