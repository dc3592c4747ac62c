"""`cr_trainer resample`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.build import ResampleSettings


def run(settings: ResampleSettings) -> int:
    """Resamples, then says how much is left."""
    summary = crt.resample(settings)
    click.echo(summary.as_text())
    click.echo(summary.headline)
    return 0


command = SettingsCommand(
    name="resample",
    help="Write a random FRACTION of the jets of file IN to file OUT, the same fraction of each class.",
    settings=ResampleSettings,
    run=run,
    arguments=(
        Argument("input_file", many=False, metavar="IN"),
        Argument("output_file", many=False, metavar="OUT"),
        Argument("fraction", many=False, metavar="FRACTION"),
    ),
).build()
