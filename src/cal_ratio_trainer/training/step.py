"""One step of training: two updates of the adversary, then one of the network against it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.network.batch import on_device
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import (
    ADVERSARY_UPDATES,
    Adversary,
    correct_predictions,
    data_or_simulation_loss,
)
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.scoring import logits_of
from cal_ratio_trainer.network.shape import OUTPUTS
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.step_sums import Tally

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class LossSettings:
    """What enters the loss besides the data.

    Attributes:
        adversary_weight: the network's loss is main loss - this * adversary loss; 0 trains without an adversary.
        regularization: strength of both the L1 and the L2 penalty on the penalised kernels.
        dropout: rate of all dropout layers.
    """

    adversary_weight: float
    regularization: float
    dropout: float


@dataclass(frozen=True)
class StepJets:
    """Which jets one step reads: positions in the data set, all on the host.

    Attributes:
        main: [n] main jets.
        control: [m] control-region jets of the network's update.
        adversary: [k] control-region jets of the adversary's updates.
    """

    main: IndexArray
    control: IndexArray
    adversary: IndexArray

    @property
    def together(self) -> IndexArray:
        """All of them."""
        return np.concatenate([self.main, self.control, self.adversary])


@dataclass(frozen=True)
class Labels:
    """What the network's update compares with: targets and weights [jets], of which the first `main` are main jets."""

    target: Tensor
    weight: Tensor
    main: int


