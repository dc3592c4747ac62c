"""Mini-batches: the jets that each step of an epoch reads."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.training.step import StepJets

_STREAM = 3
_MIN_JETS_PER_BATCH = 2


@dataclass(frozen=True)
class Sampler:
    """Draws the mini-batches; an epoch's depend on nothing but the seed and its number.

    Attributes:
        main: positions of the main training jets.
        control: positions of the control-region training jets; empty without adversary.
        splits: mini-batches per epoch.
        seed: of the run.
        reshuffle: False draws the same mini-batches in every epoch.

    Raises:
        ConfigError: there are fewer jets than mini-batches need.
    """

    main: IndexArray
    control: IndexArray
    splits: int
    seed: int
    reshuffle: bool

    def __post_init__(self) -> None:
        for name, positions in (("main", self.main), ("control-region", self.control)):
            most = len(positions) // _MIN_JETS_PER_BATCH
            if (name == "main" or len(positions)) and self.splits > most:
                raise ConfigError(
                    [f"num_splits is {self.splits}, but {len(positions)} {name} training jets make {most} at most"]
                )

    def epoch(self, number: int) -> list[StepJets]:
        """The jets of every step of one epoch.

        Every main jet comes once, and every control jet once for the adversary. For the network's update the control
        jets are drawn as often as there are main jets: fresh permutations end to end.
        """
        rng = np.random.default_rng([self.seed, _STREAM, number if self.reshuffle else 0])
        main = np.array_split(rng.permutation(self.main), self.splits)
        adversary = np.array_split(rng.permutation(self.control), self.splits)
        control = np.array_split(self._control_for_network(rng), self.splits)
        return [StepJets(*positions) for positions in zip(main, control, adversary, strict=True)]

    def _control_for_network(self, rng: np.random.Generator) -> IndexArray:
        if len(self.control) == 0:
            return self.control
        rounds = -(-len(self.main) // len(self.control))
        return np.concatenate([rng.permutation(self.control) for _ in range(rounds)])[: len(self.main)]


def new_sampler(settings: TrainSettings, data: TrainingData) -> Sampler:
    """The sampler of a training. Raises ConfigError where there are fewer jets than mini-batches need."""
    main = data.main.positions(Part.TRAIN)
    control = data.control_positions(Part.TRAIN) if settings.has_agreement else data.control_positions(Part.UNUSED)
    try:
        return Sampler(main, control, mini_batches(settings, len(main)), settings.network_seed, settings.reshuffle)
    except ConfigError as error:
        if settings.batch_size is None:
            raise
        raise ConfigError([f"batch_size {settings.batch_size} cuts an epoch into too many pieces: {error}"]) from error


def mini_batches(settings: TrainSettings, main_jets: int) -> int:
    """Number of mini-batches in an epoch with `main_jets` main jets: num_splits, or by batch_size."""
    return settings.num_splits or max(1, round(main_jets / (settings.batch_size or 1)))
