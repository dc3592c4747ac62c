"""Commands on training files: `build`, `resample` and `plot`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, command
from cal_ratio_trainer.config.build import BuildSettings, ResampleSettings
from cal_ratio_trainer.config.plot import PlotSettings


@command(
    "build",
    BuildSettings,
    help="Build a training file from converted files: filter, sample, scale and shuffle their jets. FILES are paths, "
    "patterns or URLs; a config file can give each its own num_events and event_filter.",
    common=(
        *("output_file", "kind", "min_jet_pt", "max_jet_pt", "samples", "normalise", "reweight_mc", "flatten"),
        *("layout", "overwrite", "seed", "workers"),
    ),
    arguments=(Argument("input_files"),),
    extra_names={"output_file": ("-o", "--output")},
)
def build(settings: BuildSettings) -> None:
    """Builds, then prints the content of the file."""
    summary = crt.build(settings)
    click.echo(summary.as_text())
    click.echo(summary.headline)
    if summary.page is not None:
        click.echo(f"report: {summary.page}")


@command(
    "resample",
    ResampleSettings,
    help="Write a random FRACTION of the jets of file IN to file OUT, the same fraction of each class.",
    arguments=(
        Argument("input_file", many=False, metavar="IN"),
        Argument("output_file", many=False, metavar="OUT"),
        Argument("fraction", many=False, metavar="FRACTION"),
    ),
)
def resample(settings: ResampleSettings) -> None:
    """Resamples, then prints the numbers of jets that are left."""
    summary = crt.resample(settings)
    click.echo(summary.as_text())
    click.echo(summary.headline)


@command(
    "plot",
    PlotSettings,
    help="Compare training files: contents, distributions of variables, missing and unusual values. "
    "Each is FILE or NAME=FILE, a path or URL of any file of jets; without any, the demo's main and control-region "
    "files are compared. With --run, redraw the plots of a training instead.",
    arguments=(Argument("input_files", metavar="[NAME=FILE ...]"),),
    extra_names={"output_report": ("-o", "--output")},
)
def plot(settings: PlotSettings) -> None:
    """Compares files, or redraws a run."""
    from cal_ratio_trainer.reporting.report import ReportResult

    result = crt.plot(settings)
    click.echo(result.headline)
    if isinstance(result, ReportResult):
        click.echo(f"report: {result.page} (the same as Markdown: {result.report})")
