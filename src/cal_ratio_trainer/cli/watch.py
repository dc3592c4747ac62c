"""`cr_trainer watch`."""

import webbrowser

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.runs import WatchSettings


def run(settings: WatchSettings) -> None:
    """Opens the page of a run, or serves it until ^C."""
    from cal_ratio_trainer.reporting.watch import has_display

    watched = crt.watch(settings)
    click.echo(watched.address if settings.serve else watched.page)
    if settings.serve:
        click.echo("serving the page to this machine alone; Ctrl-C ends it", err=True)
        watched.wait()
    elif has_display():
        webbrowser.open(watched.address)


command = SettingsCommand(
    name="watch",
    help="Open the page of a run, with its state, figures of merit and the figures of every epoch, and print its path. "
    "While the run trains, the open page is refreshed.",
    settings=WatchSettings,
    run=run,
    arguments=[Argument("run", many=False, required=True, metavar="NAME/RUN")],
).build()
