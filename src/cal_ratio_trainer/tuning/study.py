"""A study on disk: its trials, and the choice of the next one; several processes may share it.

The folder is `<output_path>/<study>/study`, beside the runs of the trials. The trials are entries of a journal, to
which Optuna only appends, under a lock that a killed process does not keep. The process of a trial also holds its
lease (`files.leases`): a trial that is marked as running but has no holder was killed.
"""

import math
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from cal_ratio_trainer.errors import ConfigError, InputFileError, UserError
from cal_ratio_trainer.files.leases import held_in_turn, is_leased, leased
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.tuning.objectives import Point, front, recommended
from cal_ratio_trainer.tuning.plan import Checked, Plan

if TYPE_CHECKING:
    import optuna

FINISHED, STOPPED, DIVERGED, FAILED = "finished", "stopped", "diverged", "failed"
KILLED, RUNNING, INTERRUPTED, WAITING = "killed", "running", "interrupted", "waiting"
"""States of a trial. A stopped one was clearly worse than others, a killed one is tried again."""

_NAME = "study"
_PLAN = "plan"
_MAX_ATTEMPTS = 3
"""Number of attempts at a trial whose process is killed, e.g. because it needs more memory than there is."""

RUN, EPOCH, POINT, ENDED, REASON, SECONDS, EPOCHS = "run", "epoch_", "point", "ended", "reason", "seconds", "epochs"
_RETRY_OF, _ATTEMPT = "retry_of", "attempt"
"""Attributes of trials in the journal."""

_NO_STUDY = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of Optuna and of this module about a journal that is damaged, or not as this program writes it."""

_TARGET_QUANTILE, _MIN_TRIALS = 0.25, 8
"""Share of best trials for which importances are computed, and number of finished trials that this needs."""


class MissingOptuna(UserError):
    """A study is asked for where Optuna is not installed."""

    def __init__(self) -> None:
        super().__init__("cr_trainer tune needs the package optuna: pip install 'cal_ratio_trainer[tune]'")


_PointEntry = Annotated[tuple[float, PositiveFloat, float, NonNegativeInt], Field(strict=False)]


class _TrialEntries(Checked):
    run: str | None = Field(default=None, pattern=r"^[0-9]{1,9}$")
    points: list[_PointEntry] = Field(default=[])
    ended: Literal["stopped", "diverged", "failed"] = "failed"
    reason: str = ""
    seconds: NonNegativeFloat | None = None
    epochs: NonNegativeInt | None = None
    retry_of: NonNegativeInt | None = None
    attempt: PositiveInt = 1


@dataclass(frozen=True)
class TrialRow:
    """A trial as the journal has it.

    Attributes:
        number: its number in the study.
        state: one of the words above.
        params: values of the searched settings.
        run: its run; None before it has one.
        point: objectives of its recommended epoch; None where they are not known.
        epochs: number of its epochs.
        seconds: duration, with that of earlier attempts only if they left a checkpoint. [s]
        reason: why it was stopped or failed.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    run: Run | None
    point: Point | None
    epochs: int | None
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class TrialTable:
    """All trials of a study.

    Attributes:
        trials: by number.
        plan: of the study.
    """

    trials: tuple[TrialRow, ...]
    plan: Plan

    @cached_property
    def finished(self) -> tuple[TrialRow, ...]:
        """The finished trials, whose objectives are known."""
        return tuple(trial for trial in self.trials if trial.state == FINISHED and trial.point is not None)

    @cached_property
    def front(self) -> tuple[TrialRow, ...]:
        """The finished trials that no other beats in both objectives, by falling figure."""
        return tuple(self.finished[position] for position in front(self._points))

    @cached_property
    def best(self) -> TrialRow | None:
        """The recommended trial, see `objectives.recommended`; None where none is finished."""
        position = recommended(self._points)
        return None if position is None else self.finished[position]

    @property
    def _points(self) -> list[Point]:
        return [trial.point for trial in self.finished if trial.point is not None]


