"""Trials of a study: one after the other in this process, or several at once in the workers of an executor."""

import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.config.loading import DEFAULTS, Layers, shown
from cal_ratio_trainer.config.profiles import PROFILES
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import USUAL_TRIALS, TuneSettings, read_search_space
from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import refuse_unusable_folder, write_text
from cal_ratio_trainer.network.domain.base import domain_loss_named
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.progress import progress_shown
from cal_ratio_trainer.runs.demo import make_demo
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.initial_weights import InitialWeights
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import FINISHED as RUN_FINISHED
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training.continuation import continued_start
from cal_ratio_trainer.training.loop import TrainingDiverged
from cal_ratio_trainer.training.ranks import Ranks
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.setup import LoadedData, Training, load_data
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from cal_ratio_trainer.tuning.objectives import MEASURES, OBJECTIVES, Point, best_point, rejection_columns
from cal_ratio_trainer.tuning.plan import Plan
from cal_ratio_trainer.tuning.study import (
    DIVERGED,
    ENDED,
    EPOCH,
    EPOCHS,
    FAILED,
    FINISHED,
    POINT,
    REASON,
    RUN,
    SECONDS,
    STOPPED,
    StudyFile,
    TrialRow,
    TrialTable,
    make_study,
    open_study,
    study_folder,
)
from cal_ratio_trainer.workers.executor import Report, Task, available_cores
from cal_ratio_trainer.workers.opening import opened_executor

if TYPE_CHECKING:
    import optuna

_OF_A_CALL = {*SchedulingSettings.model_fields, "study", "trials", "hours", "keep_trials", "resume", "output_path"}
"""Settings that may change when a study goes on."""

_NOT_PRUNED = 1 / 3
"""Share of the planned epochs before which no trial is stopped."""

_STOPPED = "stopped by the study"
"""Beginning of the reason in the record of a run that was clearly worse than others."""

_NO_JET_DEPENDS_ON = {
    *("learning_rate", "adversary_learning_rate", "schedule", "optimizer", "weight_decay", "clip_gradient"),
    *("average_weights", "agreement_strength", "distance_rise", "regularization", "dropout", "epochs"),
    *("early_stopping", "model_name", "note", "standardize_inputs"),
}
"""Settings that have no effect on the jets in memory, which two trials can then share."""

_BULKY = ("keras", "histograms", "test_sample.parquet", "control_test_sample.parquet")

_kept = threading.local()
"""Training files in memory, for the next trial of this thread."""


