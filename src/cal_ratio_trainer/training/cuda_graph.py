"""The step of training in shapes that do not change, recorded once as a CUDA graph and replayed.

Kernels of a step take microseconds; starting each from Python takes as long. A graph starts them all at once. What
changes from step to step lies in buffers at fixed places: positions of the jets and keys of the dropout masks. An
epoch's are copied to the device when it begins; nothing waits for the device within it. The same logic runs on a CPU,
without a graph, and gives what `AdversarialStep` gives but for rounding.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.network.domain.adversary import ADVERSARY_UPDATES
from cal_ratio_trainer.network.dropout import DropoutSource, StoredDropout
from cal_ratio_trainer.network.packing import IndexArray
from cal_ratio_trainer.network.static_batch import DeviceJets, Positions, Room, room_for
from cal_ratio_trainer.training.step import AdversarialStep, Labels, StepJets, keras_nadam
from cal_ratio_trainer.training.step_sums import Tally

_UNRECORDED = 2
"""Steps of each shape that run as they are: kernels are compiled and the optimisers' state is made in them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shape:
    """What is fixed in a graph: numbers of jets, and room for constituents by branch."""

    main: int
    control: int
    adversary: int
    network_room: tuple[tuple[str, int], ...]
    adversary_room: tuple[tuple[str, int], ...]


@dataclass
class _Recorded:
    """Buffers of one shape, how often it ran, and its graph once there is one."""

    network: Tensor
    adversary: Tensor
    keys: Tensor
    tally: Tally
    runs: int = 0
    graph: "torch.cuda.CUDAGraph | None" = None
    sums: Tensor | None = None

    @classmethod
    def of(cls, shape: _Shape, keys: Tensor, tally: Tally) -> "_Recorded":
        """Buffers of a shape, for keys like these."""
        network = torch.empty(shape.main + shape.control, dtype=torch.int64, device=keys.device)
        adversary = torch.empty(ADVERSARY_UPDATES * shape.adversary, dtype=torch.int64, device=keys.device)
        return cls(network, adversary, torch.empty_like(keys), tally)


@dataclass(frozen=True)
class _Epoch:
    """An epoch's positions by step and keys, on the device, and the room that all of its steps have."""

    number: int
    main: Sequence[Tensor]
    control: Sequence[Tensor]
    adversary: Sequence[Tensor]
    keys: Tensor
    network_room: Room
    adversary_room: Room


