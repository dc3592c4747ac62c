"""The public functions, one for each command but `train` and `tune`; they import what they need when called."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cal_ratio_trainer.api.arguments import command
from cal_ratio_trainer.config.base import FigureSettings
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
from cal_ratio_trainer.files.atomic import refuse_unusable_file, refuse_unusable_report
from cal_ratio_trainer.results import Result

if TYPE_CHECKING:
    from cal_ratio_trainer.building import BuildSummary, ResampleSummary
    from cal_ratio_trainer.jets import Jets
    from cal_ratio_trainer.ntuple import ConversionSummary
    from cal_ratio_trainer.reporting.analysis import AnalysisResult
    from cal_ratio_trainer.reporting.compare_report import CompareResult
    from cal_ratio_trainer.reporting.doctor import Examination
    from cal_ratio_trainer.reporting.jet_file_report import JetFileComparison
    from cal_ratio_trainer.reporting.model_dump import NetworkDescription
    from cal_ratio_trainer.reporting.runs import RunList
    from cal_ratio_trainer.reporting.score_report import ScoreResult
    from cal_ratio_trainer.reporting.watch import WatchedRun
    from cal_ratio_trainer.runs.import_run import ImportSummary
    from cal_ratio_trainer.runs.network_export import TrainingExport
    from cal_ratio_trainer.runs.run import Run
    from cal_ratio_trainer.simulation import DemoSummary


@dataclass(frozen=True, repr=False)
class RedrawnRun(Result):
    """A run whose plots were drawn once more, and their files."""

    run: "Run"
    files: tuple[Path, ...]

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{len(self.files)} plots of run {self.run.name} in {self.run.path}"


@command(DemoSettings, "output_path")
def demo(settings: DemoSettings) -> "DemoSummary":
    """Simulates DiVertAnalysis ntuples: signal, multijets, beam-induced background and a control region.

    Returns:
        The ntuples, and the settings that convert and build them.

    Raises:
        OutputNotEmpty: the folder already holds ntuples.
    """
    from cal_ratio_trainer.simulation import simulate

    return simulate(settings)


@command(ConvertSettings, "input_files")
def convert(settings: ConvertSettings) -> "ConversionSummary":
    """Converts DiVertAnalysis ntuples to files of jets, one for each.

    Returns:
        The outcome of each file; a file that cannot be converted is a failed row, and the others go on.

    Raises:
        SameOutput: two files would be written to one.
        OSError: an output cannot be written.
    """
    from cal_ratio_trainer.ntuple import convert_files

    return convert_files(settings)


@command(BuildSettings, "input_files")
def build(settings: BuildSettings) -> "BuildSummary":
    """Builds a main or control-region training file from converted files; with `report` also a report beside it.

    Returns:
        Jets and sums of weights of each class.

    Raises:
        InputFileError: a file cannot be used.
        OSError: the output cannot be written.
    """
    from cal_ratio_trainer.building import build_training_file

    summary = build_training_file(settings)
    if settings.report:
        from cal_ratio_trainer.reporting.build_report import write_build_report

        summary = replace(summary, page=write_build_report(settings, summary))
    return summary


@command(ResampleSettings, "input_file")
def resample(settings: ResampleSettings) -> "ResampleSummary":
    """Writes a random fraction of the jets of a file, the same of each class.

    Raises:
        InputFileError: the input cannot be read, or the output exists or is the input.
    """
    from cal_ratio_trainer.building import resample_file

    return resample_file(settings)


@command(ScoreSettings, "input_files", "training", runs_network=True)
def score(settings: ScoreSettings) -> "ScoreResult":
    """Scores jets of any files, ntuples too, with a trained network, and writes a report.

    Returns:
        The outcome of each file with the path of its scores; a file that cannot be scored is a failed entry.

    Raises:
        RunError: there is no such run or epoch.
        InputFileError: the network cannot be used, a pattern matches nothing, or the only file fails.
        OSError: an output cannot be written.
    """
    from cal_ratio_trainer.reporting.score_report import score_with_report

    refuse_unusable_report(settings.output_report)
    return score_with_report(settings)


@command(CompareSettings, "first", "second", runs_network=True)
def compare(settings: CompareSettings) -> "CompareResult":
    """Compares two networks on the same jets, or a network with scores that files hold, and writes a report.

    Raises:
        RunError: there is no such run or epoch.
        InputFileError: a network or a file cannot be used.
        OSError: the report cannot be written.
    """
    from cal_ratio_trainer.reporting.compare_report import compare_with_report

    refuse_unusable_report(settings.output_report)
    return compare_with_report(settings)


@command(AnalyzeSettings, "runs_to_analyze", runs_network=True)
def analyze(settings: AnalyzeSettings) -> "AnalysisResult":
    """Finds the best epochs of runs, recommends one, and writes a report.

    Raises:
        NothingToAnalyze: no run can be used.
        RunError: a run is not there.
        OSError: the report cannot be written.
    """
    from cal_ratio_trainer.reporting.analysis import analyze_runs

    refuse_unusable_report(settings.output_report)
    return analyze_runs(settings)


@command(PlotSettings, "input_files")
def plot(settings: PlotSettings) -> "JetFileComparison | RedrawnRun":
    """Compares training files and writes a report: their contents, distributions, missing and unusual values.

    With `run`, every plot of that run is drawn once more in its folder; settings of figures that are given take the
    place of the run's.

    Raises:
        RunError: there is no such run, or it has no record or history that can be read.
        UserError: a file cannot be used.
        OSError: a file cannot be written.
    """
    if settings.run is not None:
        from cal_ratio_trainer.reporting.run_page import write_run_page
        from cal_ratio_trainer.runs.finding import named_run

        # Not the defaults: the run has its own.
        names = settings.model_fields_set & FigureSettings.model_fields.keys()
        given = {name: getattr(settings, name) for name in names}
        run = named_run(settings.run, settings.output_path)
        redrawn = RedrawnRun(run, tuple(run.redraw(given)))
        write_run_page(run)
        return redrawn
    from cal_ratio_trainer.plotting.pool import draw_in_parallel
    from cal_ratio_trainer.reporting.jet_file_report import compare_files

    refuse_unusable_report(settings.output_report)
    return compare_files(settings, draw_in_parallel)


@command(ConvertTrainingSettings, "training")
def export(settings: ConvertTrainingSettings) -> "TrainingExport":
    """Writes a trained network for other programs: frugally-deep JSON for DiVertAnalysis, Keras, ONNX.

    Returns:
        The files, each read back and checked against the network's scores.

    Raises:
        RunError: there is no such run or epoch, or `folds` does not suit it.
        ExportFailed: a file does not give the network's scores; nothing is left.
    """
    from cal_ratio_trainer.runs.network_export import export_training

    refuse_unusable_file(settings.output_json, "output_json")
    return export_training(settings)


@command(ImportSettings)
def import_run(settings: ImportSettings) -> "ImportSummary":
    """Makes a run of a training of the earlier program: its run folder, or a file of one network.

    Raises:
        InputFileError: a file is damaged, of another kind or of another network; nothing is written then.
    """
    from cal_ratio_trainer.runs.import_run import import_training

    return import_training(settings)


@command(RunsSettings)
def list_runs(settings: RunsSettings) -> "RunList":
    """Lists all runs: status, data, epochs, best figures, tag, note, commit; `csv` and `html` also write the table.

    Returns:
        The table; `csv()` is its text, which nothing prints here for `csv='-'`.

    Raises:
        UnknownColumn: there is no such column to sort by.
        RunError: there is no folder of runs.
        OSError: a file cannot be written.
    """
    from cal_ratio_trainer.files.atomic import write_text
    from cal_ratio_trainer.reporting.runs import run_list

    csv = None if settings.csv in (None, "-") else Path(settings.csv)
    for option, file in (("csv", csv), ("html", settings.html)):
        if file is not None:
            refuse_unusable_file(file, option)
    found = run_list(settings)
    if csv is not None:
        write_text(csv, found.csv())
    if settings.html is not None:
        write_text(settings.html, found.html(settings.html.parent))
    return found


@command(WatchSettings, "run")
def watch(settings: WatchSettings) -> "WatchedRun":
    """Writes the page of a run anew, unless a training renews it, and serves it if asked to.

    Returns:
        The page and its address; `wait()` and `close()` are for a page that is served.

    Raises:
        RunError: there is no such run.
        OSError: the page cannot be written, or the port is taken.
    """
    from cal_ratio_trainer.reporting.watch import watch_run

    return watch_run(settings)


@command(ModelDumpSettings, "training")
def describe_network(settings: ModelDumpSettings) -> "NetworkDescription":
    """Lists the layers of a trained network with shapes and numbers of parameters.

    Raises:
        RunError: there is no such run or epoch.
        InputFileError: the file is no network of this program.
    """
    from cal_ratio_trainer.reporting.model_dump import described_network
    from cal_ratio_trainer.runs.finding import network_file

    return described_network(network_file(settings.training, settings.output_path))


@command(DoctorSettings)
def doctor(settings: DoctorSettings) -> "Examination":
    """Examines this installation: versions, devices, engines, memory, folders, and a training step."""
    from cal_ratio_trainer.reporting.doctor import examine

    return examine(settings)


def read_jets(file: str | Path, cache_path: str | Path | None = None) -> "Jets":
    """Reads a whole file of jets of any format into memory.

    Args:
        file: its path or URL: Parquet, ragged or flat, or a pickled frame of the earlier program.
        cache_path: folder for a copy of a remote file; None for the user's cache folder.

    Returns:
        The jets: `jets["jet_pt"]` is a column, `jets.to_awkward()` all of them with their constituents.

    Raises:
        InputFileError: no such file, or no file of jets; says what it seems to be.
    """
    from cal_ratio_trainer.files.cache import local_copy
    from cal_ratio_trainer.jets.loading import read_jets as read

    return read(local_copy(str(file), None if cache_path is None else Path(cache_path)))


def open_run(name: str | os.PathLike[str], output_path: str | Path = "training_results") -> "Run":
    """Opens a run that was trained or imported.

    Args:
        name: NAME/RUN, e.g. 'default/0', 'default/-1' for the newest, 'default/0/fold_1' or 'default/0/member_1' for a
            network of a set, or the path of a run's folder, or a run.
        output_path: folder that holds all runs.

    Raises:
        RunError: there is no such run; names those that are there.
    """
    from cal_ratio_trainer.runs.finding import named_run

    return named_run(os.fspath(name), Path(output_path))
