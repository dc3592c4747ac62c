"""`cr_trainer runs`."""

from pathlib import Path

import click
from rich.console import Console

from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.runs import RunsSettings


def run(settings: RunsSettings) -> int:
    """List all runs, and say of which a file cannot be read."""
    from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
    from cal_ratio_trainer.files.atomic import write_text
    from cal_ratio_trainer.reporting.runs import run_rows, runs_csv, runs_table
    from cal_ratio_trainer.reporting.table import as_rich

    rows = run_rows(settings)
    troubles = [row.run.trouble for row in rows if row.run.trouble]
    for trouble in troubles:
        click.echo(f"warning: {trouble}", err=True)
    status = EXIT_FAILED_PARTS if troubles else 0
    if settings.csv == "-":
        click.echo(runs_csv(rows), nl=False)
        return status
    if settings.csv is not None:
        write_text(Path(settings.csv), runs_csv(rows))
        click.echo(f"{len(rows)} runs in {settings.csv}", err=True)
        return status
    if not rows:
        click.echo(f"no such runs in {settings.output_path}", err=True)
        return 0
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(as_rich(runs_table(rows, settings.rule, console.width)))
    else:
        whole = runs_table(rows, settings.rule)
        Console(highlight=False, width=10_000).print(as_rich(whole))
    return status


command = SettingsCommand(
    name="runs",
    help="List all runs as a table: status, data, epochs, best figures, tag, note, commit. The columns to sort by are "
    "those of the CSV.",
    settings=RunsSettings,
    run=run,
).build()