def tune_study(
    settings: TuneSettings,
    layers: Layers,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    after_trial: Callable[[StudyFile], None],
) -> StudyFile:
    """Runs trials until the budget is used up; other processes may work on the same study.

    Args:
        settings: of the command.
        layers: sources of the settings; the last is the command line, whose settings are not searched.
        say: receives what a user should read while it runs.
        details: figures of merit as text, for training_details.txt of each run; a function that processes can import.
        after_trial: called after each trial.

    Returns:
        The study.

    Raises:
        TrainingStopped: SIGTERM or ^C during a trial in this process; `--resume` goes on.
        UserError: settings or files cannot be used, or the study exists already, or does not.
    """
    folder = study_folder(settings.output_path, settings.study)
    refuse_unusable_folder(folder, "output_path")
    opened = _resumed(folder, settings, layers) if settings.resume else make_study(folder, _plan_of(settings, layers))
    trials = settings.trials or (None if settings.hours else USUAL_TRIALS)
    until = None if settings.hours is None else time.time() + 3600 * settings.hours
    is_local = settings.scheduler == "local" and settings.workers > 1
    threads = max(1, available_cores() // settings.workers) if is_local else None
    objectives = f"{OBJECTIVES[opened.plan.objective]} and {MEASURES[opened.plan.measure]}"
    say(f"study {settings.study} in {folder}: {objectives} by {', '.join(opened.plan.search)}")
    is_over = False

    def tasks() -> Iterator[Task]:
        for number in itertools.count():
            if is_over:
                return
            yield Task((number, 0), run_trial, (folder, details, trials, until, threads, executor.is_alone))

    with opened_executor(settings, settings.workers, say) as executor:
        for done in executor.all_of(tasks()):
            if isinstance(done.error, TrainingStopped):
                again = f"cr_trainer tune {settings.study} --resume"
                raise TrainingStopped(f"stopped in a trial; go on with '{again}'", done.error.exit_status)
            if done.error is not None:
                if not settings.resume and not opened.table().finished:
                    # So that the same study can be started again once the mistake is corrected.
                    shutil.rmtree(folder, ignore_errors=True)
                raise done.error
            if done.result is None:
                is_over = True
                continue
            table = opened.table()
            say(trial_sentence(table, table.trials[done.result]))
            _write_best(opened, table)
            after_trial(opened)
    if settings.keep_trials == "front":
        _keep_front(opened.table())
    return opened


def _plan_of(settings: TuneSettings, layers: Layers) -> Plan:
    base = settings.base()
    search = read_search_space(settings.search, base, set(layers[-1][1]))
    for name, named in (("encoder", encoder_named), ("agreement", domain_loss_named)):
        choices = search.get(name)
        for choice in choices if isinstance(choices, list) else ():
            if choice != "none":
                named(choice)
    return Plan(base, search, settings.objective, settings.agreement_measure, settings.prune, settings.random_trials)


def _resumed(folder: Path, settings: TuneSettings, layers: Layers) -> StudyFile:
    """Opens the study; raises ConfigError where a setting is given that would make it another one."""
    opened = open_study(folder)
    given = {name for source, content in layers[1:] if source not in PROFILES for name in content}
    stored = opened.plan.as_plain()
    stored |= stored.pop("settings")
    asked = settings.model_dump(mode="json")
    if "search" in given:
        search = read_search_space(settings.search, opened.plan.settings)
        asked["search"] = Plan(opened.plan.settings, search, "auc", "ks", None, 1).as_plain()["search"]
    changed = [
        f"{name} is {shown(stored[name])} in study {settings.study} and cannot become {shown(asked[name])}"
        for name in sorted(given)
        if name not in _OF_A_CALL and name in stored and stored[name] != asked[name]
    ]
    if changed:
        raise ConfigError(changed)
    return opened


class TrialObserver(RunDisplay):
    """Tells the study the objectives after each epoch, and ends a trial that is clearly worse than others."""

    def __init__(self, opened: StudyFile, trial: "optuna.Trial", epochs: int) -> None:
        """Begins to follow.

        Args:
            opened: the study.
            trial: the trial.
            epochs: planned number of epochs.
        """
        # Plots would take a third of the time of a short trial.
        super().__init__(draws=False)
        self._study, self._trial, self._epochs = opened, trial, epochs
        self._told = 0

    @contextmanager
    def following(
        self, run: RunFolder, training: Training, history: Sequence[HistoryRow], record: Mapping[str, Any]
    ) -> Iterator[None]:
        """Tells the study the run of the trial; see `Observer`."""
        if self._trial.user_attrs.get(RUN) != run.path.name:
            self._trial.set_user_attr(RUN, run.path.name)
        with super().following(run, training, history, record):
            yield

    def columns(self, main: ScoredJets) -> HistoryRow:
        """Returns the rejection, in a study by rejection."""
        return rejection_columns(main) if self._study.plan.objective == "rejection" else {}

    def see(self, history: Sequence[HistoryRow]) -> None:
        """Tells the study the objectives of new epochs; sets `reason` where enough trials are clearly better."""
        plan, point = self._study.plan, None
        for epoch in range(self._told, len(history)):
            point = Point.of(history[epoch], epoch, plan.objective, plan.measure)
            if point is not None:
                self._trial.set_user_attr(f"{EPOCH}{epoch}", [point.figure, point.error, point.excess, epoch])
        self._told = len(history)
        if plan.prune is None or point is None or len(history) < _NOT_PRUNED * self._epochs:
            return
        better = self._clearly_better(point)
        if len(better) >= plan.prune:
            others = f"trial{'s' * (len(better) > 1)} {', '.join(map(str, better))}"
            self.reason = f"{_STOPPED} after epoch {point.epoch}: {others} clearly better in both objectives by then"

    def _clearly_better(self, point: Point) -> list[int]:
        """Numbers of the trials that were clearly better after the same epoch.

        Those with another schedule do not count: in the middle of it their learning rates are not comparable.
        """
        schedule = self._trial.params.get("schedule")
        found = []
        for trial in self._study.study.get_trials(deepcopy=False):
            known = trial.user_attrs.get(f"{EPOCH}{point.epoch}")
            if known is None or trial.number == self._trial.number or trial.params.get("schedule") != schedule:
                continue
            if Point(*known).clearly_beats(point):
                found.append(trial.number)
        return found


def run_trial(
    report: Report,
    folder: Path,
    details: Callable[[TestFigures], str],
    trials: int | None,
    until: float | None,
    threads: int | None,
    is_shown: bool,
) -> int | None:
    """Runs the next trial of a study: an ordinary training whose run is one of the model with the study's name.

    A trial that was killed goes on with its run, from the checkpoint.

    Args:
        report: not used; a trial has no units of progress.
        folder: of the study.
        details: figures of merit as text.
        trials, until: the budget, see `StudyFile.next_trial`.
        threads: CPU threads; None takes those of the settings.
        is_shown: show the progress of the training.

    Returns:
        Number of the trial; None where the budget is used up.

    Raises:
        TrainingStopped: SIGTERM or ^C; the study can be resumed.
        UserError: the training cannot begin, and none before has ended. Later such a trial counts as failed.
    """
    from optuna.trial import TrialState

    opened = open_study(folder)
    with opened.next_trial(trials, until) as trial:
        if trial is None:
            return None
        try:
            with progress_shown(is_shown):
                run, seconds = _trained(opened, trial, details, threads)
        except TrainingStopped:
            raise
        except UserError as error:
            has_diverged = isinstance(error, TrainingDiverged)
            trial.set_user_attr(ENDED, DIVERGED if has_diverged else FAILED)
            trial.set_user_attr(REASON, str(error))
            # The sampler learns from trials that are stopped, not from those that fail.
            opened.study.tell(trial, state=TrialState.PRUNED if has_diverged else TrialState.FAIL)
            if not has_diverged and not opened.table().finished:
                raise
            return trial.number
        _tell(opened, trial, run, seconds)
        return trial.number


def _trained(
    opened: StudyFile, trial: "optuna.Trial", details: Callable[[TestFigures], str], threads: int | None
) -> tuple[Run, float]:
    """Trains a trial, or goes on with it; returns its run and the duration. [s]"""
    begin = time.perf_counter()
    settings = opened.plan.settings_of(trial.params).model_copy(
        update={
            "model_name": opened.folder.parent.name,
            "output_path": opened.folder.parents[1],
            "note": f"trial {trial.number}",
            "epoch_plots": False,
            "plot_processes": 0,
            "tensorboard": False,
        }
    )
    if threads is not None and settings.threads is None:
        settings = settings.model_copy(update={"threads": threads})
    run = opened.run_of(trial.user_attrs)
    start = Start(settings, initial=InitialWeights.of_settings(settings))
    if run is not None and run.record_file.is_file() and run.settings_file.is_file():
        if run.read_record().get("status") == RUN_FINISHED:
            # The process was killed between the end of the training and the entry in the journal.
            return run, time.perf_counter() - begin
        start = continued_start(run, [(DEFAULTS, {}), ("", {})])
    observer = TrialObserver(opened, trial, settings.epochs)
    summary = train(start, lambda text: None, details, observer=observer, load=_loaded)
    return Run(summary.run.path), time.perf_counter() - begin


def _loaded(settings: TrainSettings, ranks: Ranks) -> LoadedData:
    """The training files in memory, read again only if other jets are needed or they lie elsewhere."""
    content = settings.model_dump(mode="json", exclude=_NO_JET_DEPENDS_ON)
    key = json.dumps(content, sort_keys=True)
    if getattr(_kept, "key", None) != key:
        # The old files are freed first: there may be no room for both.
        _kept.key = _kept.data = None
        _kept.data, _kept.key = load_data(settings, ranks, make_demo), key
    data: LoadedData = _kept.data
    return data


def _tell(opened: StudyFile, trial: "optuna.Trial", run: Run, seconds: float) -> None:
    from optuna.trial import TrialState

    history, reason = run.read_history(), str(run.read_record().get("reason", ""))
    point = best_point(history, opened.plan.objective, opened.plan.measure)
    trial.set_user_attr(RUN, run.path.name)
    trial.set_user_attr(EPOCHS, len(history))
    trial.set_user_attr(SECONDS, seconds)
    if point is not None:
        trial.set_user_attr(POINT, [point.figure, point.error, point.excess, point.epoch])
    if reason.startswith(_STOPPED):
        trial.set_user_attr(ENDED, STOPPED)
        trial.set_user_attr(REASON, reason)
        opened.study.tell(trial, state=TrialState.PRUNED)
    elif point is None:
        trial.set_user_attr(REASON, "no epoch has both objectives: there are too few jets for them")
        opened.study.tell(trial, state=TrialState.FAIL)
    else:
        opened.study.tell(trial, list(point.values))


def trial_sentence(table: TrialTable, trial: TrialRow) -> str:
    """Sentence on a trial: state, objectives, run with epoch, searched settings."""
    values = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in trial.params.items()}
    params = ", ".join(f"{name} {value}" for name, value in values.items())
    if trial.point is None:
        return f"trial {trial.number} {trial.state} ({params}): {trial.reason}"
    point, plan = trial.point, table.plan
    form = ".4f" if plan.objective == "auc" else ".1f"
    run = "" if trial.run is None else f", epoch {point.epoch} of {trial.run.name}"
    return (
        f"trial {trial.number} {trial.state}: {OBJECTIVES[plan.objective]} {point.figure:{form}} ± "
        f"{point.error:{form}}, {MEASURES[plan.measure]} {point.excess:+.1f}{run} ({params})"
    )


def best_file(opened: StudyFile) -> Path:
    """File with the settings of the recommended trial."""
    return opened.folder / "best.yaml"


def _write_best(opened: StudyFile, table: TrialTable) -> None:
    """Writes the settings of the recommended trial, for `train --config`."""
    if table.best is None:
        return
    settings = opened.plan.settings_of(table.best.params)
    write_text(best_file(opened), f"# {trial_sentence(table, table.best)}\n{settings.as_yaml()}")


def _keep_front(table: TrialTable) -> None:
    """Removes networks, histograms and test jets of all ended trials that are not on the front."""
    for trial in table.trials:
        if trial.run is None or trial.state not in (FINISHED, STOPPED) or trial in table.front:
            continue
        for path in (trial.run.path / name for name in _BULKY):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
