"""Test jets of a run, scored again with its networks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.loading import open_jets, read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.runs.test_sample import RunSample, jet_kinematics, scored_jets
from tests.factories.files import write_training_files
from tests.factories.runs import train_small, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small real training."""
    folder = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        return train_small(write_training_files(folder, 600, 400), folder / "runs")


def sample_of(run: Run) -> RunSample:
    return run.test_sample()


def test_the_newest_network_gives_the_scores_and_the_figures_that_the_training_wrote(run: Run) -> None:
    sample = sample_of(run)
    main, control = sample.scored_by(find_networks(f"{run.name}/last", run.path.parents[1]).load())
    written = np.stack([sample.main.jets[f"jet_nn_{label.output}"] for label in Label], axis=1)
    assert main.scores == pytest.approx(written, abs=1e-6)
    assert set(main.higgs_masses) == {125.0, 600.0}
    assert (main.weights == sample.main.jets["evaluation_weight"]).all()
    is_data = sample.control.jets.label == 2
    assert (control.is_data == is_data).all()
    assert 0 < control.is_data.mean() < 1


def test_jets_of_an_event_share_its_number(run: Run) -> None:
    sample = sample_of(run)
    numbers = sample.main.jets["eventNumber"]
    assert len(np.unique(sample.main.events)) < len(numbers)
    for event in np.unique(sample.main.events):
        assert len(np.unique(numbers[sample.main.events == event])) == 1


def test_two_runs_have_the_same_checksum_when_they_have_the_same_test_jets(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    without = run.settings.model_copy(update={"mH_parametrization": False})
    with pytest.raises(RunError, match="1 masses, but settings for 0"):
        RunSample.read(run.path, without).scored_by(network)


def test_missing_damaged_and_foreign_files_are_told_by_name(run: Run, tmp_path: Path) -> None:
    settings = run.settings
    other = Run(tmp_path / "m" / "00000")
    other.path.mkdir(parents=True)
    with pytest.raises(InputFileError, match=r"test_sample\.parquet: no such file"):
        RunSample.read(other.path, settings)
    whole = (run.path / "test_sample.parquet").read_bytes()
    (other.path / "test_sample.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputFileError, match=r"test_sample\.parquet"):
        RunSample.read(other.path, settings)
    (other.path / "test_sample.parquet").write_bytes((run.path.parents[2] / "main.parquet").read_bytes())
    with pytest.raises(UserError, match="evaluation_weight"):
        RunSample.read(other.path, settings)


def test_settings_of_other_versions_are_passed_over_and_bad_values_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", settings={"seed": 7})
    text = run.settings_file.read_text()
    without = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("plot_format"))
    run.settings_file.write_text(f"{without}not_invented_yet: 1\n")
    assert run.settings.seed == 7
    run.settings_file.write_text(text.replace("seed: 7", "seed: many"))
    with pytest.raises(RunError, match="settings that cannot be used"):
        assert Run(run.path).settings


def test_whole_files_have_the_weights_that_figures_of_merit_use(run: Run) -> None:
    folder = run.path.parents[2]
    files = (folder / "main.parquet", folder / "control.parquet")
    sample = RunSample.of_files(*files, run.settings)
    assert len(sample.main.jets) == len(read_jets(files[0])), "all jets, whatever was trained on"
    main, control = sample.scored_by(find_networks(f"{run.name}/last", run.path.parents[1]).load())
    sums = {label: main.weights[main.labels == label].sum() for label in Label}
    assert sums[Label.QCD] == pytest.approx(sums[Label.SIGNAL])
    assert control.weights[control.is_data].sum() == pytest.approx(control.weights[~control.is_data].sum())


def table(**columns: object) -> pa.Table:
    return pa.table({"label": pa.array([1, 0], pa.int8()), **columns})


def test_pt_comes_back_in_gev_by_the_files_scaling() -> None:
    jets = table(jet_pt=pa.array([0.25, 0.5], pa.float32()))
    for scaling, expected in ((None, [125, 250]), (Scaling(min_jet_pt=40, max_jet_pt=540), [165, 290])):
        assert jet_kinematics(jets, scaling)["pt"].tolist() == expected


def test_what_a_file_lacks_is_none_and_what_is_null_is_not_a_number() -> None:
    jets = table(llp_eta=pa.nulls(2), llp_Lxy=pa.array([1500.0, None], pa.float32()), jet_eta=pa.array([1, -1]))
    known = jet_kinematics(jets, None)
    assert known.keys() == {"llp_eta", "llp_lxy", "eta"}
    assert np.isnan(known["llp_eta"]).all()
    np.testing.assert_array_equal(known["llp_lxy"], [1500, np.nan])
    assert known["eta"].tolist() == [1, -1]


def test_masses_may_be_absent() -> None:
    scores = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    jets = scored_jets(table(), scores, np.ones(2), JetMetadata(stage="built"))
    assert jets.higgs_mass is None
    assert jets.higgs_masses == ()


@pytest.mark.real
def test_the_truth_of_real_jets_is_known(real: Path) -> None:
    loaded = open_jets(real / "reference" / "build" / "conv_sig_311314__as_sig.parquet")
    known = jet_kinematics(loaded.load().scalars, loaded.metadata.scaling)
    barrel = np.abs(known["llp_eta"]) < 1.4
    assert ((known["llp_lxy"][barrel] > 1200) & (known["llp_lxy"][barrel] < 4000)).all()
    assert ((np.abs(known["llp_lz"][~barrel]) > 3500) & (np.abs(known["llp_lz"][~barrel]) < 6000)).all()
    assert ((known["pt"] >= 40) & (known["pt"] < 500)).all()


SCORES = ([0.1, 0.7], [0.8, 0.2], [0.1, 0.1])
