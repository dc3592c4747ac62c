"""Networks of a set, trained one after the other or one by this process; and the set completed at the end."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, SetRule, set_rule_of
from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample, member_figures
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.plotting.pool import DrawingFailed
from cal_ratio_trainer.runs.figure_data import read_evaluation, write_evaluation
from cal_ratio_trainer.runs.initial_weights import InitialWeights
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, BestEpochs, mean_history
from cal_ratio_trainer.runs.record import now, record_text
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import FINISHED, IMPORTED, RUNNING, RunError, history_text
from cal_ratio_trainer.runs.test_sample import sample_of_set, write_sample_of_set
from cal_ratio_trainer.training.checkpoint import checkpoint_progress
from cal_ratio_trainer.training.continuation import AUTO, changed_settings, continued_start, run_to_continue
from cal_ratio_trainer.training.finish import TrainSummary, figures_as_json
from cal_ratio_trainer.training.loop import NO_OBSERVER, Observer, command_to_go_on
from cal_ratio_trainer.training.network_set import NetworkSet, begun_set, joined_set, new_set, release
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.setup import LoadFiles
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from cal_ratio_trainer.workers.child import ChildDied

_OF_THE_SET = ("fold", "member", "epochs")
"""Settings that are a matter of the whole set when it goes on."""


@dataclass(frozen=True)
class SetWork:
    """Task of a call of `cr_trainer train` for a set of networks.

    Attributes:
        settings: of the set; with `fold` or `member` only that network is trained.
        rule: of the set.
        layers: sources of the settings; the last is the command line.
        network_set: the set to go on with; None begins one, or for one network joins one that lacks it.
    """

    settings: TrainSettings
    rule: SetRule
    layers: Layers = field(default_factory=list)
    network_set: NetworkSet | None = None

    @property
    def only(self) -> int | None:
        """The one network that is to be trained; None for all of the set."""
        number: int | None = getattr(self.settings, self.rule.word)
        return number

    @property
    def wanted(self) -> list[int]:
        """The networks that this call is about."""
        return list(range(self.rule.count)) if self.only is None else [self.only]


@dataclass(frozen=True)
class NetworkSetSummary:
    """Result for a set of networks.

    Attributes:
        run: its folder.
        trained: the networks that this process trained.
        rule: how the networks are used as one.
        figures: of merit of the whole set, each test jet scored by the networks that read it; None where some lack.
        lacking: the networks that are not trained to their end.
        undrawn: names of plots that could not be drawn, each with the reason.
    """

    run: Run
    trained: tuple[TrainSummary, ...]
    rule: SetRule
    figures: TestFigures | None
    lacking: tuple[int, ...]
    undrawn: dict[str, str]


def set_work(layers: Layers, settings: TrainSettings, continue_from: str | None) -> SetWork | None:
    """Task for a set of networks; None where a single network is meant.

    Args:
        layers: sources of the settings; the last is the command line.
        settings: the settings they make.
        continue_from: as `find_start` takes it; 'auto' with `fold` or `member` goes on with that network of the newest
            set of this training that is not complete, or begins it there.

    Raises:
        RunError: there is no such run.
        ConfigError: a setting is given that would make it another training.
    """
    rule = set_rule_of(settings)
    is_single = rule is not None and getattr(settings, rule.word) is not None
    if continue_from is None or (continue_from == AUTO and is_single):
        if rule is None:
            return None
        return SetWork(settings, rule, layers, begun_set(settings) if continue_from == AUTO else None)
    run = run_to_continue(settings, continue_from)
    network_set = NetworkSet.of(run) if run is not None else None
    if network_set is not None:
        word = network_set.rule.word
        _, asked, _ = changed_settings(network_set.run, _for_network(layers))
        only = asked.model_copy(update={word: getattr(settings, word)})
        return SetWork(only, network_set.rule, layers, network_set)
    if rule is None:
        return None
    if run is not None and run.read_record().get("status") == IMPORTED:
        remedy = (
            "its weights may have seen any event, so no folds can start from them"
            if isinstance(rule, FoldRule)
            else f"--start_from {run.name} in place of --continue lets every member start from its weights"
        )
        raise ConfigError([f"{run.name} was imported: {remedy}"])
    return SetWork(settings, rule, layers) if run is None else None


def train_networks(
    work: SetWork,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    ranks: Ranks = ALONE,
    observer: Callable[[], Observer] = lambda: NO_OBSERVER,
    load: LoadFiles | None = None,
) -> NetworkSetSummary:
    """Trains the networks that are wanted, then completes the set if none is missing.

    A network that another process trains is passed over; the process that ends last completes the set. An interrupted
    set goes on with the network, and in it with the step, where it stopped.

    Args:
        work: work to do.
        say: receives messages for the user while it runs.
        details: figures of merit as text, for training_details.txt.
        ranks: the processes that share each training; this one is the first.
        observer: makes the observer of each training.
        load: reads the training files, see `set_up`.

    Raises:
        TrainingStopped: SIGTERM or ^C; the set can be continued.
        UserError: settings or files cannot be used.
    """
    if work.network_set is None:
        # Raises its errors before the set has a folder.
        InitialWeights.of_settings(work.settings)
    network_set = _place(work)
    trained = []
    for number in work.wanted:
        start = _start_of(number, network_set, work)
        if isinstance(start, str):
            say(start)
            continue
        say(_beginning(work.rule, number, start.settings))
        try:
            trained.append(train(start, say, details, ranks, observer(), load))
        finally:
            release(network_set, number)
        _refuse_to_go_on_after_signal(trained[-1], is_last=number == work.wanted[-1])
    lacking = tuple(network_set.lacking())
    undrawn = {f"{each.run.name}: {name}": why for each in trained for name, why in each.undrawn.items()}
    figures = None if lacking else _completed(network_set, say, details)
    if figures is not None:
        try:
            network_set.run.redraw()
        except (DrawingFailed, ChildDied, UserError, OSError) as error:
            undrawn[f"plots of {network_set.run.name}"] = str(error)
    return NetworkSetSummary(network_set.run, tuple(trained), work.rule, figures, lacking, undrawn)


def _beginning(rule: SetRule, number: int, settings: TrainSettings) -> str:
    of_all = f"{rule.word} {number} of {rule.count}"
    if isinstance(rule, FoldRule):
        return f"{of_all}: without the events with {rule.condition(number)}"
    return f"{of_all}: seed {settings.network_seed}"


def _refuse_to_go_on_after_signal(trained: TrainSummary, *, is_last: bool) -> None:
    """A signal that came too late to stop a network stops the set: the next network does not begin."""
    if trained.stop.signal_number and not is_last:
        raise TrainingStopped(
            f"stopped with {trained.run.name} finished; go on with '{command_to_go_on(trained.run)}'",
            trained.stop.exit_status,
        )


def _place(work: SetWork) -> NetworkSet:
    """The set that is trained; it is made, or joined, where it is not given."""
    if work.network_set is not None:
        _add_epochs(work.network_set, work)
        return work.network_set
    return new_set(work.settings) if work.only is None else joined_set(work.settings, work.only)


def _add_epochs(network_set: NetworkSet, work: SetWork) -> None:
    """A complete set gets more epochs; one that is not keeps its plan, whichever process asks."""
    given = {name: value for _, content in work.layers[1:] for name, value in content.items()}
    with network_set.run.lock():
        record = network_set.run.read_record()
        if not network_set.is_complete:
            return
        more = int(given.get("epochs") or network_set.settings.epochs)
        planned = network_set.planned_epochs + more
        network_set.run.write_record(record | {"status": RUNNING, "planned_epochs": planned})


def _start_of(number: int, network_set: NetworkSet, work: SetWork) -> Start | str:
    """Start of a network; or the reason why this process has nothing to do for it."""
    run, planned = network_set.networks[number], network_set.planned_epochs
    if network_set.is_trained(number):
        return f"{run.name} is trained"
    if work.only is None and run.path.is_dir() and not run.is_free():
        return f"{run.name} is being trained by another process"
    if not run.record_file.is_file():
        settings = work.settings.model_copy(update={work.rule.word: number})
        initial = InitialWeights.of_settings(settings)
        return Start(settings, planned=planned, initial=initial, network_set=network_set)
    start = continued_start(run, _for_network(work.layers, **{work.rule.word: number}))
    if start.is_finished:
        done = len(checkpoint_progress(run.checkpoint_file, run.read_record().get("id")).history)
        return replace(start, more_epochs=planned - done)
    return replace(start, planned=planned)


def _for_network(layers: Layers, **its: int) -> Layers:
    """The same layers without what is a matter of the set; the setting that names the network in its place."""
    rest = [
        (source, {name: value for name, value in content.items() if name not in _OF_THE_SET})
        for source, content in layers
    ]
    return [*rest[:-1], (rest[-1][0], rest[-1][1] | its)] if rest else rest


def _completed(
    network_set: NetworkSet, say: Callable[[str], None], details: Callable[[TestFigures], str]
) -> TestFigures | None:
    """Writes history, test jets, figures and record of a set whose networks are all trained.

    Args:
        network_set: the set.
        say: receives messages for the user.
        details: figures of merit as text, for training_details.txt.

    Returns:
        The figures of merit of the set; None where another process does or has just done the same.

    Raises:
        RunError: the networks were not trained on the same files.
        UserError: what a network left cannot be read.
    """
    was_complete = network_set.is_complete
    _refuse_different_files(network_set)
    with ExitStack() as held:
        try:
            held.enter_context(network_set.run.lock())
        except RunError:
            say(f"{network_set.run.name} is being completed by another process")
            return None
        if network_set.is_complete and not was_complete:
            say(f"{network_set.run.name} was completed by another process")
            return None
        say(f"all {network_set.rule.word}s are trained; {network_set.run.name} is put together")
        return _written(network_set, details)


def _written(network_set: NetworkSet, details: Callable[[TestFigures], str]) -> TestFigures:
    run, rule = network_set.run, network_set.rule
    members = [each.path for each in network_set.networks]
    sample = sample_of_set(run.path, members, rule, run.settings, torch.device("cpu"))
    networks = run.networks_at().load()
    main, control, judged = write_sample_of_set(sample, networks, run.path, run.name)
    seed = sample.settings.seed if sample.settings.c2st_every else None
    figures = evaluate_test_sample(main, control, pt_ranges=sample.pt_ranges, c2st_seed=seed, judged=judged)
    if isinstance(rule, EnsembleRule):
        evaluated = [read_evaluation(each.evaluation_file)[1] for each in network_set.networks]
        figures = replace(figures, members=member_figures([each.numbers() for each in evaluated]))
    histories = [each.read_history() for each in network_set.networks]
    history = mean_history(histories)
    write_text(run.history_file, history_text(history))
    write_evaluation(run.evaluation_file, len(history) - 1, figures)
    record = _record(network_set, histories, figures)
    text = "\n".join((record_text(record), network_set.settings.as_yaml(), details(figures)))
    write_text(run.path / "training_details.txt", text)
    run.write_record(record)
    return figures


def _record(
    network_set: NetworkSet, histories: Sequence[Sequence[Mapping[str, float]]], figures: TestFigures
) -> dict[str, Any]:
    records = [run.read_record() for run in network_set.networks]
    best = BestEpochs.of(histories, DEFAULT_RULE)
    return network_set.run.read_record() | {
        "status": FINISHED,
        "ended": now(),
        "finished_epochs": min(map(len, histories)),
        "best_epochs": {f"by {network_set.rule.word}": list(best.epochs)} if best is not None else {},
        "test": figures_as_json(figures),
        **({"members": _spreads(figures)} if figures.members else {}),
        "data": {kind: _data(kind, records, network_set.rule) for kind in records[0]["data"]},
        "history_references": records[0].get("history_references", {}),
        "timings": {"total_s": sum(each.get("timings", {}).get("total_s", 0.0) for each in records)},
        "machines": sorted({str(each.get("machine", {}).get("host")) for each in records}),
    }


def _spreads(figures: TestFigures) -> dict[str, dict[str, float | None]]:
    """Mean, standard deviation and error of the mean of each figure; JSON has no NaN."""
    return {
        each.name: {
            name: value if math.isfinite(value) else None
            for name, value in (("mean", each.mean), ("std", each.std), ("error", each.error))
        }
        for each in figures.members
    }


def _data(kind: str, records: Sequence[Mapping[str, Any]], rule: SetRule) -> dict[str, Any]:
    described = [record["data"][kind] for record in records]
    # Every jet is used by all folds but its own, and by all members.
    readers = len(records) - 1 if isinstance(rule, FoldRule) else len(records)
    jets = round(sum(each["jets_used"] for each in described) / readers)
    return {**described[0], "jets_used": jets, "notes": []}


def _refuse_different_files(network_set: NetworkSet) -> None:
    for kind in ("main", "control", "judged"):
        sums = [run.read_record().get("data", {}).get(kind, {}).get("sha256") for run in network_set.networks]
        if len(set(sums)) > 1:
            by_network = json.dumps(
                {run.path.name: str(each)[:10] for run, each in zip(network_set.networks, sums, strict=True)}
            )
            raise RunError(
                f"the {network_set.rule.word}s of {network_set.run.name} were trained on different {kind} files "
                f"(checksums {by_network}): an event of one may be in another, so they make no set"
            )
