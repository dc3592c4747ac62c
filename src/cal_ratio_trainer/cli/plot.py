"""`cr_trainer plot`."""

import click

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.progress import duration, with_prefix


def run(settings: PlotSettings) -> int:
    """Compare files, or redraw a run."""
    from cal_ratio_trainer.plotting.pool import draw_in_parallel
    from cal_ratio_trainer.reporting.data_comparison import compare_files

    summary = compare_files(settings, draw_in_parallel)
    rate = with_prefix(summary.jets / summary.seconds if summary.seconds > 0 else 0.0)
    click.echo(
        f"{summary.jets:,} jets of {summary.files} files looked through in {duration(summary.seconds)} "
        f"({rate} jets/s), {summary.figures} figures"
    )
    click.echo(f"report: {summary.report.page} (the same as Markdown: {summary.report.file})")
    return 0


command = SettingsCommand(
    name="plot",
    help="Compare training files: what is in them, how the same variables are distributed, what is missing or odd. "
    "Each is FILE or NAME=FILE, a path or URL of anything that holds jets; without any, the demo's main and "
    "control-region files. With --run, redraw the plots of a training instead.",
    settings=PlotSettings,
    run=run,
    arguments=(Argument("input_files", metavar="[NAME=FILE ...]"),),
    extra_names={"cache_path": ("--cache",), "output_report": ("-o", "--output")},
).build()
