"""Two networks, or a network and scores in files, on the same jets."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.datasets.splits import Part, split_jets
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn, UserError
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.compare import compare
from cal_ratio_trainer.scoring.score import score_files
from tests.factories.files import SCALING, write_built, write_converted
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network
from tests.factories.runs import change_settings, sign_network
from tests.scoring.small import OUTPUTS, score_settings, scores_in

RunWithFiles = tuple[Run, Path, Path]


def compare_settings(folder: Path, first: Path | str, *words: Path | str, **changes: Any) -> CompareSettings:
    """Settings of a comparison with output in folder/compared."""
    given = {"output_report": folder / "compared" / "report.md", "output_path": folder, "threads": 1, "replicas": 20}
    return CompareSettings.make(first=str(first), input_files=[str(word) for word in words], **(given | changes))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network."""
    return write_network(tmp_path_factory.mktemp("other") / "other.keras", seed=2)


def test_a_network_agrees_with_itself_in_everything(network: Path, tmp_path: Path) -> None:
    file = write_built(tmp_path / "jets.parquet", scale(mixed_jets(300), SCALING).jets)
    summary = compare(compare_settings(tmp_path, network, network, file))
    sample = summary.samples["main"]
    assert len(sample.jets) == 300
    assert sample.agreement.largest == 0
    assert sample.agreement.same_decision == 1
    assert sample.figures is not None
    assert all(figure.difference.value == 0 for figure in sample.figures.figures)
    assert summary.explanation is None


def test_files_with_and_without_scores_of_the_experiment_are_compared_together(
    network: Path, other: Path, tmp_path: Path
) -> None:
    scored = mixed_jets(40, jet_nn_calRatio_main_sig=np.linspace(0, 1, 40, dtype=np.float32))
    files = [
        write_converted(tmp_path / "with.parquet", scored),
        write_converted(tmp_path / "b.parquet", mixed_jets(30)),
    ]
    control = scale(mixed_jets(20, label=np.tile([0, 2], 10)), SCALING).jets
    write_jets(tmp_path / "c.parquet", control, JetMetadata(stage="built", kind="control", scaling=SCALING))
    summary = compare(compare_settings(tmp_path, network, other, *files, tmp_path / "c.parquet"))
    table = pq.read_table(summary.scores)
    assert table.column("region").to_pylist() == ["main"] * 70 + ["control"] * 20
    assert table.column("jet_nn_calRatio_main_sig").null_count == 50
    text = mixed_jets(30, jet_nn_calRatio_main_sig=np.array(["a"] * 30))
    write_converted(tmp_path / "b.parquet", text)
    with pytest.raises(UserError, match="jet_nn_calRatio_main_sig has incompatible types"):
        compare(compare_settings(tmp_path, network, other, *files))


def test_what_is_odd_in_the_jets_is_told(network: Path, other: Path, tmp_path: Path) -> None:
    jets = mixed_jets(200)
    weights, pt = jets["mcEventWeight"].copy(), jets["jet_pt"].copy()
    weights[:3], pt[5] = np.nan, np.inf
    file = write_converted(tmp_path / "jets.parquet", jets.with_columns({"mcEventWeight": weights, "jet_pt": pt}))
    notes = compare(compare_settings(tmp_path, network, other, file)).notes
    assert "main jets: 3 jets have a weight that is NaN or infinite; weight 1 is used" in notes
    assert "main jets: 1 NaN or infinite values of jet_pt were read as 0" in notes


def test_two_networks_are_compared_on_the_same_jets(network: Path, other: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(300))
    summary = compare(compare_settings(tmp_path, network, other, file))
    both = pq.read_table(summary.scores)
    for which, name in ((network, "first"), (other, "second")):
        score_files(score_settings(tmp_path, [file], which))
        own = scores_in(pq.read_table(tmp_path / "scores" / "jets.parquet"))
        found = np.stack([both.column(f"jet_nn_{label.output}_{name}").to_numpy() for label in Label], axis=1)
        np.testing.assert_array_equal(found, own)
    assert both.column("eventNumber").to_pylist() == read_jets(file)["eventNumber"].tolist()


def two_runs(trained: RunWithFiles, folder: Path) -> None:
    """The run as default/0, and a copy of it with another network as default/1."""
    run, *_ = trained
    for number in ("00000", "00001"):
        shutil.copytree(run.path, folder / "default" / number)
    second = Run(folder / "default" / "00001")
    network = write_network(second.path / "keras" / "final_model.keras", seed=5)
    sign_network(second, network, len(second.read_history()) - 1)


@pytest.mark.parametrize("by_folder", [False, True])
def test_without_files_the_test_samples_of_the_first_run_are_used(
    trained: RunWithFiles, tmp_path: Path, by_folder: bool
) -> None:
    two_runs(trained, tmp_path)
    names = (
        [str(tmp_path / "default" / name) for name in ("00000", "00001")] if by_folder else ["default/0", "default/1"]
    )
    summary = compare(compare_settings(tmp_path, *names))
    run, *_ = trained
    for region, name in (("main", "test_sample"), ("control", "control_test_sample")):
        expected = read_jets(run.path / f"{name}.parquet")
        sample = summary.samples[region]  # type: ignore[index]
        assert len(sample.jets) == len(expected)
        # The first network's scores are those in the run.
        own = np.stack([expected[output] for output in OUTPUTS], axis=1)
        np.testing.assert_allclose(sample.jets.first, own, rtol=0, atol=1e-5)
        np.testing.assert_allclose(sample.jets.weights, expected["evaluation_weight"])
        assert sample.jets.left_out == {}
        assert sample.jets.not_known == 0
    assert summary.samples["main"].figures is not None
    assert summary.samples["control"].ks is not None
    assert summary.simulations == ("demo", "demo")


