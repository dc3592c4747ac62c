"""What is known of a run whose folder may be in any state, for tables of runs and pages."""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self, TypeVar

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.learning import ADVERSARY
from cal_ratio_trainer.datasets.splits import SetRule
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.store import read_scalars
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, BestEpoch, BestEpochs, mean_history
from cal_ratio_trainer.runs.stored import (
    DIVERGED,
    FINISHED,
    INCOMPLETE,
    KILLED,
    RUNNING,
    UNKNOWN,
    HistoryRow,
    file_name,
    time_of,
)

_STATES = (RUNNING, DIVERGED, "failed", KILLED, "interrupted")
"""The state of a set of networks is the first of these that one of its networks has."""

Content = TypeVar("Content")


@dataclass(frozen=True, repr=False)
class RunState(RunFolder):
    """State of a run as far as its files can be read; `runs.run.Run` is made of it.

    The content of a file that cannot be read is empty, and `trouble` has the reason. What was read stays as it was.
    """

    @cached_property
    def _known(self) -> tuple[Mapping[str, Any], Mapping[str, Any], Sequence[Mapping[str, float]], tuple[str, ...]]:
        """Record, settings and history as far as they can be read, and why not."""
        troubles: list[str] = []

        def read(what: Callable[[], Content], instead: Content) -> Content:
            try:
                return what()
            except UserError as error:
                troubles.append(str(error))
                return instead

        nothing: dict[str, Any] = {}
        record = read(self.read_record, nothing)
        settings = read(self.read_settings, nothing) if record and os.path.lexists(self.settings_file) else nothing
        no_rows: list[HistoryRow] = []
        history = read(self.read_history, no_rows) if os.path.lexists(self.history_file) else no_rows
        if rule := self.known_rule:
            networks = self.begun_networks
            history = mean_history([each.known_history for each in networks]) if len(networks) == rule.count else []
            troubles += [each.trouble for each in networks if each.trouble]
            if networks:
                # A set that is not complete yet does not say what it is trained on.
                record = {"data": networks[0].known_record.get("data", {}), **record}
        return record, settings, history, tuple(troubles)

    @property
    def known_record(self) -> Mapping[str, Any]:
        """The content of run.json."""
        return self._known[0]

    @property
    def known_settings(self) -> Mapping[str, Any]:
        """The content of training_params.yaml under today's names."""
        return self._known[1]

    @property
    def known_history(self) -> Sequence[Mapping[str, float]]:
        """One row per epoch; of a set the mean over its networks, once all are begun."""
        return self._known[2]

    @property
    def trouble(self) -> str:
        """The files that cannot be read, with the reasons; empty if all can."""
        return "; ".join(self._known[3])

    @cached_property
    def known_rule(self) -> SetRule | None:
        """Rule of a set of networks; None for a run with one network."""
        try:
            return self.set_rule
        except UserError:
            return None

    @cached_property
    def begun_networks(self) -> tuple[Self, ...]:
        """The networks of a set whose folders are there, in order; none of a run with one network."""
        rule = self.known_rule
        return () if rule is None else tuple(each for each in self.networks_by(rule) if each.path.is_dir())

    @cached_property
    def status(self) -> str:
        """finished, running, interrupted, failed, diverged, imported, killed, unknown, or of a set incomplete.

        That is a set with networks that are not begun, or wait for a process to go on.
        """
        status = self.recorded_text("status") or UNKNOWN
        if self.known_rule is not None and status != FINISHED:
            states = {each.status for each in self.begun_networks}
            return next((state for state in _STATES if state in states), INCOMPLETE)
        # Only the lease of a run that says it is running is looked at.
        return KILLED if status == RUNNING and not self.is_in_use else status

    @property
    def epochs(self) -> int:
        """Number of epochs that are done."""
        return len(self.known_history) or self.recorded_integer("finished_epochs") or 0

    @property
    def planned_epochs(self) -> int | None:
        """Number of epochs at the end."""
        return self.recorded_integer("planned_epochs")

    @property
    def has_adversary(self) -> bool:
        """True where the adversary was trained, as in runs of earlier versions without the setting."""
        return (self.setting("agreement") or ADVERSARY) == ADVERSARY

    @property
    def simulation(self) -> str | None:
        """Program that simulated the jets where it was not the experiment's own simulation, e.g. 'demo'."""
        return self.recorded_text("data", "main", "simulation") or self.recorded_text("data", "control", "simulation")

    @property
    def kinds_of_jets(self) -> tuple[str, ...]:
        """'main' and, for a training with control region, 'control'; both where the record does not say."""
        known = self.known_record.get("data") or ("main", "control")
        return tuple(kind for kind in known if kind != "judged")

    @property
    def data(self) -> str:
        """Names of the training files without their folders; 'demo' for the built-in ones."""
        names = [self.recorded_text("data", kind, "file") for kind in ("main", "control")]
        short = [file_name(name) for name in names if name]
        return " + ".join(dict.fromkeys(short))

    @property
    def commit(self) -> str:
        """The program's commit, ten digits, with '-dirty' where files differed; empty where not known."""
        commit, _, dirty = (self.recorded_text("versions", "commit") or "").partition("-")
        return commit[:10] + (f"-{dirty}" if dirty else "")

    @property
    def seconds(self) -> float | None:
        """Seconds from the start to the end, to now for a run in progress, to the last epoch for a killed one.

        Of a set the times of all networks together; they may be trained at once.
        """
        if self.known_rule is not None:
            known = [each.seconds for each in self.begun_networks if each.seconds is not None]
            return sum(known) if any(known) else None
        started = time_of(self.recorded_text("started"))
        if started is None:
            return None
        ended = time_of(self.recorded_text("ended"))
        if self.status == RUNNING:
            ended = datetime.now(UTC)
        elif self.status == KILLED and self.history_file.is_file():
            ended = datetime.fromtimestamp(self.history_file.stat().st_mtime, UTC)
        return None if ended is None else max(0.0, (ended - started).total_seconds())

    @cached_property
    def test_jets(self) -> Mapping[Label, int] | None:
        """Numbers of signal, QCD and BIB jets in the test part; the compound AUC depends on it. None if not known."""
        try:
            labels = read_scalars(self.path / "test_sample.parquet", ["label"]).column("label").to_numpy()
        except (UserError, OSError):
            return None
        counts = Counter(labels.tolist())
        return {label: counts[int(label)] for label in Label}

    def best(self, rule: Rule = DEFAULT_RULE) -> BestEpoch | None:
        """The recommended epoch; None where there is none.

        Of a set the mean over the recommended epochs of its networks, under the number of the last of these.
        """
        best = self.best_epochs(rule)
        return None if best is None else BestEpoch.of(max(best.epochs), best.row)

    def best_epochs(self, rule: Rule = DEFAULT_RULE) -> BestEpochs | None:
        """The recommended epoch of each network; None where one of them has none."""
        if self.known_rule is not None and len(self.begun_networks) < self.known_rule.count:
            return None
        return BestEpochs.of([network.known_history for network in self.begun_networks or (self,)], rule)

    @property
    def recommended_epoch(self) -> int | None:
        """The epoch that the default rule recommends; None without one and for a set, whose networks differ."""
        best = self.best_epochs()
        return None if best is None or len(best.epochs) > 1 else best.epochs[0]

    def setting(self, name: str) -> str:
        """A setting as text; empty where it is not there or null."""
        value = self.known_settings.get(name)
        return "" if value is None else str(value)

    def recorded_text(self, *names: str) -> str | None:
        """A text of the record, by the names that lead to it; None where it is not there."""
        value = self._entry(names)
        return value if isinstance(value, str) else None

    def recorded_number(self, *names: str) -> float | None:
        """A finite number of the record likewise."""
        value = self._entry(names)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if is_number else None

    def recorded_integer(self, *names: str) -> int | None:
        """A whole number of the record likewise."""
        value = self.recorded_number(*names)
        return None if value is None else int(value)

    def _entry(self, names: tuple[str, ...]) -> Any:
        value: Any = self.known_record
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value
