"""The folder of a run: its name, its files, its networks, and the process that may write there."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, SetRule
from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.files.atomic import refuse_unusable_folder, write_text
from cal_ratio_trainer.files.leases import DEFAULT_TIMEOUT_S, Lease, is_leased, leased
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, RULES, recommended_epoch
from cal_ratio_trainer.runs.stored import IMPORTED, HistoryRow, RunError, read_history, read_record, read_settings

if TYPE_CHECKING:
    from cal_ratio_trainer.runs.networks import NamedNetworks, NetworkFile

NEWEST, BEST = "last", "best"
"""Words for the newest epoch of a run and for the one that a rule recommends, in place of its number."""

SET_RULES: tuple[type[SetRule], ...] = (FoldRule, EnsembleRule)
_OF_SET = re.compile(rf"({'|'.join(rule.word for rule in SET_RULES)})_(\d+)")
"""Name of the folder of one network of a set, with its number."""

_DIGITS = 5
"""Digits in the name of a run's folder."""

_held: dict[Path, Lease] = {}
"""Leases of the runs that this process trains, by folder."""


def numbered_folders(model: Path) -> list[Path]:
    """Folders of the runs of a model by rising number; none if there is no such model."""
    if not model.is_dir():
        return []
    folders = [path for path in model.iterdir() if path.is_dir() and path.name.isdecimal()]
    return sorted(folders, key=lambda path: int(path.name))


