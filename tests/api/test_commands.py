"""The whole chain through the public functions, on small demo data in a temporary folder."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

import cal_ratio_trainer as crt
from cal_ratio_trainer.api.training import TrainArguments
from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.build import BuildSettings, ResampleSettings
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.config.runs import (
    AnalyzeSettings,
    ConvertTrainingSettings,
    DoctorSettings,
    ImportSettings,
    ModelDumpSettings,
    RunsSettings,
    WatchSettings,
)
from cal_ratio_trainer.config.scoring import CompareSettings, ScoreSettings
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.runs.run import Run

MODELS: dict[str, type[Settings]] = {
    "demo": DemoSettings,
    "convert": ConvertSettings,
    "build": BuildSettings,
    "resample": ResampleSettings,
    "train": TrainArguments,
    "tune": TuneSettings,
    "score": ScoreSettings,
    "compare": CompareSettings,
    "analyze": AnalyzeSettings,
    "plot": PlotSettings,
    "export": ConvertTrainingSettings,
    "import_run": ImportSettings,
    "list_runs": RunsSettings,
    "watch": WatchSettings,
    "describe_network": ModelDumpSettings,
    "doctor": DoctorSettings,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with main.parquet and control.parquet, made of demo ntuples by the public functions."""
    folder = tmp_path_factory.mktemp("api") / "demo"
    demo = crt.demo(output_path=folder, jets=120, seed=1, workers=1, progress=False)
    converted = crt.convert(demo.convert_settings(workers=1), progress=False)
    assert not converted.failed
    assert len(converted.to_pandas()) == len(demo.to_pandas()) == 33
    for kind in ("main", "control"):
        built = crt.build(demo.build_settings(kind), progress=False)
        assert built.output_file == folder / f"{kind}.parquet"
        assert built.to_pandas()["jets"].tolist() == [120] * len(built.classes)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """A run of one epoch on these files, without figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        return crt.train(
            main_training_file=str(folder / "main.parquet"),
            cr_training_file=str(folder / "control.parquet"),
            output_path=folder / "runs",
            epochs=1,
            num_splits=2,
            sample_fraction=1.0,
            train_fraction=0.6,
            plot_processes=0,
            tensorboard=False,
            threads=1,
            progress=False,
        )


def test_a_run_has_its_record_settings_history_and_networks(run: Run) -> None:
    assert repr(run) == "<run default/00000: finished, 1 epoch, epoch 0 recommended>"
    assert run.settings.epochs == 1
    assert run.record["status"] == run.status == "finished"
    assert len(run.history) == len(run.to_pandas()) == 1
    assert run.recommended_epoch == 0
    assert "<table>" in run._repr_html_()
    assert run.network().shape == run.network("best").shape


def test_settings_of_a_run_that_cannot_be_used_are_a_user_s_mistake(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "0"
    shutil.copytree(run.path, copy)
    record = json.loads((copy / "run.json").read_text("utf-8"))
    # As runs of earlier versions, which do not notice that their settings were edited.
    (copy / "run.json").write_text(
        json.dumps({name: value for name, value in record.items() if name != "settings_sha256"}), "utf-8"
    )
    text = (copy / "training_params.yaml").read_text("utf-8")
    (copy / "training_params.yaml").write_text(text.replace("epochs: ", "epochs: -", 1), "utf-8")
    with pytest.raises(crt.UserError, match="settings that cannot be used"):
        _ = crt.open_run(copy).settings


def test_a_run_draws_its_figures_without_files(run: Run) -> None:
    before = sorted(run.path.rglob("*"))
    figure = run.figure("roc_curve_qcd_and_bib")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert "demo simulation" in " ".join(text.get_text() for text in figure.axes[0].texts)
    assert sorted(run.path.rglob("*")) == before
    with pytest.raises(crt.UserError, match=r"no figure roc_curve \(did you mean"):
        run.figure("roc_curve")


def test_a_run_scores_jets_in_memory_as_score_does_those_of_a_file(run: Run, folder: Path) -> None:
    jets = crt.read_jets(folder / "main.parquet")
    result = crt.score(
        input_files=[str(folder / "main.parquet")],
        training="default/0",
        output_path=folder / "runs",
        output_report=folder / "scores" / "report.md",
        threads=1,
        progress=False,
    )
    table = result.scores()
    assert len(table) == len(jets) == 360
    assert result.to_pandas()["jets"].tolist() == [360]
    scores = run.score(jets)
    assert scores.shape == (360, 3)
    columns = [name for name in table.column_names if name.endswith("sig") or name == "score_sig"]
    np.testing.assert_allclose(table.column(columns[0]).to_numpy(), scores[:, 1], rtol=1e-5)
    assert result.figure(result.figures()[0]).axes


def test_jets_show_themselves_shortly_and_become_records(folder: Path) -> None:
    jets = crt.read_jets(folder / "main.parquet")
    assert repr(jets).startswith("<360 jets with ")
    records = jets.to_awkward()
    assert len(records) == 360
    assert len(records.clusters.clus_pt[0]) == np.diff(jets.constituents["clusters"].offsets)[0]
    np.testing.assert_array_equal(records.jet_pt.to_numpy(), jets["jet_pt"])
    assert len(jets.to_pandas()) == 360


def test_the_run_is_listed_described_analyzed_exported_and_continued(
    run: Run, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = folder / "runs"
    listed = crt.list_runs(output_path=runs, progress=False)
    assert listed.to_pandas()["run"].tolist() == ["default/00000"]
    crt.list_runs(output_path=runs, csv=str(folder / "runs.csv"), progress=False)
    assert (folder / "runs.csv").read_text("utf-8") == listed.csv()
    described = crt.describe_network(training="default/0", output_path=runs)
    assert described.parameters == int(described.to_pandas()["parameters"].sum())
    report = folder / "analysis" / "report.md"
    analysis = crt.analyze(
        runs_to_analyze=["default/0"], output_path=runs, output_report=report, replicas=0, progress=False
    )
    assert analysis.recommended == ("default/00000/0",)
    assert analysis.importances == ()
    explained = run.importance(permutations=1, max_jets=50)
    assert len(explained.to_pandas()) == 31 + 4
    assert explained.figures() == ["importance", "importance_kinds"]
    assert explained.figure("importance_kinds").axes
    with pytest.raises(crt.UserError, match="did you mean importance"):
        explained.figure("importances")
    exported = crt.export(training="default/0", output_path=runs, output_json=folder / "network.json")
    assert exported.exported.paths == (folder / "network.json",)
    more = crt.train(output_path=runs, continue_from=0, epochs=1, progress=False)
    assert capfd.readouterr() == ("", "")
    assert len(more.history) == 2
    assert more.name == run.name == crt.open_run("default/-1", runs).name


def test_a_script_needs_no_guard_against_its_worker_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    call = "crt.demo(output_path='ntuples', jets=20, workers=2, progress=False)"
    script.write_text(f"import cal_ratio_trainer as crt\nprint({call}.jets)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("100\n", "")


def test_nothing_is_printed_and_no_folder_is_changed_into(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here = Path.cwd()
    crt.resample(
        input_file=str(folder / "main.parquet"), output_file=folder / "half.parquet", fraction=0.5, progress=False
    )
    assert capfd.readouterr() == ("", "")
    assert Path.cwd() == here


def test_all_mistakes_are_told_at_once_without_pydantic() -> None:
    given: dict[str, Any] = {"epoch": 2, "num_splits": 0}
    with pytest.raises(crt.errors.ConfigError) as caught:
        crt.train(**given)
    assert "epoch is no setting of this command (did you mean epochs?)" in caught.value.mistakes
    assert "num_splits: should be at least 1, got 0" in caught.value.mistakes
    with pytest.raises(crt.UserError, match=r"^fraction must be given$"):
        crt.resample(input_file="a.parquet", output_file=Path("b.parquet"))  # type: ignore[call-overload]


def test_settings_and_single_ones_are_not_mixed() -> None:
    with pytest.raises(crt.UserError, match="either settings or single ones"):
        crt.demo(DemoSettings(), jets=3)  # type: ignore[call-overload]


def test_a_path_one_name_and_a_run_are_taken_for_what_they_mean(run: Run, folder: Path) -> None:
    file = folder / "main.parquet"
    place: dict[str, Any] = {"output_path": folder / "runs", "threads": 1, "progress": False}
    expected = run.score(crt.read_jets(file))
    cases: list[tuple[Any, Any]] = [(str(file), "default/0"), ([file], run), (file, run.path)]
    for number, (given, network) in enumerate(cases):
        result = crt.score(given, network, output_report=folder / f"meant_{number}", **place)
        np.testing.assert_allclose(result.scores().column("jet_nn_sig").to_numpy(), expected[:, 1], rtol=1e-5)
        assert (folder / f"meant_{number}" / "report.md").is_file()
    one = crt.analyze(run, output_report=folder / "one", replicas=0, progress=False)
    same = crt.analyze(
        runs="default/0", output_path=folder / "runs", output_report=folder / "same", replicas=0, progress=False
    )
    assert one.recommended == same.recommended
    assert crt.open_run(run) == run
    assert crt.describe_network(run).parameters > 0


def test_what_is_not_meant_for_a_function_is_one_sentence(run: Run, folder: Path, tmp_path: Path) -> None:
    file = str(folder / "main.parquet")
    with pytest.raises(
        crt.UserError, match=r"Run.score takes jets in memory, as read_jets\('.*main.parquet'\) returns"
    ):
        run.score(file)  # type: ignore[arg-type]
    with pytest.raises(crt.UserError, match=r"^3 positional arguments are too many: .* input_files and training; name"):
        crt.score(file, "default/0", "report")
    with pytest.raises(crt.UserError, match=r"^training is given twice$"):
        crt.score(file, run, training="default/0")
    with pytest.raises(crt.UserError, match=r"^DemoSettings is no setting of this function; it takes TrainSettings$"):
        crt.train(DemoSettings())  # type: ignore[call-overload]
    jets = crt.read_jets(file)
    without = {name: lists for name, lists in jets.constituents.items() if name != "clusters"}
    with pytest.raises(crt.UserError, match=r"^table of jets: lacks clusters$"):
        replace(jets, constituents=without)
    with pytest.raises(crt.UserError, match=r"^output_report: nothing can be made in /proc \("):
        crt.score(file, run, output_report="/proc/there/report.md")


def test_the_signature_of_each_function_is_its_model() -> None:
    assert set(crt.__all__) == {*MODELS, "read_jets", "open_run", "errors", "UserError", "__version__"}
    for name, model in MODELS.items():
        signature = inspect.signature(getattr(crt, name))
        own = {"settings", "progress"}
        assert set(signature.parameters) - own == set(model.model_fields)
        for field, info in model.model_fields.items():
            default = inspect.Parameter.empty if info.is_required() else info.get_default(call_default_factory=True)
            assert signature.parameters[field].default == default
            assert f"    {field}: " in getattr(crt, name).__doc__


def test_the_page_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    table = page.partition("| function | command | returns |")[2].partition("## Arguments")[0]
    assert {name for name in crt.__all__ if f"`{name}`" in table} == {*MODELS, "read_jets", "open_run"}


def test_the_functions_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, cal_ratio_trainer as crt; crt.__version__, dir(crt)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "crt.train\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    first, second = (set(line.split()) for line in done.stdout.splitlines())
    assert first & {"pydantic", "yaml", "numpy", "torch", "click", "rich"} == set()
    assert second & {"torch", "matplotlib", "awkward", "uproot"} == set()
