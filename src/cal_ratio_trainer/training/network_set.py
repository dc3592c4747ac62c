"""A set of networks (folds, or an ensemble) while it is trained: its state, and its sharing between processes.

A network belongs to the process that made its folder and holds its lease.
"""

import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import SetRule, set_rule_of
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.runs.finding import runs_of
from cal_ratio_trainer.runs.record import machine, now, versions
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import DIVERGED, FINISHED, RUNNING, RunError

_MAY_DIFFER = {
    *("fold", "member", "cache_path", "threads", "device", "plot_processes", "epoch_plots", "epoch_plots_of"),
    *("tensorboard", "mlflow"),
    *FigureSettings.model_fields,
}
"""Settings in which the jobs that train one set may differ."""


@dataclass(frozen=True)
class NetworkSet:
    """A set of networks on disk.

    Attributes:
        run: its folder, which counts as one run.
        rule: how they are used as one.
    """

    run: Run
    rule: SetRule

    @classmethod
    def of(cls, run: Run) -> "NetworkSet | None":
        """The set that a run is; None for a run with one network."""
        rule = run.set_rule
        return None if rule is None else cls(run, rule)

    @property
    def networks(self) -> list[Run]:
        """The folders of all its networks, which need not exist yet."""
        return self.run.networks_by(self.rule)

    @property
    def is_complete(self) -> bool:
        """True where all networks are trained and the figures of the set are written."""
        return self.run.read_record().get("status") == FINISHED

    @property
    def planned_epochs(self) -> int:
        """Number of epochs that each network is to have."""
        return int(self.run.read_record().get("planned_epochs") or 0)

    @property
    def settings(self) -> TrainSettings:
        """The settings of the set.

        Raises:
            UserError: they cannot be read.
        """
        return TrainSettings.make(**self.run.read_settings())

    def is_trained(self, number: int) -> bool:
        """True where a network has finished, after all planned epochs or by early stopping."""
        record = self.networks[number].read_record()
        return record.get("status") == FINISHED and int(record.get("planned_epochs") or 0) >= self.planned_epochs

    def lacking(self) -> list[int]:
        """The networks that are not trained to their end."""
        return [number for number in range(self.rule.count) if not self.is_trained(number)]

    def can_go_on(self) -> bool:
        """True if a network needs a process to train it, and none has diverged."""
        if self.is_complete or any(run.read_record().get("status") == DIVERGED for run in self.networks):
            return False
        lacking = [self.networks[number] for number in self.lacking()]
        if not lacking or any(not run.path.is_dir() or not run.is_in_use for run in lacking):
            return True
        return any(run.is_free() for run in lacking)

    def claimed(self, number: int) -> Run:
        """Makes the folder of a network for this process; one that a killed process left empty is taken over.

        Raises:
            RunError: another process has the network.
        """
        run = self.networks[number]
        try:
            run.path.mkdir()
        except FileExistsError:
            if run.record_file.exists() or run.is_in_use:
                raise RunError(f"{run.name} is there already, or being trained by another process") from None
        return run


def new_set(settings: TrainSettings) -> NetworkSet:
    """Makes the folder of a set with the next free number."""
    rule = set_rule_of(settings)
    if rule is None:
        raise ValueError("these settings have neither folds nor seeds")
    run = Run.make(settings.output_path, settings.model_name)
    digests = run.write_settings(settings.model_copy(update={rule.word: None}))
    run.write_record(
        {
            "id": secrets.token_hex(16),
            "settings_sha256": digests,
            "status": RUNNING,
            rule.count_setting: {"count": rule.count, "rule": rule.sentence},
            "started": now(),
            "tag": settings.tag,
            "note": settings.note,
            "command": " ".join(sys.argv),
            "seed": settings.seed,
            "planned_epochs": settings.epochs,
            "finished_epochs": 0,
            "versions": versions(),
            "machine": machine(),
        }
    )
    return NetworkSet(run, rule)


def joined_set(settings: TrainSettings, number: int) -> NetworkSet:
    """The newest set of the same training in which a network is not begun, else a new one; it is claimed there.

    So jobs of a batch system with one network each share one set.
    """
    with held_in_turn(_turn(settings.output_path / settings.model_name)):
        lacking = (found for found in _sets_of(settings) if not found.networks[number].path.exists())
        network_set = next(lacking, None) or new_set(settings)
        network_set.claimed(number)
    return network_set


def begun_set(settings: TrainSettings) -> NetworkSet | None:
    """The newest set of the same training that is not complete; None where there is none."""
    return next(iter(_sets_of(settings)), None)


def release(network_set: NetworkSet, number: int) -> None:
    """Removes the folder of a network that came to nothing, and with the last one that of the set."""
    run = network_set.networks[number]
    if run.record_file.exists() or (run.path.is_dir() and run.is_in_use):
        return
    model = network_set.run.path.parent
    with held_in_turn(_turn(model)):
        shutil.rmtree(run.path, ignore_errors=True)
        if not any(each.path.exists() for each in network_set.networks):
            shutil.rmtree(network_set.run.path, ignore_errors=True)
    with suppress(OSError):
        model.rmdir()


def _turn(model: Path) -> Path:
    """Name for the lease of the processes that look for a set of a model, or make or remove one, in turn."""
    return model / "folds"


def _sets_of(settings: TrainSettings) -> Sequence[NetworkSet]:
    """Sets of the same training that are not complete and have not diverged, the newest first."""
    found = [NetworkSet.of(run) for run in reversed(runs_of(settings.output_path, settings.model_name))]
    return [
        each
        for each in found
        if each is not None
        and not each.is_complete
        and not any(run.read_record().get("status") == DIVERGED for run in each.networks)
        and _is_same_training(each, settings)
    ]


def _is_same_training(found: NetworkSet, settings: TrainSettings) -> bool:
    try:
        stored = found.settings
    except ValueError:
        # Settings of another version of this program.
        return False
    return _compared(stored) == _compared(settings)


def _compared(settings: TrainSettings) -> Mapping[str, Any]:
    # Folders may be given in several ways, and the set was found in this one.
    compared = settings.model_dump(mode="json", exclude={*_MAY_DIFFER, "output_path"})
    for name in ("main_training_file", "cr_training_file", "cr_judge_file"):
        if isinstance(compared[name], dict):
            compared[name] = {region: _absolute(file) for region, file in compared[name].items()}
        elif compared[name] is not None:
            compared[name] = _absolute(compared[name])
    return compared


def _absolute(file: str) -> str:
    return str(Path(file).absolute()) if "://" not in file and Path(file).exists() else file