@pytest.mark.parametrize("with_list", [True, False])
def test_jets_that_the_second_run_was_trained_on_are_left_out(
    trained: RunWithFiles, tmp_path: Path, with_list: bool
) -> None:
    two_runs(trained, tmp_path)
    second = tmp_path / "default" / "00001"
    change_settings(Run(second), seed=4)
    expected = read_jets(trained[0].path / "test_sample.parquet")
    part = split_jets(expected, sample_fraction=0.8, train_fraction=0.6, seed=4).part
    if with_list:
        from cal_ratio_trainer.config.training import TrainSettings
        from cal_ratio_trainer.datasets.used_events import write_used_events
        from tests.factories.files import load_training_data

        (second / "events.parquet").unlink()
        settings = TrainSettings.make(sample_fraction=0.8, train_fraction=0.6, seed=4)
        write_used_events(second, load_training_data(settings, trained[1], trained[2])[0], by_row=False)
    else:
        (second / "events.parquet").unlink()
    summary = compare(compare_settings(tmp_path, "default/0", "default/1"))
    fair = part >= Part.TEST
    assert 0 < fair.sum() < len(fair)
    jets = summary.samples["main"].jets
    assert len(jets) == fair.sum()
    assert list(jets.left_out.values()) == [(~fair).sum()]
    everything = compare(compare_settings(tmp_path, "default/0", "default/1", all_jets=True)).samples["main"]
    assert len(everything.jets) == len(fair)
    np.testing.assert_array_equal(everything.jets.fair, fair)


def with_official(folder: Path, network: Path, name: str = "jet_nn_main_{}_v3", **changes: Any) -> Path:
    """Converted file with the network's own scores as official ones; the first jet has none (-1)."""
    jets = mixed_jets(80)
    file = write_converted(folder / "plain.parquet", jets)
    score_files(score_settings(folder, [file], network))
    scores = scores_in(pq.read_table(folder / "scores" / "plain.parquet")).astype(np.float64)
    scores[0] = -1
    columns = {name.replace("{}", label.output): scores[:, label] for label in Label}
    return write_converted(folder / "official.parquet", jets.with_columns(columns | changes))


def test_scores_of_the_same_network_in_a_file_agree_jet_by_jet(network: Path, tmp_path: Path) -> None:
    file = with_official(tmp_path, network)
    summary = compare(compare_settings(tmp_path, network, file, column="jet_nn_main_{}_v3"))
    sample = summary.samples["main"]
    assert len(sample.jets) == 79
    assert sample.jets.left_out == {"one of the two gives no score": 1}
    assert sample.agreement.largest < 1e-6
    assert [output.beyond for output in sample.agreement.outputs] == [(0, 0, 0)] * 3
    assert summary.explanation is not None
    assert summary.explanation.sentences()[0].startswith("The scores agree")
    # The only set of scores needs no name.
    assert compare(compare_settings(tmp_path, network, file)).second == "jet_nn_main_{}_v3"


def test_scores_of_another_network_in_a_file_are_told_from_a_changed_input(
    network: Path, other: Path, tmp_path: Path
) -> None:
    file = with_official(tmp_path, other)
    summary = compare(compare_settings(tmp_path, network, file, column="jet_nn_main_{}_v3"))
    assert summary.explanation is not None
    assert summary.explanation.sentences()[0].startswith("No single change")
    quiet = compare(compare_settings(tmp_path, network, file, column="jet_nn_main_{}_v3", explain=False))
    assert quiet.explanation is None


def test_what_is_to_be_compared_has_to_be_clear(network: Path, tmp_path: Path) -> None:
    file = with_official(
        tmp_path, network, jet_nn_x_qcd=np.ones(80), jet_nn_x_sig=np.ones(80), jet_nn_x_bib=np.ones(80)
    )
    with pytest.raises(ConfigError, match=r"--column.*jet_nn_main_\{\}_v3, jet_nn_x_\{\}"):
        compare(compare_settings(tmp_path, network, file))
    plain = tmp_path / "plain.parquet"
    with pytest.raises(ConfigError, match="holds none"):
        compare(compare_settings(tmp_path, network, plain))
    with pytest.raises(MissingColumn, match="jet_nn_y_qcd"):
        compare(compare_settings(tmp_path, network, file, column="jet_nn_y_{}"))
    with pytest.raises(ConfigError, match="nothing is given"):
        compare(CompareSettings.make())
    with pytest.raises(ConfigError, match="belongs to no run"):
        compare(compare_settings(tmp_path, network, network))
    with pytest.raises(ConfigError, match="no files"):
        compare(compare_settings(tmp_path, network, column="jet_nn_y_{}"))
    for mistyped in ("plian.parquet", "felix.pkl", "ntuple.root"):
        with pytest.raises(InputFileError, match=f"{mistyped}: no such file"):
            compare(compare_settings(tmp_path, network, tmp_path / mistyped))
    with pytest.raises(ValueError, match="must hold"):
        compare_settings(tmp_path, network, file, column="jet_nn_y")


def test_files_without_a_jet_that_both_score_are_an_error(network: Path, tmp_path: Path) -> None:
    none = {f"jet_nn_z_{label.output}": np.full(20, -1.0) for label in Label}
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(20).with_columns(none))
    with pytest.raises(InputFileError, match="no jet that both give a score"):
        compare(compare_settings(tmp_path, network, file, column="jet_nn_z_{}"))


def test_one_network_alone_is_compared_with_nothing(network: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nothing is given to compare .* with: name a second network, or files with scores"
    ):
        compare(CompareSettings.make(first=str(network)))
