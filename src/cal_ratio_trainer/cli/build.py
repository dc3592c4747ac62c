"""`cr_trainer build`."""

import click

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.build import BuildSettings


def run(settings: BuildSettings) -> int:
    """Build, then say what is in the file."""
    from cal_ratio_trainer.building import build_training_file

    summary = build_training_file(settings)
    click.echo(summary.as_text())
    click.echo(f"{summary.jets} jets in {summary.output_file}")
    if settings.report:
        from cal_ratio_trainer.reporting.build_report import write_build_report

        click.echo(f"report: {write_build_report(settings, summary)}")
    return 0


command = SettingsCommand(
    name="build",
    help="Build a training file from converted files: filter, sample, scale and shuffle their jets. FILES are paths, "
    "patterns or URLs; a config file can give each its own num_events and event_filter.",
    settings=BuildSettings,
    run=run,
    arguments=(Argument("input_files"),),
    extra_names={"output_file": ("-o", "--output"), "cache_path": ("--cache",)},
).build()