@dataclass(frozen=True, repr=False)
class RunFolder:
    """Names, paths, networks and lease of a run; `runs.run.Run` adds what the other files hold.

    Attributes:
        path: folder of the run: training_results/<model name>/<number>, or fold_<i> or member_<i> in that of a set.
    """

    path: Path

    @classmethod
    def make(cls, output_path: Path, model_name: str) -> Self:
        """Makes the folder of the next free number; two processes never get the same.

        Raises:
            UnusableOutput: a file or a link to nothing is in the place of the folder above.
        """
        model = output_path / model_name
        refuse_unusable_folder(model, "output_path")
        number = max((int(path.name) for path in numbered_folders(model)), default=-1) + 1
        while True:
            path = model / f"{number:0{_DIGITS}d}"
            try:
                # With the folders above: a run that failed may be removing them, with its own, at this moment.
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
                continue
            return cls(path)

    @property
    def network_number(self) -> int | None:
        """Its number within a set of networks; None for a run of its own."""
        found = _OF_SET.fullmatch(self.path.name)
        return int(found[2]) if found else None

    @property
    def numbered_folder(self) -> Path:
        """<model name>/<number>: its own folder, or that of the set that it belongs to."""
        return self.path if self.network_number is None else self.path.parent

    @property
    def number(self) -> int:
        """The run's number; for a network of a set that of the set."""
        return int(self.numbered_folder.name)

    @property
    def name(self) -> str:
        """'model/00003', or 'model/00003/fold_1' or 'model/00003/member_1' for a network of a set."""
        words = [self.numbered_folder.parent.name, self.numbered_folder.name]
        return "/".join(words if self.network_number is None else [*words, self.path.name])

    @property
    def settings_file(self) -> Path:
        """Every option as it was used."""
        return self.path / "training_params.yaml"

    @property
    def record_file(self) -> Path:
        """Versions, hardware, data, timings, status."""
        return self.path / "run.json"

    @property
    def checkpoint_file(self) -> Path:
        """State that a continuation starts from."""
        return self.path / "keras" / "checkpoint.safetensors"

    @property
    def history_file(self) -> Path:
        """One row per epoch."""
        return self.path / "history.json"

    @property
    def evaluation_file(self) -> Path:
        """Metrics of the newest evaluation."""
        return self.path / "evaluation.json"

    @property
    def importance_file(self) -> Path:
        """Permutation importance of the inputs of one of its networks."""
        return self.path / "importance.json"

    @property
    def page_file(self) -> Path:
        """The run's page, renewed while it trains."""
        return self.path / "index.html"

    def histograms_file(self, epoch: int) -> Path:
        """The score histograms of an epoch."""
        return self.path / "histograms" / f"{epoch:03d}.json"

    def weights_file(self, epoch: int) -> Path:
        """The whole network after an epoch."""
        return self.path / "keras" / f"final_model_weights_{epoch}.keras"

    @property
    def set_rule(self) -> SetRule | None:
        """Rule by which the networks of a set are used as one; None for a run with one network."""
        if self.network_number is not None:
            return None
        record = self.read_record()
        described = ((rule, record.get(rule.count_setting)) for rule in SET_RULES)
        return next((rule(known["count"]) for rule, known in described if known), None)

    @property
    def networks(self) -> list[Self]:
        """Networks 0 ... K-1 as runs, whether they are begun or not; a run with one network is its own."""
        rule = self.set_rule
        return [self] if rule is None else self.networks_by(rule)

    def networks_by(self, rule: SetRule) -> list[Self]:
        """The networks of a set with a rule, in its folder; they need not exist yet."""
        return [type(self)(self.path / f"{rule.word}_{number}") for number in range(rule.count)]

    def read_record(self) -> dict[str, Any]:
        """The content of run.json; empty if there is no such file. Raises InputFileError if it is damaged."""
        try:
            return read_record(self.record_file)
        except FileNotFoundError:
            return {}

    def read_history(self) -> list[HistoryRow]:
        """See `stored.read_history`."""
        return read_history(self.history_file, self.name)

    def read_settings(self) -> dict[str, Any]:
        """All settings of the run under today's names, values not checked; see `stored.read_settings`."""
        return read_settings(self.settings_file, self.name, self.read_record().get("settings_sha256"))

    def kept_epochs(self) -> list[int]:
        """The epochs whose weights are on disk, rising."""
        stem = self.weights_file(0).stem.removesuffix("0")
        numbers = [path.stem.removeprefix(stem) for path in (self.path / "keras").glob(f"{stem}*")]
        return sorted({int(number) for number in numbers if number.isdecimal()})

    def network_at(self, word: str, rule: Rule = DEFAULT_RULE) -> "NetworkFile":
        """The network after an epoch, of a run with one network.

        Args:
            word: number of the epoch, 'last', or 'best' for the one that `rule` recommends.
            rule: the rule.

        Raises:
            RunError: its weights are not there.
            InputFileError: they were changed since the run wrote them, or belong to another run or epoch.
        """
        from cal_ratio_trainer.runs.networks import NetworkFile, as_stored, holds_epoch

        newest = len(self.read_history()) - 1 if self.history_file.exists() else None
        epoch = newest if word == NEWEST else self._best_epoch(rule) if word == BEST else None
        if word not in (NEWEST, BEST):
            if not word.isdecimal():
                raise RunError(f"{word} is no epoch; give a number, {BEST} or {NEWEST}")
            epoch = int(word)
        run_id = self.read_record().get("id")
        name = self.name if epoch is None else f"{self.name}/{epoch}"
        # A process that was killed while it wrote an epoch leaves a final_model.keras of an epoch the history lacks.
        final = as_stored(self.path / "keras" / "final_model.keras")
        if epoch == newest and final.is_file() and holds_epoch(final, epoch, self.name, run_id):
            return NetworkFile(final, name, self.path, epoch)
        file = None if epoch is None else as_stored(self.weights_file(epoch))
        if file is None or not file.is_file():
            wanted = "any epoch" if epoch is None else f"epoch {epoch}"
            there = ", ".join(map(str, self.kept_epochs())) or "none yet"
            raise RunError(f"run {self.name} has no weights of {wanted}; kept are {there}")
        if not holds_epoch(file, epoch, self.name, run_id):
            raise InputFileError(file, f"is the network of another epoch of run {self.name}")
        return NetworkFile(file, name, self.path, epoch)

    def networks_at(self, word: str = NEWEST, rule: Rule = DEFAULT_RULE) -> "NamedNetworks":
        """All networks after an epoch, at the 'best' of each, or 'last'; arguments and errors as `network_at`."""
        from cal_ratio_trainer.runs.networks import NamedNetworks

        rule_of_set = self.set_rule
        if rule_of_set is None:
            return NamedNetworks.alone(self.network_at(word, rule))
        files = []
        for each in self.networks:
            if not each.path.is_dir():
                raise RunError(
                    f"{each.name} is not trained yet, so the set cannot be used; 'cr_trainer train --continue' goes on"
                )
            try:
                files.append(each.network_at(word, rule))
            except UserError as error:
                remedy = f"; 'best' takes the best epoch of each {rule_of_set.word}" if word.isdecimal() else ""
                raise RunError(f"{error}{remedy}") from error
        return NamedNetworks(f"{self.name}/{word}", tuple(files), self.path, rule_of_set)

    def _best_epoch(self, rule: Rule) -> int:
        if not self.history_file.is_file():
            is_imported = self.read_record().get("status") == IMPORTED
            why = "it was imported without a history" if is_imported else "none is finished"
            raise RunError(f"run {self.name} has no best epoch: {why}; {self.name} alone is its newest network")
        history = self.read_history()
        best = recommended_epoch(history, rule)
        if best is None:
            others = [other for other in RULES if recommended_epoch(history, other) is not None]
            remedy = f"; --rule {' or '.join(others)} finds one" if others else ""
            raise RunError(f"run {self.name} has no best epoch: none has a finite value for the rule {rule}{remedy}")
        return best

    def write_settings(self, settings: TrainSettings, before: Mapping[str, Any] | None = None) -> list[str]:
        """Writes training_params.yaml.

        Args:
            settings: of the run.
            before: the record of a run that goes on. It is first written with the digests of the old and the new
                settings, so that a kill between the two files leaves settings that can be read.

        Returns:
            `settings_sha256` for the record: the digests of settings that are accepted.
        """
        text = settings.as_yaml()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if before and digest not in before.get("settings_sha256", [digest]):
            self.write_record({**before, "settings_sha256": [*before["settings_sha256"], digest]})
        write_text(self.settings_file, text)
        return [digest]

    def write_record(self, record: dict[str, Any]) -> None:
        """Replaces run.json."""
        write_text(self.record_file, json.dumps(record, indent=2, default=str) + "\n")

    def refuse_removed(self, run_id: str | None) -> None:
        """Checks that the folder is still that of the run, before a write that would create it again.

        Args:
            run_id: `id` of run.json when the training began.

        Raises:
            RunError: the folder was removed, or holds another run; or another process has taken the run over.
        """
        record = self.read_record()
        if not record or record.get("id") != run_id:
            raise RunError(
                f"run {self.name}: its folder {self.path} was removed, moved or replaced while it was trained; nothing "
                "more is written there"
            )
        lease = _held.get(self.path)
        if lease is not None and lease.is_lost():
            raise RunError(
                f"run {self.name} was taken over by another process, because this one did not respond for "
                f"{DEFAULT_TIMEOUT_S:g} s (suspended?); nothing more is written there"
            )

    def remove_remains(self) -> None:
        """Removes unfinished files of a killed process; only for the holder of the lease."""
        for remains in self.path.rglob(".*.part*"):
            # Other processes may be looking at the lease at this moment.
            if remains.suffix != ".lease":
                remains.unlink(missing_ok=True)

    @property
    def is_in_use(self) -> bool:
        """True while a process trains it, as far as one look at its lease tells."""
        return is_leased(self.record_file)

    def is_free(self) -> bool:
        """True where no process trains it. A lease of another machine is watched until it is renewed, or stale."""
        if not self.is_in_use:
            return True
        try:
            with self.lock():
                return True
        except (RunError, OSError):
            # An OSError: it is another user's.
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the lease of the run during the block (`.run.json.lease`, see `files.leases`).

        That of a process that was killed is free at once on its own machine; elsewhere this waits until it is stale.

        Raises:
            RunError: another process is training the run.
        """
        with leased(self.record_file, watches=True) as lease:
            if lease is None:
                raise RunError(f"run {self.name} is being trained by another process")
            _held[self.path] = lease
            try:
                yield
            finally:
                del _held[self.path]
