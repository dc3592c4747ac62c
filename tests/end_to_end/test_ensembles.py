"""Ensembles (`train --seeds`) from settings to scores, exports and reports."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import cal_ratio_trainer as crt
from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.used_events import read_used_events
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.evaluation import summary
from cal_ratio_trainer.evaluation.c2st import c2st_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.formats.registry import CannotAverage
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.reporting.run_page import write_run_page
from cal_ratio_trainer.reporting.training_details import run_commands, training_summary
from cal_ratio_trainer.runs.finding import find_network, find_networks, named_run
from cal_ratio_trainer.runs.network_export import export_training
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.scoring import candidates
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.training.loop import write_epoch
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.train_networks import NetworkSetSummary
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, are_equal, set_of, set_settings, train_set, train_small
from tests.scoring.small import score_settings, scores_in

Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A main and a control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"), 500, 400)


def ensemble_settings(files: Files, folder: Path, **changes: Any) -> TrainSettings:
    return set_settings(files, folder, **{"folds": None, "seeds": 2, "seed": 4, "keep_weights": "all", **changes})


@pytest.fixture(scope="module")
def trained(files: Files, tmp_path_factory: pytest.TempPathFactory) -> NetworkSetSummary:
    """An ensemble of two networks, trained without interruption; do not change it."""
    return train_set(ensemble_settings(files, tmp_path_factory.mktemp("whole")))


def test_member_0_is_the_network_of_its_seed_and_others_differ_on_the_same_split(
    trained: NetworkSetSummary, files: Files, tmp_path: Path
) -> None:
    members = set_of(trained).networks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        alone = train_small(files, tmp_path, **TINY, seed=4)
    assert are_equal(alone, members[0])
    assert not are_equal(members[0], members[1])
    assert [each.read_record()["seed"] for each in members] == [4, 5]
    events = [read_used_events(each.path) for each in members]
    assert events[0] is not None
    assert events[1] is not None
    for one, other in zip(*events, strict=True):
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.part, other.part)


def test_scores_are_the_mean_of_the_members(trained: NetworkSetSummary, tmp_path: Path) -> None:
    jets = read_jets(trained.run.path / "test_sample.parquet")
    members = [network.load() for network in trained.run.networks_at().files]
    each = np.stack([scores_of(member, JetTensors.from_jets([jets], "cpu")) for member in members])  # type: ignore[arg-type]
    stored = np.stack([jets[f"jet_nn_{label.output}"] for label in Label], axis=1)
    np.testing.assert_allclose(stored, each.mean(axis=0), atol=1e-6)
    runs, file = trained.run.path.parents[1], trained.run.path / "test_sample.parquet"
    of_mean, of_one = (
        pq.read_table(score_files(score_settings(tmp_path / word, [file], name, output_path=runs)).files[0].output)
        for word, name in (("mean", "default/0"), ("one", "default/0/member_1"))
    )
    np.testing.assert_allclose(scores_in(of_mean), each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scores_in(of_one), each[1], atol=1e-6)
    spread = of_mean.column("jet_nn_sig_std").to_numpy()
    np.testing.assert_allclose(spread, each[:, :, Label.SIGNAL].std(axis=0, ddof=1), atol=1e-6)
    assert "jet_nn_sig_std" not in of_one.column_names
    assert {*of_mean.column("part").to_pylist(), *of_one.column("part").to_pylist()} == {"test"}
    middle = float(np.median(each.mean(axis=0)[:, Label.SIGNAL]))
    settings = score_settings(tmp_path / "blinded", [file], "default/0", output_path=runs, blind_above=middle)
    hidden = pq.read_table(score_files(settings).files[0].output)
    assert 0 < hidden.column("jet_nn_sig").null_count < len(hidden)
    assert hidden.column("jet_nn_sig_std").is_null() == hidden.column("jet_nn_sig").is_null()


def test_mean_and_spread_of_every_figure_stand_beside_those_of_the_ensemble(trained: NetworkSetSummary) -> None:
    runs = trained.run.path.parents[1]
    run = crt.open_run("default/0", output_path=runs)
    assert run.status == "finished"
    of_members = [member.evaluation.numbers() for member in run.networks]
    assert set(run.member_figures) == set(of_members[0])
    assert run.networks[0].member_figures == {}
    for name in ("auc", "rejection_90", "ks_sig_hist"):
        figure, values = run.member_figures[name], [each[name] for each in of_members]
        assert figure.values == tuple(values)
        assert figure.mean == pytest.approx(np.mean(values))
        assert figure.std == pytest.approx(np.std(values, ddof=1))
        assert figure.error == pytest.approx(figure.std / np.sqrt(2))
    sample = trained.run.test_sample()
    main_jets, _ = sample.scored_by(find_networks("default/0", runs).load())
    assert run.evaluation.numbers()["auc"] == pytest.approx(roc_auc(main_jets))
    plain = json.loads((trained.run.path / "evaluation.json").read_text())["figures"]
    assert {each["name"] for each in plain["members"]} >= {"auc", "ks_qcd_hist"}
    assert "members" not in json.loads((run.networks[0].path / "evaluation.json").read_text())["figures"]
    assert trained.run.read_record()["members"]["auc"]["mean"] == pytest.approx(run.member_figures["auc"].mean)


def test_an_ensemble_that_was_stopped_goes_on_and_jobs_with_a_member_each_make_the_same(
    trained: NetworkSetSummary, files: Files, tmp_path: Path
) -> None:
    def then_stop(run: Any, *arguments: Any) -> None:
        write_epoch(run, *arguments)
        if run.path.name == "member_1":
            signal.raise_signal(signal.SIGTERM)

    settings = ensemble_settings(files, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.loop.write_epoch", then_stop)
        with pytest.raises(TrainingStopped):
            train_set(settings.model_copy(update={"member": 1}))
    overview = named_run("default/0", tmp_path)
    assert (overview.status, overview.epochs) == ("interrupted", 0)
    first = train_set(settings.model_copy(update={"member": 0}))
    assert (first.lacking, first.figures) == ((1,), None)
    done = train_set(settings, "auto")
    assert all(are_equal(*pair) for pair in zip(set_of(done).networks, set_of(trained).networks, strict=True))
    assert done.run.read_record()["test"] == trained.run.read_record()["test"]
    assert done.run.read_record()["members"] == trained.run.read_record()["members"]


def test_the_average_is_one_onnx_file_and_members_are_written_singly(
    trained: NetworkSetSummary, tmp_path: Path
) -> None:
    def exported(**changes: Any) -> Any:
        given = {
            "training": "default/0",
            "output_path": trained.run.path.parents[1],
            "output_json": tmp_path / "a.json",
        }
        return export_training(ConvertTrainingSettings.make(**{**given, **changes})).exported

    for changes in ({"format": "onnx"}, {"format": "all"}, {"format": "onnx", "with_preprocessing": True}):
        done = exported(**changes)
        assert [path.name for path in done.paths] == ["a.onnx"]
        assert done.files[0].largest_difference < 1e-5
    card = json.loads((tmp_path / "a.card.json").read_text())
    assert card["training"]["epoch"] == [1, 1]
    assert "ensemble of 2 networks (seeds 4, 5)" in (tmp_path / "a.card.md").read_text()
    assert card["test_figures"]["auc"] == pytest.approx(trained.run.read_record()["test"]["auc"], rel=1e-3)
    assert [path.name for path in exported(folds=True).paths] == ["a_member0.json", "a_member1.json"]
    assert [path.name for path in exported(training="default/0/member_1", format="keras").paths] == ["a.keras"]
    with pytest.raises(CannotAverage, match=r"fdeep holds one network, not the average of the 2 members .* --members"):
        exported()


def test_an_ensemble_is_one_run_of_tables_and_reports(trained: NetworkSetSummary, tmp_path: Path) -> None:
    runs = trained.run.path.parents[1]
    listed = crt.list_runs(output_path=runs, folds=True)
    assert [row["run"] for row in listed.records()] == ["default/00000", *(f"default/00000/member_{i}" for i in (0, 1))]
    assert listed.records()[0]["test_auc_mean"] == trained.run.read_record()["members"]["auc"]["mean"]
    seen: list[Any] = []

    def counted(*given: Any) -> Any:
        seen.append(given)
        return c2st_of_control_jets(*given)

    with pytest.MonkeyPatch.context() as patch:
        for module in (summary, candidates):
            patch.setattr(module, "c2st_of_control_jets", counted)
        done = crt.analyze(output_path=runs, output_report=tmp_path / "analyze.md", replicas=5, device="cpu")
        # Of the mean scores and of each member.
        assert len(seen) == 3
    assert "The ensemble and its 2 members" in write_run_page(trained.run).read_text("utf-8")
    assert trained.figures is not None
    said = training_summary(trained.run, trained.figures)
    commands = " ".join(run_commands(Run(trained.run.path)).values())
    assert "convert training default/0/best --format onnx" in commands
    assert f"AUC {trained.run.read_record()['members']['auc']['mean']:.4f} ±" in said
    page = done.report.read_text("utf-8").replace("\\", "")
    assert "default/00000 is an ensemble, 2 networks that count as one run" in page
    assert "The ensemble default/00000/best and its 2 members" in page
    assert find_network("default/0/member_1/best", runs).name.startswith("default/00000/member_1/")
    with pytest.raises(RunError, match="is a set of 2 networks, but one network is needed here"):
        find_network("default/0", runs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folds": 3}, "folds and seeds make sets of networks of different kinds; give one of the two"),
        ({"member": 2}, "--member 2 trains one network of an ensemble: members go from 0 to 1"),
        ({"seeds": None, "member": 0}, "add --seeds"),
    ],
)
def test_settings_that_make_no_ensemble_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrainSettings.make(**{"seeds": 2, **changes})


def test_members_start_from_one_network_or_each_from_its_own(
    trained: NetworkSetSummary, files: Files, tmp_path: Path
) -> None:
    nothing = {"learning_rate": 1e-12, "epochs": 1, "agreement": "none"}
    for name, sources in (("member_1", (1, 1)), ("", (0, 1))):
        settings = ensemble_settings(
            files, tmp_path / f"runs{name}", start_from=str(trained.run.path / name), **nothing
        )
        members = set_of(train_set(settings)).networks
        started = [each.read_record()["initial_weights"]["run"] for each in members]
        assert started == [f"default/00000/member_{i}/1" for i in sources]
    for changes, told in (({"seeds": 3}, "not an ensemble of 3"), ({"seeds": None, "folds": 2}, "has to be a set")):
        settings = ensemble_settings(files, tmp_path, start_from=str(trained.run.path), **changes)
        with pytest.raises(ConfigError, match=told):
            train_set(settings)
