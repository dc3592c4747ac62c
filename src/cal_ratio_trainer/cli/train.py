"""`cr_trainer train`."""

import os
from typing import TYPE_CHECKING

import click

from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.training import Layers, TrainSettings, demo_notice, resolve_layers
from cal_ratio_trainer.launching import report_failure

if TYPE_CHECKING:
    from cal_ratio_trainer.training.ranks import Ranks
    from cal_ratio_trainer.training.train import TrainSummary
    from cal_ratio_trainer.training.train_folds import FoldWork


def adjust(layers: Layers) -> Layers:
    """Settle what settings from different places mean together, and say so."""
    resolved, notices = resolve_layers(layers)
    for notice in notices:
        click.echo(notice, err=True)
    return resolved


def run(settings: TrainSettings, continue_from: str | None, layers: Layers) -> int:
    """Train, then say what came out and where it lies."""
    # Read when torch is first imported. By default threads spin for long while they wait, which brings a shared machine
    # to a crawl (a step took eight times as long beside other processes); no spinning doubles a step on a quiet one.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from cal_ratio_trainer.training.ranks import launched_ranks
    from cal_ratio_trainer.training.signals import TrainingStopped
    from cal_ratio_trainer.training.train import follow
    from cal_ratio_trainer.training.train_folds import fold_work

    ranks, status = launched_ranks(), 0
    try:
        if not ranks.is_first:
            follow(ranks)
        elif work := fold_work(layers, settings, continue_from):
            status = _train_folds(work, demo_notice(layers), ranks)
        else:
            status = _train_one(settings, continue_from, layers, ranks)
    except TrainingStopped as stopped:
        return report_failure(str(stopped), stopped.exit_status)
    ranks.shut_down()
    return status


def _train_one(settings: TrainSettings, continue_from: str | None, layers: Layers, ranks: "Ranks") -> int:
    from cal_ratio_trainer.reporting.training_details import training_details_text
    from cal_ratio_trainer.training.continuation import find_start
    from cal_ratio_trainer.training.train import train

    start = find_start(layers, settings, continue_from)
    notice = demo_notice(layers)
    if start.initial is not None:
        click.echo(start.initial.sentence, err=True)
    elif notice and start.run is None:
        click.echo(notice, err=True)
    summary = train(start, lambda text: click.echo(text, err=True), training_details_text, ranks)
    click.echo(training_details_text(summary.figures))
    _say_what_was_done(summary)
    return _say_what_was_not_drawn(summary.undrawn)


def _train_folds(work: "FoldWork", notice: str | None, ranks: "Ranks") -> int:
    from cal_ratio_trainer.reporting.training_details import training_details_text
    from cal_ratio_trainer.training.train_folds import train_folds

    if notice and work.fold_set is None:
        click.echo(notice, err=True)
    summary = train_folds(work, lambda text: click.echo(text, err=True), training_details_text, ranks)
    for trained in summary.trained:
        _say_what_was_done(trained)
    if summary.lacking:
        lacking = ", ".join(map(str, summary.lacking))
        click.echo(f"{summary.run.name} is not complete: fold {lacking} not trained to the end yet", err=True)
    if summary.figures is not None:
        click.echo(training_details_text(summary.figures))
        click.echo(f"the set {summary.run.name}, all jets by the network of their fold: {summary.run.path}", err=True)
    return _say_what_was_not_drawn(summary.undrawn)


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


def _say_what_was_not_drawn(undrawn: dict[str, str]) -> int:
    if not undrawn:
        return 0
    name, reason = next(iter(undrawn.items()))
    click.echo(f"{len(undrawn)} plots could not be drawn: {name}: {reason}", err=True)
    return EXIT_FAILED_PARTS


command = SettingsCommand(
    name="train",
    help="Train the network and its adversary. Without arguments it trains on a built-in demo data set, made when it "
    "is first asked for. Results go to <output_path>/<model_name>/<run number>.",
    settings=TrainSettings,
    run=run,
    adjust=adjust,
    wants_layers=True,
    extra_names={"cache_path": ("--cache",)},
    options=[
        click.Option(
            ["continue_from", "--continue", "--continue-n", "--continue_n"],
            metavar="RUN",
            help="Go on with a run of this model: its number, -1 for the newest, or auto for the newest unfinished one "
            "(a new one if there is none). An interrupted run finishes its planned epochs, a finished one gets more.",
        )
    ],
).build()
