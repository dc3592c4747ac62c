"""Summary of a run from its folder, whatever state that is in: for tables of runs.

A damaged file is no error here: its content counts as empty, and `RunOverview.trouble` has the reason.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.training import ADVERSARY
from cal_ratio_trainer.datasets.splits import SetRule
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.store import read_scalars
from cal_ratio_trainer.runs.directory import DIVERGED, FINISHED, INCOMPLETE, RUNNING, RunDirectory, RunError, runs_of
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, BestEpochs, ks_sums, mean_history
from cal_ratio_trainer.runs.record import file_name

Content = TypeVar("Content")

KILLED, UNKNOWN = "killed", "unknown"
"""Status of a run that says it is running but that no process holds, and of one without a record that can be read."""

_TELLING = (RUNNING, DIVERGED, "failed", KILLED, "interrupted")
"""The state of a set of networks is the first of these that one of its networks has."""


@dataclass(frozen=True)
class BestEpoch:
    """The epoch that a rule recommends, by the validation part: AUC, K-S sum, and what identical distributions give."""

    epoch: int
    auc: float
    ks_sum: float
    ks_expected: float
    ks_spread: float

    @classmethod
    def of(cls, epoch: int, row: Mapping[str, float]) -> "BestEpoch":
        """Builds it from the epoch's row of the history."""
        expected, spread = (
            sum(row.get(f"ks_{output}_{figure}", math.nan) for output in ("qcd", "sig", "bib"))
            for figure in ("expected", "spread")
        )
        return cls(epoch, row.get("val_auc", math.nan), ks_sums([row])[0], expected, spread)

    @property
    def ks_excess(self) -> float:
        """Distance of the sum above the expected one, in units of its spread; this grows with the sample."""
        return (self.ks_sum - self.ks_expected) / self.ks_spread if self.ks_spread else math.nan


