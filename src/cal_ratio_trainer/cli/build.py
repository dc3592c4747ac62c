"""`cr_trainer build`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.build import BuildSettings


def run(settings: BuildSettings) -> int:
    """Builds, then says what is in the file."""
    summary = crt.build(settings)
    click.echo(summary.as_text())
    click.echo(summary.headline)
    if summary.page is not None:
        click.echo(f"report: {summary.page}")
    return 0


command = SettingsCommand(
    name="build",
    help="Build a training file from converted files: filter, sample, scale and shuffle their jets. FILES are paths, "
    "patterns or URLs; a config file can give each its own num_events and event_filter.",
    settings=BuildSettings,
    run=run,
    common=(
        *("output_file", "kind", "min_jet_pt", "max_jet_pt", "samples", "normalise", "reweight_mc", "flatten"),
        *("layout", "overwrite", "seed", "workers"),
    ),
    arguments=(Argument("input_files"),),
    extra_names={"output_file": ("-o", "--output")},
).build()
