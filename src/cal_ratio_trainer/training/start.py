"""Start of a training: its settings, and the run that it goes on with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.runs.folder import RunFolder

if TYPE_CHECKING:
    from cal_ratio_trainer.runs.initial_weights import InitialWeights
    from cal_ratio_trainer.training.network_set import NetworkSet


@dataclass(frozen=True)
class Start:
    """Settings of a training, and the run that it goes on with.

    Attributes:
        settings: of the run.
        run: the run to go on with; None for a new one.
        more_epochs: epochs to add to a finished run; None adds as many as the run's settings say.
        planned: planned number of epochs of the run.
        is_finished: the run has all its epochs; an unfinished one gets its planned epochs, and no more.
        threads: CPU threads of the checkpoint, so that rounding stays the same; None takes those of the settings.
        initial: weights to start from; None draws them.
        network_set: the set that the run belongs to; None for a run by itself.
    """

    settings: TrainSettings
    run: RunFolder | None = None
    more_epochs: int | None = None
    planned: int | None = None
    is_finished: bool = False
    threads: int | None = None
    initial: "InitialWeights | None" = None
    network_set: "NetworkSet | None" = None

    def new_run(self) -> RunFolder:
        """Makes the folder of a new run: the next number, or its place in its set.

        Raises:
            RunError: another process has that network of the set.
        """
        settings = self.settings
        if self.network_set is not None:
            return self.network_set.claimed(getattr(settings, self.network_set.rule.word))
        return RunFolder.make(settings.output_path, settings.model_name)

    def as_broadcast(self) -> dict[str, Any]:
        """Content, in plain types, that the first of several processes broadcasts to the others."""
        return {"settings": self.settings.model_dump(mode="json"), "threads": self.threads}

    @classmethod
    def from_broadcast(cls, content: dict[str, Any]) -> "Start":
        """The start in the other processes, which do not open the run."""
        return cls(TrainSettings.make(**content["settings"]), threads=content["threads"])

    def epochs_in_all(self, done: int) -> int:
        """Number of epochs that the run will have, `done` of them finished."""
        if not self.is_finished:
            return max(self.planned or self.settings.epochs, done)
        return done + (self.more_epochs or self.settings.epochs)
