"""`cr_trainer train`."""

from typing import TYPE_CHECKING

import click

from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.profiles import resolve_layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.launching import report_failure

if TYPE_CHECKING:
    from cal_ratio_trainer.training.train import TrainSummary


def adjust(layers: Layers) -> Layers:
    """Resolves settings from several sources that depend on each other, and prints the result."""
    resolved, notices = resolve_layers(layers)
    for notice in notices:
        click.echo(notice, err=True)
    return resolved


def run(settings: TrainSettings, continue_from: str | None, layers: Layers) -> int:
    """Trains, then says what came out and where it lies."""
    from cal_ratio_trainer.api.commands import train_with
    from cal_ratio_trainer.reporting.training_details import training_details_text
    from cal_ratio_trainer.training.signals import TrainingStopped

    try:
        summary = train_with(layers, continue_from, lambda text: click.echo(text, err=True))
    except TrainingStopped as stopped:
        return report_failure(str(stopped), stopped.exit_status)
    # After the training: it decides on threads before PyTorch is imported.
    from cal_ratio_trainer.training.train_networks import NetworkSetSummary

    if summary is None:
        return 0
    figures = "" if summary.figures is None else training_details_text(summary.figures)
    if isinstance(summary, NetworkSetSummary):
        for trained in summary.trained:
            _say_what_was_done(trained)
        if summary.lacking:
            lacking = ", ".join(map(str, summary.lacking))
            what = f"{summary.rule.word} {lacking}"
            click.echo(f"{summary.run.name} is not complete: {what} not trained to the end yet", err=True)
        if figures:
            click.echo(figures)
            how = "all jets by the network of their fold"
            if summary.rule.word == "member":
                how = f"the mean of the scores of {summary.rule.count} networks"
            click.echo(f"the set {summary.run.name}, {how}: {summary.run.path}", err=True)
    else:
        click.echo(figures)
        _say_what_was_done(summary)
    if not summary.undrawn:
        return 0
    name, reason = next(iter(summary.undrawn.items()))
    click.echo(f"{len(summary.undrawn)} plots could not be drawn: {name}: {reason}", err=True)
    return EXIT_FAILED_PARTS


def _say_what_was_done(summary: "TrainSummary") -> None:
    timings = summary.record["timings"]
    seconds = ", ".join(f"{stage} {timings[f'{stage}_s']:.1f} ({of:.0%})" for stage, of in timings["shares"].items())
    best = ", ".join(f"{epoch} by {criterion}" for criterion, epoch in summary.best.items())
    click.echo(
        f"{summary.epochs} epoch{'' if summary.epochs == 1 else 's'}; best epoch: {best or 'none'} (on validation)\n"
        f"{timings['main_jets_per_second']:.0f} main jets/s in the steps; seconds in {seconds}\n"
        f"network, plots and figures: {summary.run.path}",
        err=True,
    )


command = SettingsCommand(
    name="train",
    help="Train the network on the main training file MAIN and the control-region file CONTROL. Without them it trains "
    "on a built-in demo data set, made when it is first asked for. Results go to "
    "<output_path>/<model_name>/<run number>.",
    settings=TrainSettings,
    run=run,
    arguments=(Argument("files", metavar="[MAIN] [CONTROL...]", settings=("main_training_file", "cr_training_file")),),
    adjust=adjust,
    common=(
        *("profile", "epochs", "continue_from", "start_from", "learning_rate", "seed"),
        *("agreement", "agreement_strength", "encoder", "sample_fraction", "folds"),
        *("model_name", "output_path", "device", "threads"),
    ),
    wants_layers=True,
    options=[
        click.Option(
            ["continue_from", "--continue", "--continue-n", "--continue_n"],
            metavar="RUN",
            help="Continue a run of this model: its number, -1 for the newest, or auto for the newest unfinished one "
            "(a new one if there is none). An interrupted run finishes its planned epochs, a finished one gets more.",
        )
    ],
).build()
