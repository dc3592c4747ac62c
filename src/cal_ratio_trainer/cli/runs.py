"""`cr_trainer runs`."""

import click
from rich.console import Console

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.runs import RunsSettings

_WIDTH_WITHOUT_TERMINAL = 10_000


def run(settings: RunsSettings) -> int:
    """Lists all runs, and says of which a file cannot be read."""
    found = crt.list_runs(settings)
    for trouble in found.troubles():
        click.echo(f"warning: {trouble}", err=True)
    if settings.csv == "-":
        click.echo(found.csv(), nl=False)
    elif written := [str(file) for file in (settings.csv, settings.html) if file is not None]:
        click.echo(f"{len(found.runs)} runs in {' and '.join(written)}", err=True)
    elif not found.runs:
        click.echo(f"no such runs in {settings.output_path}", err=True)
    else:
        console = Console(highlight=False)
        table = found.as_rich(console.width if console.is_terminal else None)
        if not console.is_terminal:
            console.width = _WIDTH_WITHOUT_TERMINAL
        console.print(table)
    return EXIT_FAILED_PARTS if found.troubles() else 0


command = SettingsCommand(
    name="runs",
    help="List all runs as a table: status, data, epochs, best figures, tag, note, commit. Any column "
    "of the CSV can be the one to sort by.",
    settings=RunsSettings,
    run=run,
).build()