@dataclass(frozen=True)
class RunOverview:
    """A run as its files describe it; the state of a set is that of its networks, its history their mean.

    Attributes:
        run: its folder.
        record: the content of run.json; empty where it cannot be read.
        settings: the content of training_params.yaml likewise.
        history: one row per epoch; empty where there is none that can be read, or not all networks are begun.
        trouble: the files that cannot be read, with the reasons; empty where all can.
        set_rule: of a fold set or ensemble; None for a run with one network.
        networks: the networks of a set as far as they are begun, in order.
    """

    run: RunDirectory
    record: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    trouble: str
    set_rule: SetRule | None = None
    networks: "tuple[RunOverview, ...]" = ()

    @classmethod
    def of(cls, run: RunDirectory) -> "RunOverview":
        """Reads the existing files of a run, or of a set and all its networks."""
        troubles: list[str] = []
        record = _known(run.read_record, troubles) or {}
        settings = _known(run.read_settings, troubles) if record and os.path.lexists(run.settings_file) else None
        history = _known(run.read_history, troubles) if os.path.lexists(run.history_file) else None
        rule = run.set_rule if record else None
        networks = () if rule is None else tuple(cls.of(each) for each in run.networks if each.path.is_dir())
        if rule is not None:
            history = mean_history([each.history for each in networks]) if len(networks) == rule.count else []
            troubles += [each.trouble for each in networks if each.trouble]
            if networks:
                # A set that is not complete yet does not say what it is trained on.
                record = {"data": networks[0].record.get("data", {}), **record}
        return cls(run, record, settings or {}, tuple(history or ()), "; ".join(troubles), rule, networks)

    @cached_property
    def status(self) -> str:
        """finished, running, interrupted, failed, diverged, imported, killed, unknown, or of a set incomplete.

        That is a set with networks that are not begun, or wait for a process to go on.
        """
        status = self.word("status") or UNKNOWN
        if self.set_rule is not None and status != FINISHED:
            states = {each.status for each in self.networks}
            return next((state for state in _TELLING if state in states), INCOMPLETE)
        # Only the lease of a run that says it is running is looked at.
        return KILLED if status == RUNNING and not self.run.is_in_use else status

    @property
    def epochs(self) -> int:
        """Number of epochs that are done."""
        return len(self.history) or self.integer("finished_epochs") or 0

    @property
    def planned_epochs(self) -> int | None:
        """Number of epochs at the end."""
        return self.integer("planned_epochs")

    @property
    def has_adversary(self) -> bool:
        """True where the adversary was trained, as in runs of earlier versions without the setting."""
        return (self.setting("agreement") or ADVERSARY) == ADVERSARY

    @property
    def simulation(self) -> str | None:
        """Program that simulated the jets where it was not the experiment's own simulation, e.g. 'demo'."""
        return self.word("data", "main", "simulation") or self.word("data", "control", "simulation")

    @property
    def kinds_of_jets(self) -> tuple[str, ...]:
        """'main' and, for a training with control region, 'control'; both where the record does not say."""
        known = self.record.get("data") or ("main", "control")
        return tuple(kind for kind in known if kind != "judged")

    @property
    def data(self) -> str:
        """Names of the training files without their folders; 'demo' for the built-in ones."""
        names = [self.word("data", kind, "file") for kind in ("main", "control")]
        short = [file_name(name) for name in names if name]
        return " + ".join(dict.fromkeys(short))

    @property
    def commit(self) -> str:
        """The program's commit, ten digits, with '-dirty' where files differed; empty where not known."""
        commit, _, dirty = (self.word("versions", "commit") or "").partition("-")
        return commit[:10] + (f"-{dirty}" if dirty else "")

    @property
    def seconds(self) -> float | None:
        """Seconds from the start to the end, to now for a run in progress, to the last epoch for a killed one.

        Of a set the times of all networks together; they may be trained at once.
        """
        if self.set_rule is not None:
            known = [each.seconds for each in self.networks if each.seconds is not None]
            return sum(known) if any(known) else None
        started = _time(self.word("started"))
        if started is None:
            return None
        ended = _time(self.word("ended"))
        if self.status == RUNNING:
            ended = datetime.now(UTC)
        elif self.status == KILLED and self.run.history_file.is_file():
            ended = datetime.fromtimestamp(self.run.history_file.stat().st_mtime, UTC)
        return None if ended is None else max(0.0, (ended - started).total_seconds())

    @cached_property
    def test_jets(self) -> Mapping[Label, int] | None:
        """Numbers of signal, QCD and BIB jets in the test part; the compound AUC depends on it. None if not known."""
        try:
            labels = read_scalars(self.run.path / "test_sample.parquet", ["label"]).column("label").to_numpy()
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
        if self.set_rule is not None and len(self.networks) < self.set_rule.count:
            return None
        return BestEpochs.of([network.history for network in self.networks or (self,)], rule)

    def setting(self, name: str) -> str:
        """A setting as text; empty where it is not there or null."""
        value = self.settings.get(name)
        return "" if value is None else str(value)

    def word(self, *names: str) -> str | None:
        """A text of the record, by the names that lead to it; None where it is not there."""
        value = self._found(names)
        return value if isinstance(value, str) else None

    def number(self, *names: str) -> float | None:
        """A number of the record likewise."""
        value = self._found(names)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if is_number else None

    def integer(self, *names: str) -> int | None:
        """A whole number of the record likewise."""
        value = self.number(*names)
        return None if value is None else int(value)

    def _found(self, names: tuple[str, ...]) -> Any:
        value: Any = self.record
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value


def all_runs(output_path: Path) -> list[RunDirectory]:
    """All runs of all models, by the time they started, the newest last; those without a known start come first.

    Raises:
        RunError: there is no such folder.
    """
    if not output_path.is_dir():
        raise RunError(f"there is no folder {output_path} with runs; --output_path names the folder")
    models = sorted(path.name for path in output_path.iterdir() if path.is_dir())
    runs = [run for model in models for run in runs_of(output_path, model)]
    return sorted(runs, key=_start_of)


def _known(read: Callable[[], Content], troubles: list[str]) -> Content | None:
    try:
        return read()
    except UserError as error:
        troubles.append(str(error))
        return None


def _start_of(run: RunDirectory) -> float:
    try:
        started = _time(run.read_record().get("started"))
    except UserError:
        return 0.0
    return started.timestamp() if started else 0.0


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