class StaticStep(AdversarialStep):
    """As `AdversarialStep`; `prepare` has to be called before an epoch's steps."""

    _epoch: _Epoch | None = None
    _jets: DeviceJets | None = None
    records_graphs = True
    _pool: Any = None
    _stream: "torch.cuda.Stream | None" = None

    def prepare(self, data: TrainingTensors, steps: Sequence[StepJets], epoch: int) -> None:
        """Copy to the device what the steps of an epoch read.

        Args:
            data: all jets, the same in every epoch.
            steps: which of them each step reads.
            epoch: its number.
        """
        device = data.jets.device
        if self._jets is None:
            self._jets = DeviceJets.of(data.jets)
            self._known: dict[_Shape, _Recorded] = {}
            if device.type == "cuda":
                self._take_capturable_optimizers()
        keys = torch.from_numpy(self.keys(len(steps), epoch)).to(device)
        # Without adversary no control jets are read.
        most = None if self.losses.adversary_weight else 0
        main = Positions.copied([jets.main for jets in steps], device)
        control = Positions.copied([jets.control[:most] for jets in steps], device)
        adversary = Positions.copied([jets.adversary[:most] for jets in steps], device)
        self._epoch = _Epoch(
            *(epoch, main.by_batch(), control.by_batch(), adversary.by_batch(), keys),
            network_room=room_for(self._jets, [main, control]),
            adversary_room=room_for(self._jets, [adversary] * ADVERSARY_UPDATES),
        )

    def logits(self, data: TrainingTensors, positions: IndexArray) -> Tensor:
        """See `AdversarialStep`."""
        if self._jets is None:
            return super().logits(data, positions)
        return self._jets.logits(self.classifier, torch.from_numpy(positions).to(data.jets.device))

    def __call__(self, data: TrainingTensors, jets: StepJets, epoch: int, step: int, tally: Tally) -> None:
        """See `AdversarialStep`."""
        now = self._epoch
        if now is None or now.number != epoch:
            raise ValueError(f"epoch {epoch} was not prepared")
        main, control, adversary = now.main[step], now.control[step], now.adversary[step]
        rooms = (tuple(sorted(room.items())) for room in (now.network_room, now.adversary_room))
        shape = _Shape(len(main), len(control), len(adversary), *rooms)
        recorded = self._known.get(shape)
        if recorded is None:
            recorded = self._known[shape] = _Recorded.of(shape, now.keys[step], Tally(data.jets.device))
        recorded.network[: len(main)].copy_(main)
        recorded.network[len(main) :].copy_(control)
        recorded.adversary.view(ADVERSARY_UPDATES, -1).copy_(adversary)
        recorded.keys.copy_(now.keys[step])
        tally.add_sums(self._run(data, shape, recorded))

    def _run(self, data: TrainingTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        recorded.runs += 1
        if data.jets.device.type != "cuda" or not self.records_graphs:
            return self._work(data, shape, recorded)
        if recorded.runs <= _UNRECORDED:
            return self._beside(data, shape, recorded)
        if recorded.graph is None and not self._record(data, shape, recorded):
            return self._work(data, shape, recorded)
        assert recorded.graph is not None
        assert recorded.sums is not None
        recorded.graph.replay()
        return recorded.sums

    def _beside(self, data: TrainingTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        """Run on a stream of its own, as what is going to be recorded has to."""
        if self._stream is None:
            # One for all: PyTorch keeps the memory that was used on a stream for that stream alone.
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            sums = self._work(data, shape, recorded)
        torch.cuda.current_stream().wait_stream(stream)
        return sums

    def _record(self, data: TrainingTensors, shape: _Shape, recorded: _Recorded) -> bool:
        """Record the step without running it; False where that fails, and then no further one is tried."""
        for optimizer in (self.classifier_optimizer, self.adversary_optimizer):
            optimizer.zero_grad()
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        if self._pool is None:
            # One for all: no two graphs run at a time, and a step's sums are taken up before the next.
            self._pool = torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                recorded.sums = self._work(data, shape, recorded)
        except RuntimeError as error:
            # Ending a recording that went wrong fails too, and leaves the recording's stream as the current one.
            torch.cuda.set_stream(before)
            if isinstance(error, torch.OutOfMemoryError):
                raise
            _log.warning("a step could not be recorded as a CUDA graph and goes on without, slower: %s", error)
            self.records_graphs = False
            return False
        recorded.graph = graph
        return True

    def _work(self, data: TrainingTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        """One step on what lies in the buffers; gives the sums of its losses and right answers [9]."""
        assert self._jets is not None
        own_keys, network_keys = recorded.keys.unbind()
        if self.losses.adversary_weight:
            first = recorded.adversary[: shape.adversary]
            target, weight = data.target[first].float(), data.weight[first]
            with torch.no_grad():
                batch = self._jets.batch(recorded.adversary, dict(shape.adversary_room))
                probabilities = self.classifier(batch, self._masks(own_keys)).softmax(dim=1)
            self._train_adversary(probabilities, target, weight, recorded.tally)
        self.classifier_optimizer.zero_grad()
        logits = self.classifier(
            self._jets.batch(recorded.network, dict(shape.network_room)), self._masks(network_keys)
        )
        labels = Labels(data.target[recorded.network], data.weight[recorded.network], shape.main)
        self._backward(logits, labels, (shape.main, shape.control), recorded.tally)
        self._add_penalty()
        self.classifier_optimizer.step()
        return recorded.tally.take()

    def _masks(self, keys: Tensor) -> StoredDropout:
        return StoredDropout(self.losses.dropout, keys)

    def keys(self, steps: int, epoch: int) -> NDArray[np.int32]:
        """Keys [steps, 2 passes, layers, 2]: those that `AdversarialStep` draws."""
        layers = self.classifier.shape.dropout_masks
        keys = np.empty((steps, 2, layers, 2), np.uint32)
        for step in range(steps):
            for stage in range(2):
                source = DropoutSource(self.losses.dropout, (self.seed, epoch, step, stage), torch.device("cpu"))
                keys[step, stage] = source.words(layers)
        return keys.view(np.int32)

    def _take_capturable_optimizers(self) -> None:
        """In place of those of before, with their state: a continued run has one already."""
        rate = self.classifier_optimizer.defaults["lr"]
        for name in ("classifier", "adversary"):
            before: torch.optim.NAdam = getattr(self, f"{name}_optimizer")
            after = keras_nadam(getattr(self, name), rate, capturable=True)
            for weight, state in before.state.items():
                after.state[weight] = {key: value.to(weight.device) for key, value in state.items()}
            setattr(self, f"{name}_optimizer", after)