class AdversarialStep:
    """Networks, optimisers and what one step does with them.

    Args:
        classifier, adversary: the networks.
        learning_rate: of both.
        losses: what enters the loss besides the data.
        seed: of the dropout masks.
        pieces: in how many pieces a mini-batch goes through the classifier, gradients added up; the step is the same
            but for dropout masks and rounding.
        ranks: the processes that share a mini-batch; the step is the same but for rounding.
    """

    records_graphs = False
    """Whether steps are recorded as CUDA graphs and replayed."""

    def __init__(
        self,
        classifier: Classifier,
        adversary: Adversary,
        learning_rate: float,
        losses: LossSettings,
        seed: int,
        pieces: int = 1,
        ranks: Ranks = ALONE,
    ) -> None:
        self.classifier, self.adversary, self.losses, self.seed = classifier, adversary, losses, seed
        self.pieces, self.ranks = pieces, ranks
        self.classifier_optimizer = keras_nadam(classifier, learning_rate)
        self.adversary_optimizer = keras_nadam(adversary, learning_rate)
        self._penalised = list(classifier.penalised_kernels())

    def prepare(self, data: TrainingTensors, steps: Sequence[StepJets], epoch: int) -> None:
        """Told before an epoch which jets its steps will read; nothing to do here."""

    def logits(self, data: TrainingTensors, positions: IndexArray) -> Tensor:
        """Logits [jets, 3] without dropout of jets at positions [jets], on the device."""
        return logits_of(self.classifier, data.jets, positions)

    def read_jets(self, jets: StepJets) -> IndexArray:
        """Which jets this process reads in a step; some may come more than once."""
        if self.ranks.place.processes == 1:
            return jets.together
        cut = [np.array_split(positions, self.pieces) for positions in (jets.main, jets.control)]
        doubled = np.array_split(np.tile(jets.adversary, ADVERSARY_UPDATES), self.pieces)
        pieces = [*zip(*cut, strict=True), *((piece,) for piece in doubled)]
        return np.concatenate([np.concatenate(piece)[self.ranks.share(*map(len, piece))] for piece in pieces])

    def __call__(self, data: TrainingTensors, jets: StepJets, epoch: int, step: int, tally: Tally) -> None:
        """Do one step; nothing here waits for the device.

        Args:
            data: all jets.
            jets: those of this step.
            epoch: number of the epoch; with `step` and the seed it fixes all dropout masks.
            step: number of the step in the epoch.
            tally: takes up losses and accuracies.
        """
        if self.losses.adversary_weight:
            self._update_adversary(data, jets.adversary, self._dropout(data, epoch, step, stage=0), tally)
        self._update_classifier(data, jets, self._dropout(data, epoch, step, stage=1), tally)

    def _dropout(self, data: TrainingTensors, epoch: int, step: int, stage: int) -> list[DropoutSource]:
        """The masks of each piece."""
        words = (self.seed, epoch, step, stage)
        pieces = [(*words, piece) if piece else words for piece in range(self.pieces)]
        return [DropoutSource(self.losses.dropout, each, data.jets.device) for each in pieces]

    def _update_adversary(
        self, data: TrainingTensors, jets: IndexArray, dropout: list[DropoutSource], tally: Tally
    ) -> None:
        chosen = on_device(jets, data.jets.device)
        target, weight = data.target[chosen].float(), data.weight[chosen]
        # The network stands still meanwhile: one pass over the jets taken twice, with masks of their own, serves both
        # updates.
        pieces = np.array_split(np.tile(jets, ADVERSARY_UPDATES), len(dropout))
        with torch.no_grad():
            logits = [
                self._all_logits(data, piece, masks) for piece, masks in zip(pieces, dropout, strict=True) if len(piece)
            ]
            probabilities = torch.cat(logits).softmax(dim=1)
        if self.ranks.is_first:
            self._train_adversary(probabilities, target, weight, tally)
        self.ranks.broadcast_([*self.adversary.parameters(), *self.adversary.buffers()])

    def _all_logits(self, data: TrainingTensors, jets: IndexArray, masks: DropoutSource) -> Tensor:
        """Logits [jets, 3]; of several processes the first has them all, and the others none."""
        share = self.ranks.share(len(jets))
        if share is not None and len(share) == 0:
            return self.ranks.gather(data.jets.jet.new_zeros(0, OUTPUTS), len(jets))
        return self.ranks.gather(self.classifier(data.jets.batch(jets, share), masks), len(jets))

    def _train_adversary(self, probabilities: Tensor, target: Tensor, weight: Tensor, tally: Tally) -> None:
        # The adversary is small and normalises by the batch: it takes all jets at once.
        self.adversary.train()
        for update in torch.split(probabilities, len(target)):
            logits = self.adversary(update)
            losses = weight * data_or_simulation_loss(logits, target)
            self.adversary_optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            self.adversary_optimizer.step()
            tally.add("adversary", losses, correct_predictions(logits, target))

    def _update_classifier(
        self, data: TrainingTensors, jets: StepJets, dropout: list[DropoutSource], tally: Tally
    ) -> None:
        control = jets.control if self.losses.adversary_weight else jets.control[:0]
        parts = (np.array_split(positions, len(dropout)) for positions in (jets.main, control))
        self.classifier_optimizer.zero_grad()
        for main_jets, control_jets, masks in zip(*parts, dropout, strict=True):
            if len(main_jets) + len(control_jets):
                self._add_gradient(data, jets, (main_jets, control_jets), masks, tally)
        self._add_up_gradients()
        self._add_penalty()
        self.classifier_optimizer.step()

    def _add_gradient(
        self,
        data: TrainingTensors,
        jets: StepJets,
        piece: tuple[IndexArray, IndexArray],
        dropout: DropoutSource,
        tally: Tally,
    ) -> None:
        """Add what some main and control jets give to the gradient of the means over all jets of the step."""
        positions, share = np.concatenate(piece), self.ranks.share(*map(len, piece))
        own, main = positions, len(piece[0])
        if share is not None:
            own, main = positions[share], int((share < main).sum())
        if len(own) == 0:
            return
        chosen = on_device(own, data.jets.device)
        logits = self.classifier(data.jets.batch(positions, share), dropout)
        labels = Labels(data.target[chosen], data.weight[chosen], main)
        self._backward(logits, labels, (len(jets.main), len(jets.control)), tally)

    def _backward(self, logits: Tensor, labels: "Labels", jets: tuple[int, int], tally: Tally) -> None:
        """Add to the gradient of the means over as many main and control jets as are given."""
        main, control = slice(0, labels.main), slice(labels.main, None)
        target, weight = labels.target, labels.weight
        losses = weight[main] * functional.cross_entropy(logits[main], target[main], reduction="none")
        total = losses.sum() / jets[0]
        tally.add("main", losses, logits[main].argmax(dim=1) == target[main])
        if len(target) > labels.main:
            losses = self._adversary_losses(logits[control], target[control], weight[control], tally)
            total = total - self.losses.adversary_weight * (losses.sum() / jets[1])
        total.backward()  # type: ignore[no-untyped-call]

    def _adversary_losses(self, logits: Tensor, target: Tensor, weight: Tensor, tally: Tally) -> Tensor:
        # The adversary is frozen here: its weights stay, and its normalisation uses the running values.
        self.adversary.eval().requires_grad_(False)
        try:
            guesses = self.adversary(logits.softmax(dim=1))
        finally:
            self.adversary.requires_grad_(True)
        losses = weight * data_or_simulation_loss(guesses, target.float())
        tally.add("control", losses, correct_predictions(guesses, target))
        return losses

    def _add_up_gradients(self) -> None:
        if self.ranks.place.processes == 1:
            return
        weights = list(self.classifier.parameters())
        for weight in weights:
            if weight.grad is None:  # this process had no jets
                weight.grad = torch.zeros_like(weight)
        self.ranks.all_reduce_sum_([weight.grad for weight in weights if weight.grad is not None])

    def _add_penalty(self) -> None:
        # d/dw of strength * (|w| + w^2), added by hand: cheaper than carrying it through the graph.
        strength = self.losses.regularization
        if strength == 0:
            return
        kernels = [kernel.detach() for kernel in self._penalised]
        gradients = [kernel.grad for kernel in self._penalised if kernel.grad is not None]
        # All kernels at once: on a GPU each operation of its own takes as long as this one.
        torch._foreach_add_(gradients, torch._foreach_sign(kernels), alpha=strength)
        torch._foreach_add_(gradients, kernels, alpha=2 * strength)


def keras_nadam(module: torch.nn.Module, learning_rate: float, *, capturable: bool = False) -> torch.optim.NAdam:
    """Nadam with Keras' momentum schedule, beta1 (1 - 0.5 * 0.96^t), and its epsilon.

    Args:
        module: whose weights it updates.
        learning_rate: before the schedule.
        capturable: keep the number of steps on the GPU too, so that a CUDA graph can hold the update.
    """
    return torch.optim.NAdam(
        module.parameters(), lr=learning_rate, eps=1e-7, momentum_decay=1.0, foreach=True, capturable=capturable
    )
