"""`cr_trainer tune`."""

import click

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.cli.train import adjust
from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.profiles import default_words
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.launching import report_failure


def run(settings: TuneSettings, layers: Layers) -> int:
    """Runs trials, then says which one is recommended and where the report is."""
    from cal_ratio_trainer.api.commands import tune_with
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


command = SettingsCommand(
    name="tune",
    help="Search for better settings of a training, with Optuna.\n\n"
    "A trial is a training with other values of the settings in --search, by default learning rate, strength of "
    "agreement, dropout and schedule. All other settings are those of a training: profile, --config and options. STUDY "
    "names the study: its trials are runs of this model, its report and best.yaml are in their folder.",
    settings=TuneSettings,
    run=run,
    arguments=[Argument("study", many=False, metavar="STUDY")],
    adjust=adjust,
    common=(
        *("trials", "hours", "objective", "search", "workers", "main_training_file", "cr_training_file", "epochs"),
        *("profile", "resume", "seed", "output_path", "device", "threads"),
    ),
    wants_layers=True,
    default_words=default_words(),
).build()
