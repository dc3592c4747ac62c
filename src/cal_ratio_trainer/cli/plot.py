"""`cr_trainer plot`."""

from typing import Any

import click

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.config.shared import FigureSettings
from cal_ratio_trainer.progress import duration, with_prefix


def run(settings: PlotSettings, layers: list[tuple[str, dict[str, Any]]]) -> int:
    """Compare files, or redraw a run."""
    if settings.run is not None:
        return _redraw(settings, settings.run, layers)
    from cal_ratio_trainer.plotting.pool import draw_in_parallel
    from cal_ratio_trainer.reporting.jet_file_report import compare_files

    summary = compare_files(settings, draw_in_parallel)
    rate = with_prefix(summary.jets / summary.seconds if summary.seconds > 0 else 0.0)
    files = f"{summary.files} file{'' if summary.files == 1 else 's'}"
    click.echo(
        f"{summary.jets:,} jets of {files} looked through in {duration(summary.seconds)} ({rate} jets/s), "
        f"{summary.figures} figures"
    )
    click.echo(f"report: {summary.report.page} (the same as Markdown: {summary.report.file})")
    return 0


def _redraw(settings: PlotSettings, name: str, layers: list[tuple[str, dict[str, Any]]]) -> int:
    from cal_ratio_trainer.runs.directory import named_run
    from cal_ratio_trainer.runs.figures import redraw_run

    # Not the packaged defaults: the run has its own.
    given = {key: value for _, content in layers[1:] for key, value in content.items()}
    of_figures = {key: value for key, value in given.items() if key in FigureSettings.model_fields}
    drawn_run = named_run(name, settings.output_path)
    files = redraw_run(drawn_run, figure_settings=of_figures)
    click.echo(f"{len(files)} plots of run {drawn_run.name} in {drawn_run.path}")
    return 0


command = SettingsCommand(
    name="plot",
    help="Compare training files: what is in them, how the same variables are distributed, what is missing or odd. "
    "Each is FILE or NAME=FILE, a path or URL of anything that holds jets; without any, the demo's main and "
    "control-region files. With --run, redraw the plots of a training instead.",
    settings=PlotSettings,
    run=run,
    wants_layers=True,
    arguments=(Argument("input_files", metavar="[NAME=FILE ...]"),),
    extra_names={"cache_path": ("--cache",), "output_report": ("-o", "--output")},
).build()
