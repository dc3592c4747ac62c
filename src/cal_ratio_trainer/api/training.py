"""`train` and `tune`: their settings come in layers (a profile, a file, single options), as on the command line."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cal_ratio_trainer.api.arguments import described, limit_spinning, settings_or_options
from cal_ratio_trainer.config.loading import Layers, layers_of, settings_from
from cal_ratio_trainer.config.profiles import profile_notice, resolve_layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.progress import progress_shown

if TYPE_CHECKING:
    from cal_ratio_trainer.reporting.tuning import TuneResult
    from cal_ratio_trainer.runs.run import Run
    from cal_ratio_trainer.training.finish import TrainSummary
    from cal_ratio_trainer.training.train_networks import NetworkSetSummary


class TrainArguments(TrainSettings):
    """Arguments of `train`: the settings, and the run to go on with."""

    continue_from: str | int | None = Field(
        default=None,
        description="Run to continue: NAME/RUN, or of this model its number, -1 for the newest, or 'auto' for the "
        "newest unfinished one (a new one if there is none).",
    )

    @classmethod
    def field_names(cls) -> list[str]:
        """Names of all fields, with those of figures last."""
        return ["continue_from", *TrainSettings.field_names()]


def _train(*given: Any, continue_from: "str | int | Run | None" = None, progress: bool = True, **options: Any) -> "Run":
    """Trains the network, by default on the built-in demo, or goes on with an earlier run.

    As on the command line: `include_low_mass=True` alone trains on low masses only, `batch_size` takes the place of
    `num_splits`, and without a profile settings begin from 'best'. A `TrainSettings` object is as a config file: what
    was given when it was made counts, and its profile if that was given.

    Returns:
        The run: its history, figures, networks.

    Raises:
        UserError: settings, files or the run to go on with cannot be used, or the process belongs to torchrun.
        TrainingStopped: SIGTERM or ^C; `continue_from` goes on.
    """
    from cal_ratio_trainer.errors import ConfigError
    from cal_ratio_trainer.launching import place
    from cal_ratio_trainer.runs.run import Run

    if place().processes > 1:
        raise ConfigError(["with torchrun use the command line: torchrun ... -m cal_ratio_trainer train"])
    say = _say if progress else lambda text: None
    layers = _layers_of_training(TrainSettings, ("main_training_file", "cr_training_file"), given, options, say)
    with progress_shown(progress):
        run = os.fspath(continue_from) if isinstance(continue_from, os.PathLike) else continue_from
        summary = train_with(layers, None if run is None else str(run), say)
    assert summary is not None, "a process of its own is the first one"
    return Run(summary.run.path)


train = described(TrainArguments, TrainSettings, _train, _train)


def _layers_of_training(
    model: type[TrainSettings],
    words: Sequence[str],
    given: Sequence[Any],
    options: dict[str, Any],
    say: Callable[[str], None],
) -> Layers:
    """Sources of the settings of a call, resolved as on the command line; see `settings_or_options`."""
    settings, options = settings_or_options(model, words, given, options)
    layers = layers_of(model, None, options, source="")
    if settings is not None:
        # Settings are a config file in another form.
        layers.insert(1, ("settings", {name: getattr(settings, name) for name in settings.model_fields_set}))
    layers, notices = resolve_layers(layers)
    for notice in notices:
        say(notice)
    return layers


def train_with(
    layers: Layers, continue_from: str | None, say: Callable[[str], None]
) -> "TrainSummary | NetworkSetSummary | None":
    """Trains a network or a set of them; of several processes that torchrun started, the first speaks for all.

    Args:
        layers: sources of the settings, weakest first, as `resolve_layers` returns them.
        continue_from: as the command line's `--continue`; None begins a new run.
        say: called with what a user should read while it runs.

    Returns:
        The outcome; None in a process of torchrun that is not the first.

    Raises:
        UserError: settings, files or the run to go on with cannot be used.
        TrainingStopped: SIGTERM or ^C; the run can be continued.
    """
    limit_spinning()
    from cal_ratio_trainer.reporting.run_page import RunPages
    from cal_ratio_trainer.reporting.training_details import training_details_text
    from cal_ratio_trainer.runs.demo import make_demo
    from cal_ratio_trainer.training.continuation import find_start
    from cal_ratio_trainer.training.ranks import launched_ranks
    from cal_ratio_trainer.training.run_display import RunDisplay
    from cal_ratio_trainer.training.setup import load_data
    from cal_ratio_trainer.training.train import follow
    from cal_ratio_trainer.training.train import train as train_one
    from cal_ratio_trainer.training.train_networks import set_work, train_networks

    settings, notice, ranks = settings_from(TrainSettings, layers), profile_notice(layers), launched_ranks()
    summary: TrainSummary | NetworkSetSummary | None = None
    pages, load = RunPages(), partial(load_data, make_demo=make_demo)
    if not ranks.is_first:
        follow(ranks, load)
    elif work := set_work(layers, settings, continue_from):
        if work.network_set is None:
            say(notice)
        summary = train_networks(work, say, training_details_text, ranks, lambda: RunDisplay(pages), load)
        pages(summary.run, None)
    else:
        start = find_start(layers, settings, continue_from)
        # A training that goes on with an imported run has the settings of that.
        if start.run is None and (start.initial is None or start.settings.start_from):
            say(notice)
        summary = train_one(start, say, training_details_text, ranks, RunDisplay(pages), load)
    ranks.shut_down()
    return summary


def _tune(*given: Any, progress: bool = True, **options: Any) -> "TuneResult":
    """Searches for better settings of a training by two objectives, and writes a report.

    Settings that are neither searched nor given begin from a profile, as in `train`.

    Returns:
        The trials, the front and the file with the recommended settings.

    Raises:
        UserError: settings or files cannot be used, the study exists already, or Optuna is not installed.
        TrainingStopped: SIGTERM or ^C; `resume` goes on.
    """
    say = _say if progress else lambda text: None
    layers = _layers_of_training(TuneSettings, ("study",), given, options, say)
    with progress_shown(progress):
        return tune_with(layers, say)


tune = described(TuneSettings, TuneSettings, _tune, _tune)


def tune_with(layers: Layers, say: Callable[[str], None]) -> "TuneResult":
    """Searches for settings, and writes a report; arguments as `train_with`, errors as `tune`."""
    limit_spinning()
    settings = settings_from(TuneSettings, layers)
    from cal_ratio_trainer.reporting.tuning import tune_with_report

    if not settings.resume:
        say(profile_notice(layers))
    return tune_with_report(settings, layers, say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
