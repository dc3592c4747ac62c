"""`cr_trainer train` and `cr_trainer tune`."""

import click

from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import Argument, command
from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.profiles import default_words, resolve_layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.launching import report_failure


def resolved(layers: Layers) -> Layers:
    """Resolves settings from several sources that depend on each other, and prints the result."""
    result, notices = resolve_layers(layers)
    for notice in notices:
        click.echo(notice, err=True)
    return result


@command(
    "train",
    TrainSettings,
    help="Train the network on the main training file MAIN and the control-region file CONTROL, without them on demo "
    "data, which the first such training simulates. Results go to <output_path>/<model_name>/<run number>.",
    arguments=(Argument("files", metavar="[MAIN] [CONTROL...]", settings=("main_training_file", "cr_training_file")),),
    resolve=resolved,
    common=(
        *("profile", "epochs", "continue_from", "start_from", "learning_rate", "seed"),
        *("agreement", "agreement_strength", "encoder", "sample_fraction", "folds", "seeds"),
        *("model_name", "output_path", "device", "threads"),
    ),
    default_words=default_words(),
    options=[
        click.Option(
            ["continue_from", "--continue", "--continue-n", "--continue_n"],
            metavar="RUN",
            help="Continue a run: NAME/RUN, or of this model its number, -1 for the newest, or auto for the newest "
            "unfinished one (a new one if there is none). An interrupted run finishes its planned epochs; a finished "
            "one gets --epochs more.",
        )
    ],
)
def train(settings: TrainSettings, continue_from: str | None, layers: Layers) -> int:
    """Trains, then prints the figures of merit and the paths of the results."""
    from cal_ratio_trainer.api.training import train_with
    from cal_ratio_trainer.training.signals import TrainingStopped

    try:
        summary = train_with(layers, continue_from, lambda text: click.echo(text, err=True))
    except TrainingStopped as stopped:
        return report_failure(str(stopped), stopped.exit_status)
    if summary is None:
        return 0
    # After the training: it decides on threads before PyTorch is imported.
    from cal_ratio_trainer.reporting.training_details import training_summary
    from cal_ratio_trainer.training.train_networks import NetworkSetSummary

    done = [(summary.run, summary.figures)]
    if isinstance(summary, NetworkSetSummary) and summary.figures is None:
        done = [(each.run, each.figures) for each in summary.trained]
        if summary.lacking:
            lacking = f"{summary.rule.word} {', '.join(map(str, summary.lacking))}"
            click.echo(f"{summary.run.name} is not complete: {lacking} not trained to the end yet", err=True)
    for of_run, figures in done:
        if figures is not None:
            click.echo(training_summary(of_run, figures))
    if not summary.undrawn:
        return 0
    name, reason = next(iter(summary.undrawn.items()))
    click.echo(f"{len(summary.undrawn)} plots could not be drawn: {name}: {reason}", err=True)
    return EXIT_FAILED_PARTS


@command(
    "tune",
    TuneSettings,
    help="Search for better settings of a training, with Optuna.\n\n"
    "A trial is a training with other values of the settings in --search, by default learning rate, strength of "
    "agreement, dropout and schedule. All other settings are those of a training: profile, --config and options. STUDY "
    "names the study: its trials are runs of this model, its report and best.yaml are in their folder.",
    arguments=[Argument("study", many=False, metavar="STUDY")],
    resolve=resolved,
    common=(
        *("trials", "hours", "objective", "search", "workers", "main_training_file", "cr_training_file", "epochs"),
        *("profile", "resume", "seed", "output_path", "device", "threads"),
    ),
    default_words=default_words(),
)
def tune(settings: TuneSettings, layers: Layers) -> int:
    """Runs trials, then prints the recommended one and the path of the report."""
    from cal_ratio_trainer.api.training import tune_with
    from cal_ratio_trainer.training.signals import TrainingStopped

    try:
        result = tune_with(layers, lambda text: click.echo(text, err=True))
    except TrainingStopped as stopped:
        return report_failure(str(stopped), stopped.exit_status)
    click.echo(result.headline)
    click.echo(f"report: {result.report} and {result.page}", err=True)
    if result.best_config is not None:
        click.echo(f"train with the recommended settings: cr_trainer train --config {result.best_config}", err=True)
    return 0
