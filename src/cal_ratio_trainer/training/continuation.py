"""The start that `--continue` asks for: settings alone, or an earlier run that goes on."""

import logging
import re
from typing import Any

import torch

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.config.loading import Layers, settings_from, shown
from cal_ratio_trainer.config.profiles import PROFILES
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.launching import place
from cal_ratio_trainer.runs.finding import NoRunName, find_run, models_there, named_run, runs_of
from cal_ratio_trainer.runs.initial_weights import InitialWeights, settings_layers
from cal_ratio_trainer.runs.record import machine
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import DIVERGED, IMPORTED, RunError, warn_without_digests
from cal_ratio_trainer.training.checkpoint import checkpoint_progress
from cal_ratio_trainer.training.network_set import NetworkSet
from cal_ratio_trainer.training.start import Start

AUTO = "auto"

_FREE_TO_CHANGE = {
    *("model_name", "output_path", "cache_path", "tag", "note", "epochs", "early_stopping", "keep_weights", "ks_limit"),
    *("threads", "device", "data_place", "engine", "matmul_precision", "cuda_graph", "accumulate", "c2st_every"),
    *("epoch_plots", "epoch_plots_of", "plot_processes", "tensorboard", "mlflow"),
    *FigureSettings.model_fields,
}
"""Settings that may change when a run goes on."""

_log = logging.getLogger(__name__)


def find_start(layers: Layers, settings: TrainSettings, continue_from: str | None) -> Start:
    """The start that `--continue` asks for.

    Args:
        layers: sources of the settings; the last is the command line.
        settings: the settings made from them.
        continue_from: NAME/RUN, a run number of this model, -1 for the newest, 'auto' for the newest unfinished one or
            else a new run; None starts a new run.

    Raises:
        RunError: there is no such run, its files cannot be read, or another process is training it.
        ConfigError: a setting is given that would make it another training.
    """
    run = run_to_continue(settings, continue_from)
    if run is None:
        return Start(settings, initial=InitialWeights.of_settings(settings))
    return continued_start(run, layers)


def run_to_continue(settings: TrainSettings, continue_from: str | None) -> Run | None:
    """The run or set of networks that `--continue` names; None for a new one. Raises RunError, ConfigError."""
    if continue_from is None:
        return None
    if continue_from == AUTO:
        return _newest_unfinished(settings)
    if re.fullmatch(r"-?\d+", continue_from):
        return find_run(settings.output_path, settings.model_name, int(continue_from))
    try:
        run = named_run(continue_from, settings.output_path)
    except NoRunName as error:
        raise ConfigError(
            [
                "--continue takes a run as NAME/RUN, a run number of --model_name, -1 for its newest run, or auto; got "
                f"{continue_from!r}; {models_there(settings.output_path)}"
            ]
        ) from error
    name, given = run.numbered_folder.parent.name, settings.model_name
    if "model_name" in settings.model_fields_set and given != name:
        raise ConfigError([f"--continue {continue_from} is a run of model {name}, --model_name is {given}; omit one"])
    if run.network_number is not None:
        word, _, number = run.path.name.rpartition("_")
        raise ConfigError([f"{run.name} is one network of a set: --continue {name}/{run.number} --{word} {number}"])
    return run


