"""Networks of a fold set, trained one after the other or one by this process; and the set completed at the end."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.plotting.pool import DrawingFailed
from cal_ratio_trainer.runs.directory import FINISHED, IMPORTED, RUNNING, RunDirectory, RunError
from cal_ratio_trainer.runs.figure_data import history_text, write_evaluation
from cal_ratio_trainer.runs.figures import redraw_run
from cal_ratio_trainer.runs.initial_weights import InitialWeights
from cal_ratio_trainer.runs.networks import networks_of
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, BestEpochs, mean_history
from cal_ratio_trainer.runs.record import now, record_text
from cal_ratio_trainer.runs.test_sample import fold_sample, write_fold_sample
from cal_ratio_trainer.training.checkpoint import checkpoint_progress
from cal_ratio_trainer.training.continuation import AUTO, Start, changed_settings, continued_start, run_to_continue
from cal_ratio_trainer.training.fold_set import FoldSet, begun_set, joined_set, new_fold_set, release
from cal_ratio_trainer.training.loop import command_to_go_on
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.train import ShowRun, TrainSummary, figures_as_json, show_nothing, train
from cal_ratio_trainer.workers.child import ChildDied

_OF_THE_SET = ("fold", "epochs")
"""Settings that are a matter of the whole set when it goes on."""


@dataclass(frozen=True)
class FoldWork:
    """Task of a call of `cr_trainer train` for a fold set.

    Attributes:
        settings: of the set; with `fold` only that network is trained.
        layers: sources of the settings; the last is the command line.
        fold_set: the set to go on with; None begins one, or with `fold` joins one that lacks it.
    """

    settings: TrainSettings
    layers: Layers = field(default_factory=list)
    fold_set: FoldSet | None = None

    @property
    def rule(self) -> FoldRule:
        """Rule by which events belong to folds."""
        return FoldRule(self.settings.folds or 0)

    @property
    def wanted(self) -> list[int]:
        """The folds that this call is about."""
        return list(range(self.rule.count)) if self.settings.fold is None else [self.settings.fold]


@dataclass(frozen=True)
class FoldSetSummary:
    """Result for a fold set.

    Attributes:
        run: its folder.
        trained: the networks that this process trained.
        figures: of merit of the whole set, each test jet scored by the network of its fold; None where folds lack.
        lacking: the folds that are not trained to their end.
        undrawn: names of plots that could not be drawn, each with the reason.
    """

    run: RunDirectory
    trained: tuple[TrainSummary, ...]
    figures: TestFigures | None
    lacking: tuple[int, ...]
    undrawn: dict[str, str]


def fold_work(layers: Layers, settings: TrainSettings, continue_from: str | None) -> FoldWork | None:
    """Task for a fold set; None where a single network is meant.

    Args:
        layers: sources of the settings; the last is the command line.
        settings: the settings they make.
        continue_from: as `find_start` takes it; 'auto' with `fold` goes on with that fold of the newest set of this
            training that is not complete, or begins it there.

    Raises:
        RunError: there is no such run.
        ConfigError: a setting is given that would make it another training.
    """
    if continue_from is None or (continue_from == AUTO and settings.fold is not None):
        if settings.folds is None:
            return None
        return FoldWork(settings, layers, begun_set(settings) if continue_from == AUTO else None)
    run = run_to_continue(settings, continue_from)
    fold_set = FoldSet.of(run) if run is not None else None
    if fold_set is not None:
        _, asked, _ = changed_settings(fold_set.run, _for_fold(layers, None))
        return FoldWork(asked.model_copy(update={"fold": settings.fold}), layers, fold_set)
    if settings.folds is None:
        return None
    if run is not None and run.read_record().get("status") == IMPORTED:
        raise ConfigError(
            [f"{run.name} was imported: its weights may have seen any event, so no folds can start from them"]
        )
    return FoldWork(settings, layers) if run is None else None


def train_folds(
    work: FoldWork,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    ranks: Ranks = ALONE,
    show: ShowRun = show_nothing,
) -> FoldSetSummary:
    """Trains the folds that are wanted, then completes the set if none is missing.

    A fold that another process trains is passed over; the process that ends last completes the set. An interrupted set
    goes on with the fold, and in it with the step, where it stopped.

    Args:
        work: work to do.
        say: receives messages for the user while it runs.
        details: figures of merit as text, for training_details.txt.
        ranks: the processes that share each training; this one is the first.
        show: called while the networks train, and for the set at its end.

    Raises:
        TrainingStopped: SIGTERM or ^C; the set can be continued.
        UserError: settings or files cannot be used.
    """
    if work.fold_set is None:
        # Before the set has a folder.
        InitialWeights.of_settings(work.settings)
    fold_set = _place(work)
    trained = []
    for fold in work.wanted:
        start = _start_of(fold, fold_set, work)
        if isinstance(start, str):
            say(start)
            continue
        say(f"fold {fold} of {work.rule.count}: without the events with {work.rule.condition(fold)}")
        try:
            trained.append(train(start, say, details, ranks, show))
        finally:
            release(fold_set, fold)
        _heed_late_signal(trained[-1], is_last=fold == work.wanted[-1])
    lacking = tuple(fold_set.lacking())
    undrawn = {f"{each.run.name}: {name}": why for each in trained for name, why in each.undrawn.items()}
    figures = None if lacking else _completed(fold_set, say, details)
    if figures is not None:
        try:
            redraw_run(fold_set.run)
        except (DrawingFailed, ChildDied, UserError, OSError) as error:
            undrawn[f"plots of {fold_set.run.name}"] = str(error)
    show(fold_set.run, None)
    return FoldSetSummary(fold_set.run, tuple(trained), figures, lacking, undrawn)


def _heed_late_signal(trained: TrainSummary, *, is_last: bool) -> None:
    """A signal that let a network finish is one for the set: the next network does not begin."""
    if trained.stop.signal_number and not is_last:
        raise TrainingStopped(
            f"stopped with {trained.run.name} finished; go on with '{command_to_go_on(trained.run)}'",
            trained.stop.exit_status,
        )


def _place(work: FoldWork) -> FoldSet:
    """The set that is trained; it is made, or joined, where it is not given."""
    if work.fold_set is not None:
        _add_epochs(work.fold_set, work)
        return work.fold_set
    return new_fold_set(work.settings) if work.settings.fold is None else joined_set(work.settings, work.settings.fold)


def _add_epochs(fold_set: FoldSet, work: FoldWork) -> None:
    """A complete set gets more epochs; one that is not keeps its plan, whichever process asks."""
    given = {name: value for _, content in work.layers[1:] for name, value in content.items()}
    with fold_set.run.lock():
        record = fold_set.run.read_record()
        if not fold_set.is_complete:
            return
        more = int(given.get("epochs") or fold_set.settings.epochs)
        planned = fold_set.planned_epochs + more
        fold_set.run.write_record(record | {"status": RUNNING, "planned_epochs": planned})


def _start_of(fold: int, fold_set: FoldSet, work: FoldWork) -> Start | str:
    """Start of a fold; or the reason why this process has nothing to do for it."""
    run, planned = fold_set.run.fold(fold), fold_set.planned_epochs
    if fold_set.is_trained(fold):
        return f"{run.name} is trained"
    if work.settings.fold is None and run.path.is_dir() and not run.is_free():
        return f"{run.name} is being trained by another process"
    if not run.record_file.is_file():
        settings = work.settings.model_copy(update={"fold": fold})
        initial = InitialWeights.of_settings(settings)
        return Start(settings, planned=planned, initial=initial, fold_set=fold_set)
    start = continued_start(run, _for_fold(work.layers, fold))
    if start.is_finished:
        done = len(checkpoint_progress(run.checkpoint_file, run.read_record().get("id")).history)
        return replace(start, more_epochs=planned - done)
    return replace(start, planned=planned)


def _for_fold(layers: Layers, fold: int | None) -> Layers:
    """The same layers without what is a matter of the set; `fold` in its place."""
    rest = [
        (source, {name: value for name, value in content.items() if name not in _OF_THE_SET})
        for source, content in layers
    ]
    return rest if fold is None or not rest else [*rest[:-1], (rest[-1][0], rest[-1][1] | {"fold": fold})]


def _completed(
    fold_set: FoldSet, say: Callable[[str], None], details: Callable[[TestFigures], str]
) -> TestFigures | None:
    """Writes history, test jets, figures and record of a set whose folds are all trained.

    Args:
        fold_set: the set.
        say: receives messages for the user.
        details: figures of merit as text, for training_details.txt.

    Returns:
        The figures of merit of the set; None where another process does or has just done the same.

    Raises:
        RunError: the folds were not trained on the same files.
        UserError: what a fold left cannot be read.
    """
    was_complete = fold_set.is_complete
    _refuse_different_files(fold_set)
    with ExitStack() as held:
        try:
            held.enter_context(fold_set.run.lock())
        except RunError:
            say(f"{fold_set.run.name} is being completed by another process")
            return None
        if fold_set.is_complete and not was_complete:
            say(f"{fold_set.run.name} was completed by another process")
            return None
        say(f"all folds are trained; {fold_set.run.name} is put together")
        return _written(fold_set, details)


def _written(fold_set: FoldSet, details: Callable[[TestFigures], str]) -> TestFigures:
    run = fold_set.run
    sample, networks = fold_sample(run, fold_set.rule, torch.device("cpu")), networks_of(run).load()
    main, control = write_fold_sample(sample, networks, run)
    seed = sample.settings.seed if sample.settings.c2st_every else None
    figures = evaluate_test_sample(main, control, pt_ranges=sample.pt_ranges, c2st_seed=seed)
    histories = [each.read_history() for each in fold_set.folds]
    history = mean_history(histories)
    write_text(run.history_file, history_text(history))
    write_evaluation(run, len(history) - 1, figures)
    record = _record(fold_set, histories, figures)
    text = "\n".join((record_text(record), fold_set.settings.as_yaml(), details(figures)))
    write_text(run.path / "training_details.txt", text)
    run.write_record(record)
    return figures


def _record(
    fold_set: FoldSet, histories: Sequence[Sequence[Mapping[str, float]]], figures: TestFigures
) -> dict[str, Any]:
    records = [run.read_record() for run in fold_set.folds]
    best = BestEpochs.of(histories, DEFAULT_RULE)
    return fold_set.run.read_record() | {
        "status": FINISHED,
        "ended": now(),
        "finished_epochs": min(map(len, histories)),
        "best_epochs": {"by fold": list(best.epochs)} if best is not None else {},
        "test": figures_as_json(figures),
        "data": {kind: _data(kind, records) for kind in records[0]["data"]},
        "history_references": records[0].get("history_references", {}),
        "timings": {"total_s": sum(each.get("timings", {}).get("total_s", 0.0) for each in records)},
        "machines": sorted({str(each.get("machine", {}).get("host")) for each in records}),
    }


def _data(kind: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    described = [record["data"][kind] for record in records]
    # Every jet is used by all folds but its own.
    jets = round(sum(each["jets_used"] for each in described) / (len(records) - 1))
    return {**described[0], "jets_used": jets, "notes": []}


def _refuse_different_files(fold_set: FoldSet) -> None:
    for kind in ("main", "control"):
        sums = [run.read_record().get("data", {}).get(kind, {}).get("sha256") for run in fold_set.folds]
        if len(set(sums)) > 1:
            by_fold = json.dumps(
                {run.path.name: str(each)[:10] for run, each in zip(fold_set.folds, sums, strict=True)}
            )
            raise RunError(
                f"the folds of {fold_set.run.name} were trained on different {kind} files (checksums {by_fold}): an "
                "event of one may be in another, so they make no set"
            )