@dataclass(frozen=True)
class StudyFile:
    """A study that this process has opened; `make_study` and `open_study` return one.

    Attributes:
        folder: `<output_path>/<name>/study`.
        plan: of the study.
        study: Optuna's object of it.
    """

    folder: Path
    plan: Plan
    study: "optuna.Study"

    @contextmanager
    def next_trial(self, trials: int | None, until: float | None) -> "Iterator[optuna.Trial | None]":
        """Begins a trial, which is this process's during the block; gives None where the budget is used up.

        Trials that were killed come first. Which settings a trial gets depends on the seed, the trials that have ended
        and their order, and not on those that were killed.

        Args:
            trials: number of trials of the study in all; None sets no limit.
            until: time by which the trial should end, as of `time.time`; None sets no limit. [s]
        """
        with ExitStack() as held:
            with held_in_turn(self.folder / "next_trial"):
                self._requeue_killed()
                trial = self._ask(trials, until)
                if trial is not None:
                    held.enter_context(leased(self._trial_file(trial.number)))
            yield trial

    def _trial_file(self, number: int) -> Path:
        """Path whose lease says that the trial has a process; there is no file."""
        return self.folder / f"trial_{number:05d}"

    def _requeue_killed(self) -> None:
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            with leased(self._trial_file(trial.number)) as lease:
                if lease is None:
                    continue
                self.study.tell(trial.number, state=TrialState.FAIL)
                attempt = trial.user_attrs.get(_ATTEMPT, 1)
                if attempt < _MAX_ATTEMPTS:
                    known = {name: value for name, value in trial.user_attrs.items() if name == RUN}
                    retry = {**known, _RETRY_OF: trial.number, _ATTEMPT: attempt + 1}
                    self.study.enqueue_trial(trial.params, user_attrs=retry)

    def _ask(self, trials: int | None, until: float | None) -> "optuna.Trial | None":
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        known = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(_RETRY_OF) for trial in known}
        begun = [trial for trial in known if trial.state != TrialState.WAITING]
        if trials is not None and sum(trial.number not in retried for trial in begun) >= trials:
            return None
        if until is not None:
            seconds = [trial.user_attrs[SECONDS] for trial in begun if trial.state == TrialState.COMPLETE]
            if time.time() + (statistics.median(seconds) if seconds else 0.0) > until:
                return None
        # A sampler for each trial: one that goes on after a kill would repeat its first random numbers.
        sampled = sum(_RETRY_OF not in trial.user_attrs for trial in begun)
        (seed,) = np.random.SeedSequence([self.plan.settings.seed, sampled]).generate_state(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study.sampler = TPESampler(
                seed=int(seed), n_startup_trials=self.plan.random_trials, constant_liar=True
            )
            return self.study.ask(self.plan.distributions())

    def run_of(self, attributes: Mapping[str, Any]) -> Run | None:
        """Returns the run of a trial, from its checked attributes; None before it has one."""
        number = attributes.get(RUN)
        return None if number is None else Run(self.folder.parent / number)

    def table(self) -> TrialTable:
        """Returns all trials."""
        from optuna.trial import TrialState

        known = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(_RETRY_OF) for trial in known}
        rows = []
        for trial in known:
            attributes = trial.user_attrs
            state = {TrialState.COMPLETE: FINISHED, TrialState.WAITING: WAITING}.get(trial.state, "")
            if trial.state == TrialState.RUNNING:
                state = RUNNING if is_leased(self._trial_file(trial.number)) else INTERRUPTED
            elif trial.state in (TrialState.PRUNED, TrialState.FAIL):
                state = KILLED if trial.number in retried else attributes.get(ENDED, FAILED)
            point = attributes.get(POINT)
            rows.append(
                TrialRow(
                    trial.number,
                    state,
                    self.plan.searched(trial.params),
                    self.run_of(attributes),
                    None if point is None else _point(*point),
                    attributes.get(EPOCHS),
                    attributes.get(SECONDS),
                    attributes.get(REASON, ""),
                )
            )
        return TrialTable(tuple(rows), self.plan)

    def importances(self) -> list[dict[str, float]]:
        """Returns for each objective the share of each searched setting in it; empty with too few finished trials.

        Source: S. Watanabe, A. Bansal and F. Hutter, PED-ANOVA, IJCAI 2023, for the best quarter of the trials.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        if len(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < _MIN_TRIALS:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = PedAnovaImportanceEvaluator(target_quantile=_TARGET_QUANTILE)
            # Its targets are low where they are good.
            return [
                get_param_importances(self.study, evaluator=evaluator, target=target)
                for target in (lambda trial: -trial.values[0], lambda trial: trial.values[1])
            ]


def _point(figure: Any, error: Any, excess: Any, epoch: Any) -> Point:
    return Point(float(figure), float(error), float(excess), int(epoch))


def study_folder(output_path: Path, name: str) -> Path:
    """Folder of a study, beside the runs of its trials."""
    return output_path / name / "study"


def make_study(folder: Path, plan: Plan) -> StudyFile:
    """Begins a study. Its first trial has the plan's own settings, if they are in the search space.

    Raises:
        RunError: there is one already.
        MissingOptuna: Optuna is not installed.
    """
    optuna = _optuna()
    folder.mkdir(parents=True, exist_ok=True)
    with held_in_turn(folder / "next_trial"):
        if _journal(folder).exists():
            raise RunError(
                f"there is a study {folder.parent.name} in {folder}: go on with it with --resume, or give another name"
            )
        study = optuna.create_study(
            storage=_storage(folder), study_name=_NAME, directions=["maximize", "minimize"], sampler=None
        )
        study.set_user_attr(_PLAN, plan.as_plain())
        first = plan.first_params()
        if first is not None:
            study.enqueue_trial(first)
    return StudyFile(folder, plan, study)


def open_study(folder: Path) -> StudyFile:
    """Opens a study.

    Raises:
        RunError: there is none.
        InputFileError: its journal cannot be read.
        MissingOptuna: Optuna is not installed.
    """
    optuna, file = _optuna(), _journal(folder)
    if not file.is_file():
        raise RunError(f"there is no study {folder.parent.name}: {file} is missing; without --resume it is begun")
    try:
        study = optuna.load_study(study_name=_NAME, storage=_storage(folder))
        opened = StudyFile(folder, Plan.from_plain(study.user_attrs[_PLAN]), study)
        # Anybody with access to the folder can write the journal: all of it is looked at here.
        _check_trials(opened)
        opened.table()
    except (*_NO_STUDY, ConfigError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputFileError(file, f"is no journal of a study that can be read ({reason:.400})") from error
    return opened


def _check_trials(opened: StudyFile) -> None:
    """Raises ValueError where the study or an entry of a trial is not as this program writes it."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    if opened.study.directions != [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]:
        raise ValueError("it has other objectives")
    for trial in opened.study.get_trials(deepcopy=False):
        entries = trial.user_attrs
        points = [point for name, point in entries.items() if name.startswith(EPOCH) or name == POINT]
        _TrialEntries.model_validate({**entries, "points": points})
        if unknown := trial.params.keys() - opened.plan.search.keys():
            raise ValueError(f"trial {trial.number} has a parameter {min(unknown)!r:.80}, which is not searched")
        if trial.state == TrialState.WAITING:
            fixed = trial.system_attrs.get("fixed_params", {})
            for name, distribution in opened.plan.distributions().items():
                if name in fixed:
                    distribution.to_internal_repr(fixed[name])
        if trial.state != TrialState.COMPLETE:
            continue
        is_whole = len(trial.values) == 2 and all(isinstance(each, int | float) for each in trial.values)
        if not is_whole or not all(map(math.isfinite, trial.values)) or not {SECONDS, POINT} <= entries.keys():
            raise ValueError(f"trial {trial.number} is complete, but its objectives or its duration are missing")


def _journal(folder: Path) -> Path:
    return folder / "journal.log"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingOptuna from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _storage(folder: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    file = _journal(folder)
    # Exclusive creation of a file, as our leases; that of a killed process is removed after 30 s.
    lock = JournalFileOpenLock(str(file))
    if file.exists():
        lock.acquire()
        try:
            _remove_partial_line(file)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(file), lock_obj=lock))


def _remove_partial_line(file: Path) -> None:
    """Removes what a full disk or a power cut left of the last line: the next one would become a part of it."""
    with file.open("rb+") as opened:
        content = opened.read()
        if not content.endswith(b"\n"):
            opened.truncate(content.rfind(b"\n") + 1)
