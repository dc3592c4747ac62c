"""One step of training: the domain loss updates its state, then the classifier is updated."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.network.batch import Batch, JetTensors
from cal_ratio_trainer.network.classifier import Classifier, logits_of
from cal_ratio_trainer.network.domain.base import ControlJets, DomainLoss, StepSums
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.engine import on_device
from cal_ratio_trainer.network.shape import OUTPUTS
from cal_ratio_trainer.training.optimizers import adamw, add_to_average, keras_nadam, set_learning_rate
from cal_ratio_trainer.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class StepJets:
    """The jets that one step reads: positions in the data set, all on the host.

    Attributes:
        main: [n] main jets.
        control: [m] control-region jets of the classifier's update.
        update: [k] control-region jets of the domain loss's own updates.
    """

    main: IndexArray
    control: IndexArray
    update: IndexArray

    @property
    def together(self) -> IndexArray:
        """All of them."""
        return np.concatenate([self.main, self.control, self.update])


@dataclass(frozen=True)
class Pass:
    """One pass of jets through the classifier in this process, cut and shared before the step.

    Attributes:
        read: makes the batch of this process's share.
        masks: gives the dropout of the pass, from its beginning each time.
        jets: [share] int64, their positions in the data set, on the device; main jets come first.
        main: number of main jets among them.
        control: [share - main], places of the others among the control jets of the mini-batch.
        all_control: number of control jets of the pass in all processes.
    """

    read: Callable[[], Batch]
    masks: Callable[[], DropoutSource]
    jets: Tensor
    main: int
    control: IndexArray
    all_control: int


@dataclass(frozen=True)
class StepPlan:
    """Work of one step in this process.

    Attributes:
        update: [k] int64, positions of the control jets of the domain loss's updates, on the device.
        update_passes: passes over these jets as often as there are updates.
        passes: passes of the classifier's update.
        main: number of main jets of these passes in all processes.
        control: [m] int64, positions of the control jets of these passes in all processes, on the device.
    """

    update: Tensor
    update_passes: Sequence[Pass]
    passes: Sequence[Pass]
    main: int
    control: Tensor


def cut(
    main: IndexArray, control: IndexArray, pieces: int, ranks: Ranks
) -> Iterator[tuple[int, IndexArray, IndexArray | None, IndexArray]]:
    """Cuts a mini-batch into pieces, and each piece into the shares of the processes.

    Args:
        main, control: positions of the jets.
        pieces: number of pieces; those without jets are left out.
        ranks: the processes.

    Yields:
        Number of the piece; positions of its jets in all processes, main jets first; positions of this process's share
        among these, rising, or None for all; positions of all its control jets in `control`.
    """
    parts = (np.array_split(positions, pieces) for positions in (main, control, np.arange(len(control))))
    for number, (of_main, of_control, places) in enumerate(zip(*parts, strict=True)):
        if len(of_main) + len(of_control):
            positions = np.concatenate([of_main, of_control])
            yield number, positions, ranks.share(len(of_main), len(of_control)), places


class TrainingStep:
    """Networks, optimisers, and the work of one step.

    Args:
        classifier: the network; with auxiliary heads if `settings.auxiliary_weight` is not 0.
        domain: makes data and simulation agree; None trains on main jets alone.
        settings: optimiser of the classifier, learning rates, penalty on kernels, dropout and seed of its masks, limit
            on the gradient, average of the weights, and pieces in which a mini-batch goes through the classifier.
            The step in pieces is the same but for dropout masks and rounding.
        ranks: the processes that share a mini-batch; the step is the same but for rounding.
    """

    records_graphs = False
    """True where steps are recorded as CUDA graphs and replayed."""

    def __init__(
        self, classifier: Classifier, domain: DomainLoss | None, settings: TrainSettings, ranks: Ranks = ALONE
    ) -> None:
        self.classifier, self.domain, self.ranks, self.seed = classifier, domain, ranks, settings.network_seed
        self.regularization, self.dropout = settings.regularization, settings.dropout
        self.pieces, self.auxiliary_weight = settings.accumulate, settings.auxiliary_weight
        self.learning_rate = settings.learning_rate
        if settings.optimizer == "nadam":
            self.classifier_optimizer: torch.optim.Optimizer = keras_nadam(classifier, settings.learning_rate)
        else:
            self.classifier_optimizer = adamw(classifier, settings.learning_rate, settings.weight_decay)
        self.clip_gradient, self.average_weights = settings.clip_gradient, settings.average_weights
        self._average = None if self.average_weights is None else copy.deepcopy(classifier).requires_grad_(False)
        if domain is not None and any(True for _ in domain.parameters()):
            # Its learning rate stays constant.
            domain.optimizer = keras_nadam(domain, settings.adversary_learning_rate or settings.learning_rate)
        self._penalised = list(classifier.penalised_kernels())

    @property
    def network(self) -> Classifier:
        """The network to validate, keep and export: the average of the classifier's weights where one is kept."""
        return self.classifier if self._average is None else self._average

    @property
    def updates(self) -> int:
        """Updates of the domain loss in each step."""
        return 0 if self.domain is None else self.domain.updates

    def trained_modules(self) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer | None]]:
        """Name, module and optimiser of all that is trained, as checkpoints hold it."""
        yield "classifier", self.classifier, self.classifier_optimizer
        if self._average is not None:
            yield "average", self._average, None
        if self.domain is not None:
            yield self.domain.name, self.domain, self.domain.optimizer

    def set_learning_rate(self, rate: float) -> None:
        """Sets the classifier's learning rate for the next steps."""
        if rate != self.learning_rate:
            set_learning_rate(self.classifier_optimizer, rate)
            self.learning_rate = rate

    def add_to_average(self, step: int) -> None:
        """Adds the classifier's weights after a step, by its number in the whole training, to their average."""
        if self._average is not None and self.average_weights is not None:
            add_to_average(self._average, self.classifier, self.average_weights, step)

    def new_sums(self, device: torch.device, values: Mapping[str, float] | None = None) -> StepSums:
        """The sums that steps add to, beginning at 0 or at some values."""
        auxiliary = ("auxiliary",) if self.auxiliary_weight else ()
        return StepSums(device, ("main", *auxiliary, *(self.domain.stages if self.domain is not None else ())), values)

    def prepare(self, data: JetTensors, steps: Sequence[StepJets], epoch: int) -> None:
        """Hook before each epoch, which gets the jets of its steps; no-op by default."""

    def logits(self, data: JetTensors, positions: IndexArray) -> Tensor:
        """Logits [jets, 3] by `network`, without dropout, of jets at positions [jets], on the device."""
        return logits_of(self.network, data, positions)

    def read_jets(self, jets: StepJets) -> IndexArray:
        """Positions of the jets that this process reads in a step; some may come more than once."""
        if self.ranks.place.processes == 1:
            return jets.together
        repeated = np.tile(jets.update, self.updates)
        pieces = [
            *cut(jets.main, jets.control, self.pieces, self.ranks),
            *cut(repeated[:0], repeated, self.pieces, self.ranks),
        ]
        return np.concatenate([positions if share is None else positions[share] for _, positions, share, _ in pieces])

    def plan(self, data: JetTensors, jets: StepJets, epoch: int, step: int) -> StepPlan:
        """Cuts a mini-batch into passes and shares them between the processes; arguments as `__call__`."""
        control, repeated = (
            jets.control if self.domain is not None else jets.control[:0],
            np.tile(jets.update, self.updates),
        )
        return StepPlan(
            on_device(jets.update, data.device),
            self._passes(data, repeated[:0], repeated, (self.seed, epoch, step, 0)),
            self._passes(data, jets.main, control, (self.seed, epoch, step, 1)),
            len(jets.main),
            on_device(control, data.device),
        )

    def _passes(
        self, data: JetTensors, main: IndexArray, control: IndexArray, seed: tuple[int, int, int, int]
    ) -> list[Pass]:
        passes = []
        for piece, positions, share, places in cut(main, control, self.pieces, self.ranks):
            all_main = len(positions) - len(places)
            own, own_main, own_control = positions, all_main, places
            if share is not None:
                own, own_main = positions[share], int((share < all_main).sum())
                own_control = places[share[own_main:] - all_main]
            masks = partial(DropoutSource, self.dropout, (*seed, piece) if piece else seed, data.device)
            read = partial(data.batch, positions, share)
            passes.append(Pass(read, masks, on_device(own, data.device), own_main, own_control, len(places)))
        return passes

    def __call__(self, data: JetTensors, jets: StepJets, epoch: int, step: int, sums: StepSums) -> None:
        """Does one step; nothing here waits for the device.

        Args:
            data: all jets.
            jets: jets of this step.
            epoch: number of the epoch; with `step` and the seed it fixes all dropout masks.
            step: number of the step in the epoch.
            sums: sums of the epoch; losses and accuracies are added.
        """
        self.work(data, self.plan(data, jets, epoch, step), sums)

    def work(self, data: JetTensors, plan: StepPlan, sums: StepSums) -> None:
        """Gradients of all passes, then the update; the same whether it is recorded as a CUDA graph or not."""
        self._update_domain(data, plan, sums)
        known = self._penalty_gradient(data, plan, sums)
        for _, optimizer in self._descending():
            optimizer.zero_grad()
        for each in plan.passes:
            if len(each.jets):
                self._add_gradient(data, plan, each, known, sums)
        self._sum_gradients()
        self._add_regularization_gradient()
        if self.clip_gradient is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.clip_gradient, foreach=True)
        for _, optimizer in self._descending():
            optimizer.step()
        if self.domain is not None:
            self.domain.after_step()

    def _add_gradient(self, data: JetTensors, plan: StepPlan, each: Pass, known: Tensor | None, sums: StepSums) -> None:
        """Forward, loss, agreement and backward of one pass; `known` as `_penalty_gradient` returns it."""
        batch, masks, hidden = each.read(), each.masks(), None
        encoded = self.classifier.encoded(batch, masks)
        if self.domain is not None and self.domain.needs_hidden:
            logits, hidden = self.classifier.logits_and_hidden(encoded, batch, masks)
        else:
            logits = self.classifier.logits(encoded, batch, masks)
        loss = self._main_loss(data, each, logits, encoded, plan.main, sums)
        if self.domain is not None and len(each.jets) > each.main:
            rest = slice(each.main, None)
            if known is None:
                jets = self._control_jets(data, each.jets[rest], logits[rest], None if hidden is None else hidden[rest])
                loss = loss + self.domain.penalty(jets, len(plan.control), sums)
            else:
                loss = loss + (known[each.control] * logits[rest]).sum()
        loss.backward()  # type: ignore[no-untyped-call]

    def _main_loss(
        self, data: JetTensors, each: Pass, logits: Tensor, encoded: Sequence[Tensor], main: int, sums: StepSums
    ) -> Tensor:
        """Contribution of a pass to the mean loss of the `main` main jets of the step, with auxiliary heads; scalar."""
        own = slice(0, each.main)
        target, weight = data.target[each.jets[own]], data.weight[each.jets[own]]
        losses = weight * functional.cross_entropy(logits[own], target, reduction="none")
        sums.add("main", losses, logits[own].argmax(dim=1) == target)
        total = losses.sum() / main
        if self.auxiliary_weight:
            heads = self.classifier.auxiliary_logits([vectors[own] for vectors in encoded])
            for head in heads:
                losses = weight * functional.cross_entropy(head, target, reduction="none")
                total = total + self.auxiliary_weight / len(heads) * losses.sum() / main
                sums.add("auxiliary", losses, head.argmax(dim=1) == target)
        return total

    def _update_domain(self, data: JetTensors, plan: StepPlan, sums: StepSums) -> None:
        """Updates the domain loss's own state in the first process, and broadcasts it."""
        if self.domain is None or not self.updates:
            return
        with torch.no_grad():
            # The classifier is frozen here: one pass, with dropout masks for each jet, serves all updates.
            logits = torch.cat([self._control_logits(data, each) for each in plan.update_passes])
        if self.ranks.is_first:
            for part in torch.split(logits, len(plan.update)):
                self.domain.update(self._control_jets(data, plan.update, part), sums)
        if state := [*self.domain.parameters(), *self.domain.buffers()]:
            self.ranks.broadcast_(state)

    def _descending(self) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
        """Modules that the gradient of the classifier's loss updates, with their optimisers."""
        yield self.classifier, self.classifier_optimizer
        if self.domain is not None and self.domain.learns_in_penalty and self.domain.optimizer is not None:
            yield self.domain, self.domain.optimizer

    def _control_logits(self, data: JetTensors, each: Pass) -> Tensor:
        """Logits [jets, 3] of the control jets of a pass: in the first process of all, in the others none."""
        own = self.classifier(each.read(), each.masks()) if len(each.jets) else data.jet.new_zeros(0, OUTPUTS)
        # Main and control jets are shared apart from each other.
        return self.ranks.gather(own[each.main :], each.all_control)

    def _penalty_gradient(self, data: JetTensors, plan: StepPlan, sums: StepSums) -> Tensor | None:
        """Gradient [m, 3] of a penalty by the logits of all m control jets, in all processes.

        None if the penalty can be computed within the passes.
        """
        is_whole = self.pieces == 1 and self.ranks.place.processes == 1
        if self.domain is None or not self.domain.needs_all_jets or is_whole:
            return None
        with torch.no_grad():
            # The same dropout masks as in the passes with gradient, so main jets pass too.
            logits = torch.cat([self._control_logits(data, each) for each in plan.passes])
        gradient = data.jet.new_zeros(len(plan.control), OUTPUTS)
        if self.ranks.is_first and len(plan.control):
            logits.requires_grad_()
            penalty = self.domain.penalty(self._control_jets(data, plan.control, logits), len(plan.control), sums)
            (gradient,) = torch.autograd.grad(penalty, logits)
        self.ranks.broadcast_([gradient])
        return gradient

    def _control_jets(
        self, data: JetTensors, positions: Tensor, logits: Tensor, hidden: Tensor | None = None
    ) -> ControlJets:
        inputs = data.jet.index_select(0, positions)
        return ControlJets(
            logits, data.target[positions].float(), data.weight[positions], inputs, hidden, data.region[positions]
        )

    def _sum_gradients(self) -> None:
        if self.ranks.place.processes == 1:
            return
        weights = [weight for module, _ in self._descending() for weight in module.parameters()]
        for weight in weights:
            if weight.grad is None:  # this process had no jets
                weight.grad = torch.zeros_like(weight)
        self.ranks.all_reduce_sum_([weight.grad for weight in weights if weight.grad is not None])

    def _add_regularization_gradient(self) -> None:
        # d/dw of strength * (|w| + w^2), added by hand: cheaper than carrying it through the graph.
        strength = self.regularization
        if strength == 0:
            return
        kernels = [kernel.detach() for kernel in self._penalised]
        gradients = [kernel.grad for kernel in self._penalised if kernel.grad is not None]
        # All kernels at once: on a GPU each operation of its own takes as long as this one.
        torch._foreach_add_(gradients, torch._foreach_sign(kernels), alpha=strength)
        torch._foreach_add_(gradients, kernels, alpha=2 * strength)
