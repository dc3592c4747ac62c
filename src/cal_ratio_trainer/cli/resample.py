"""`cr_trainer resample`."""

import click

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.build import ResampleSettings


def run(settings: ResampleSettings) -> int:
    """Resample, then say how much is left."""
    from cal_ratio_trainer.building import resample_file

    summary = resample_file(settings)
    click.echo(summary.as_text())
    click.echo(f"{sum(summary.taken.values())} of {sum(summary.jets.values())} jets in {summary.output_file}")
    return 0


command = SettingsCommand(
    name="resample",
    help="Write a random FRACTION of the jets of file IN to file OUT, the same of each class.",
    settings=ResampleSettings,
    run=run,
    arguments=(
        Argument("input_file", many=False, metavar="IN"),
        Argument("output_file", many=False, metavar="OUT"),
        Argument("fraction", many=False, metavar="FRACTION"),
    ),
    extra_names={"cache_path": ("--cache",)},
).build()
