"""`cr_trainer plot`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.plot import PlotSettings


def run(settings: PlotSettings) -> int:
    """Compares files, or redraws a run."""
    from cal_ratio_trainer.reporting.report import ReportResult

    result = crt.plot(settings)
    click.echo(result.headline)
    if isinstance(result, ReportResult):
        click.echo(f"report: {result.page} (the same as Markdown: {result.report})")
    return 0


command = SettingsCommand(
    name="plot",
    help="Compare training files: contents, distributions of variables, missing and unusual values. "
    "Each is FILE or NAME=FILE, a path or URL of any file of jets; without any, the demo's main and control-region "
    "files are compared. With --run, redraw the plots of a training instead.",
    settings=PlotSettings,
    run=run,
    arguments=(Argument("input_files", metavar="[NAME=FILE ...]"),),
    extra_names={"output_report": ("-o", "--output")},
).build()
