"""`cr_trainer analyze`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.runs import AnalyzeSettings


def run(settings: AnalyzeSettings) -> int:
    """Analyzes runs, then says what is recommended and where the page lies."""
    result = crt.analyze(settings)
    for name, why in result.failures:
        click.echo(f"warning: {name}: {why}", err=True)
    for name in result.recommended:
        click.echo(f"recommended: {name}")
    if not result.recommended:
        click.echo("no epoch can be recommended", err=True)
    if not settings.runs_to_analyze:
        click.echo(f"all finished runs in {settings.output_path}: {', '.join(result.runs)}", err=True)
    click.echo(f"report: {result.report} and {result.page}", err=True)
    return EXIT_FAILED_PARTS if result.failures or not result.recommended else 0


command = SettingsCommand(
    name="analyze",
    help="Compare runs NAME/RUN (if none is given, all finished ones): find their best epochs, recommend one, and "
    "write a report with AUC, K-S, rejections and efficiencies on the test jets.",
    settings=AnalyzeSettings,
    run=run,
    arguments=(Argument("runs_to_analyze", metavar="[NAME/RUN]..."),),
).build()