def continued_start(run: Run, layers: Layers) -> Start:
    """The start of a run that goes on, or of a new one with an imported run's weights; errors as `find_start`."""
    if run.read_record().get("status") == IMPORTED:
        settings = settings_from(TrainSettings, settings_layers(run, run.read_settings(), layers))
        if settings.start_from is not None:
            raise ConfigError([f"--continue starts from the weights of {run.name}, and start_from names others"])
        return Start(settings, initial=InitialWeights.of_run(run))
    for file in (run.settings_file, run.record_file):
        # The earlier program's folders look alike; nothing may be written to them.
        if not file.is_file():
            raise RunError(
                f"run {run.name} has no {file.name}; it cannot be continued (a training of the earlier program can be "
                "brought in with cr_trainer import)"
            )
    with run.lock():
        # A run that was killed in its first epoch has no checkpoint and starts anew; a later one would be overwritten.
        got_further = run.read_record().get("status") == "finished" or run.histograms_file(1).exists()
        if got_further and not run.checkpoint_file.is_file():
            raise RunError(f"run {run.name} has lost {run.checkpoint_file.name}; it cannot be continued")
    settings, asked, given = changed_settings(run, layers)
    changed = [name for name in given if getattr(asked, name) != getattr(settings, name)]
    record, has_checkpoint = run.read_record(), run.checkpoint_file.is_file()
    if record.get("id") is None:
        warn_without_digests(run.name)
    threads = checkpoint_progress(run.checkpoint_file, record.get("id")).threads if has_checkpoint else None
    processes = record.get("computed_by", {}).get("processes", 1)
    if processes != place().processes:
        here = place().processes
        _log.warning("the run had %d processes so far; with %d its figures differ by rounding", processes, here)
        threads = None
    if threads and asked.threads not in (None, threads):
        _log.warning("the run had %d threads so far; with %d its figures differ by rounding", threads, asked.threads)
        threads = asked.threads
    _warn_of_another_machine(run)
    for name in ("engine", "matmul_precision"):
        if name in changed:
            _log.warning("%s was %s so far; from here on figures differ by rounding", name, getattr(settings, name))
    if "accumulate" in changed:
        _log.warning("accumulate was %d so far; from here on dropout masks are others", settings.accumulate)
    planned, is_finished = record.get("planned_epochs"), record.get("status") == "finished"
    more_epochs = asked.epochs if "epochs" in given else None
    if not is_finished and more_epochs not in (None, planned):
        _log.warning("the run was not finished and gets its planned %s epochs; --epochs is for finished ones", planned)
    unchanged = asked.model_copy(update={"epochs": settings.epochs})
    # Without a checkpoint it begins anew: with the weights that it began with.
    initial = None if has_checkpoint else InitialWeights.of_record(record)
    return Start(unchanged, run, more_epochs, planned, is_finished, threads, initial)


def changed_settings(run: Run, layers: Layers) -> tuple[TrainSettings, TrainSettings, dict[str, Any]]:
    """(settings of a run, settings that are asked for now, settings that were given explicitly).

    Raises:
        ConfigError: a setting is given that would make it another training.
    """
    stored = run.read_settings()
    given: dict[str, Any] = {}
    for source, content in layers[1:]:
        # A profile is for a new run; it was not asked for here.
        given |= content if source not in PROFILES else {}
    settings = settings_from(TrainSettings, [("run", stored)])
    asked = settings_from(TrainSettings, [("run", settings.model_dump()), ("command line", given)])
    forbidden = [
        name for name in given if getattr(asked, name) != getattr(settings, name) and name not in _FREE_TO_CHANGE
    ]
    if forbidden:
        raise ConfigError(
            f"{name} is {shown(getattr(settings, name))} in run {run.name} and cannot become "
            f"{shown(getattr(asked, name))} in the middle of it"
            for name in forbidden
        )
    return settings, asked, given


def _warn_of_another_machine(run: Run) -> None:
    record = run.read_record()
    before = {**record.get("machine", {}), "torch": record.get("versions", {}).get("torch")}
    here = {**machine(), "torch": torch.__version__}
    for what in ("processor", "gpu", "torch"):
        if before.get(what) != here[what]:
            so_far, now = (known.get(what) or "none that is known" for known in (before, here))
            _log.warning("the run's %s was %s so far, here it is %s: figures can differ by rounding", what, so_far, now)


def _newest_unfinished(settings: TrainSettings) -> Run | None:
    for run in reversed(runs_of(settings.output_path, settings.model_name)):
        network_set = NetworkSet.of(run)
        if network_set is not None:
            if network_set.can_go_on():
                return run
            continue
        try:
            record = run.read_record()
        except InputFileError as error:
            remedy = "move the folder of that run away, or name the run to go on with: --continue NUMBER"
            raise InputFileError(error.file, f"{error.reason}; {remedy}") from error
        if record and record.get("status") not in ("finished", DIVERGED, IMPORTED) and run.is_free():
            return run
    return None
