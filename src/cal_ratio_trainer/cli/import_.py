"""`cr_trainer import`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.runs import ImportSettings


def run(settings: ImportSettings) -> int:
    """Imports a training, then says what it is and what is not known of it."""
    summary = crt.import_run(settings)
    click.echo(summary.headline)
    for note in summary.notes:
        click.echo(f"  - {note}", err=True)
    click.echo(f"network and record: {summary.run.path}", err=True)
    return 0


command = SettingsCommand(
    name="import",
    help="Import a training of the earlier program as a run: PATH is its run folder, or a file of one network (Keras "
    "2 or 3, zip or HDF5, or frugally-deep JSON). The run can be scored, compared, analyzed, converted and continued.",
    settings=ImportSettings,
    run=run,
    arguments=(Argument("path", many=False, required=True, metavar="PATH"),),
).build()
