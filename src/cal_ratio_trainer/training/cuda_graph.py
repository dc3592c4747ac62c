"""The step of training in constant shapes, recorded once as a CUDA graph and replayed.

Kernels of a step take microseconds, and launching each from Python takes as long; a graph launches them all at once.
Positions of the jets and keys of the dropout masks, which change from step to step, lie in buffers at fixed addresses.
Those of an epoch are copied to the device when it begins; nothing waits for the device within it. The same code runs on
a CPU, without a graph, and gives the results of `TrainingStep` but for rounding.
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Constituent
from cal_ratio_trainer.network.batch import Batch, BranchBatch, JetTensors, with_masses
from cal_ratio_trainer.network.classifier import JETS_AT_A_TIME, Classifier
from cal_ratio_trainer.network.domain.base import StepSums
from cal_ratio_trainer.network.dropout import DropoutSource, StoredDropout
from cal_ratio_trainer.training.optimizers import make_capturable
from cal_ratio_trainer.training.step import Pass, StepJets, StepPlan, TrainingStep

Room = Mapping[str, int]
"""By branch, how many constituents a batch has room for."""

_STEPS_OF_ROOM = 16

_UNRECORDED = 2
"""Steps of each shape that run unrecorded first: they compile kernels and make the optimisers' state."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceJets:
    """All jets with their offsets on the device too.

    Attributes:
        jets: all jets of a data set.
        offsets: for each branch [jets + 1] int64, on the device.
    """

    jets: JetTensors
    offsets: Mapping[str, Tensor]

    @classmethod
    def of(cls, jets: JetTensors) -> "DeviceJets":
        """The jets of a data set, their offsets copied to the device."""
        return cls(jets, {name: torch.from_numpy(each).to(jets.device) for name, each in jets.offsets.items()})

    def batch(self, positions: Tensor, room: Room) -> Batch:
        """The jets at positions [jets] int64 on the device, in that order; there must be room for all constituents."""
        jets = self.jets
        branches = {}
        for kind in jets.schema.constituents:
            stored = jets.values[kind.name]
            packed = pack_on_device(self.offsets[kind.name], positions, kind.limit, room[kind.name])
            last = len(stored) - 1
            rows = torch.where(packed.is_real, packed.rows, last)
            values = stored.index_select(0, torch.cat([rows, rows.new_full((1,), last)]))
            if jets.masses.shape[1]:
                masses = jets.masses.index_select(0, positions[packed.owners])
                values = with_masses(values, masses)
            branches[kind.name] = BranchBatch(values, (), packed.inverse, packed.places)
        own = torch.cat([jets.jet.index_select(0, positions), jets.masses.index_select(0, positions)], dim=1)
        return Batch(branches, own)

    @torch.no_grad()
    def logits(self, classifier: Classifier, positions: Tensor) -> Tensor:
        """`classifier.logits_of` for positions [n] int64 on the device, without packing on the host."""
        pieces = torch.split(positions, JETS_AT_A_TIME)
        room = room_for(self, [Positions.of(positions, [len(piece) for piece in pieces])])
        return torch.cat([classifier(self.batch(piece, room)) for piece in pieces])


@dataclass(frozen=True)
class DevicePacking:
    """`batch.pack` with fixed shape, on the device.

    Attributes:
        rows: [room] int64, positions in the data set's values; without meaning where there is no constituent.
        is_real: [room] bool, where there is one.
        owners: [room] int64, position in the batch of the jet it belongs to.
        inverse: [jets] int64, where each jet of the batch stands among the jets sorted by number of constituents.
        places: [2, slots] int64: where the constituents of a slot begin, and how many jets have one.
    """

    rows: Tensor
    is_real: Tensor
    owners: Tensor
    inverse: Tensor
    places: Tensor


def pack_on_device(offsets: Tensor, positions: Tensor, slots: int, room: int) -> DevicePacking:
    """The packing of some jets of a data set; equal to `batch.pack`, with room to spare.

    Args:
        offsets: [jets of the data set + 1] int64.
        positions: [jets of the batch] int64.
        slots: constituents beyond this many in a jet are not read.
        room: for how many constituents.
    """
    starts = offsets.index_select(0, positions)
    lengths = (offsets.index_select(0, positions + 1) - starts).clamp_(max=slots)
    # Fullest first. A GPU sorts numbers of eight bits in one pass, and of 64 in eight.
    order = torch.argsort((slots - lengths).to(torch.uint8), stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    slot = torch.arange(slots, device=offsets.device)
    filled = (lengths[:, None] > slot).sum(dim=0)
    ends = filled.cumsum(dim=0)
    begins = ends - filled
    place = torch.arange(room, device=offsets.device)
    is_real = place < ends[-1]
    slot_of = torch.searchsorted(ends, place, right=True).clamp_(max=slots - 1)
    owners = order[torch.where(is_real, place - begins[slot_of], 0)]
    return DevicePacking(starts[owners] + slot_of, is_real, owners, inverse, torch.stack([begins, filled]))


@dataclass(frozen=True)
class Positions:
    """Positions of the jets of several batches, on the device.

    Attributes:
        together: int64, those of one batch after the other.
        sizes: jets of each batch.
        ends: [batches + 1] int64, where each batch begins, and the end.
    """

    together: Tensor
    sizes: Sequence[int]
    ends: Tensor

    @classmethod
    def of(cls, together: Tensor, sizes: Sequence[int]) -> "Positions":
        """Positions that lie on the device, of batches of some sizes."""
        return cls(together, sizes, torch.tensor([0, *itertools.accumulate(sizes)], device=together.device))

    @classmethod
    def copied(cls, batches: Sequence[IndexArray], device: torch.device) -> "Positions":
        """Positions [jets] of each batch, copied to the device at once."""
        return cls.of(torch.from_numpy(np.concatenate(batches)).to(device), [len(batch) for batch in batches])

    def by_batch(self) -> tuple[Tensor, ...]:
        """Values of each batch."""
        return torch.split(self.together, list(self.sizes))


def room_for(jets: DeviceJets, parts: Sequence[Positions]) -> dict[str, int]:
    """Room for the constituents of the fullest of some batches, rounded up by at most a sixteenth.

    Rounding keeps the shapes of one epoch those of the next. This waits for the device, once.

    Args:
        jets: of the data set.
        parts: parts of the batches, all with as many batches.
    """
    kinds = jets.jets.schema.constituents
    if not any(len(part.together) for part in parts):
        return {kind.name: 0 for kind in kinds}
    counts = [torch.stack([_constituents(jets, part, kind) for part in parts]).sum(dim=0) for kind in kinds]
    fullest = torch.stack(counts).amax(dim=1).tolist()
    return {kind.name: _rounded(int(most)) for kind, most in zip(kinds, fullest, strict=True)}


def _constituents(jets: DeviceJets, part: Positions, kind: Constituent) -> Tensor:
    """Number of constituents of a kind in each batch, [batches] int64."""
    starts = jets.offsets[kind.name].index_select(0, part.together)
    lengths = (jets.offsets[kind.name].index_select(0, part.together + 1) - starts).clamp_(max=kind.limit)
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(dim=0)])[part.ends].diff()


def _rounded(fullest: int) -> int:
    # Fine enough to waste little, coarse beside the spread between batches.
    step = max(64, 1 << max(0, fullest.bit_length() - _STEPS_OF_ROOM.bit_length()))
    return -(-fullest // step) * step


@dataclass(frozen=True)
class _Shape:
    """Constants of a graph: numbers of jets, and room for constituents by branch."""

    main: int
    control: int
    update: int
    network_room: tuple[tuple[str, int], ...]
    update_room: tuple[tuple[str, int], ...]


@dataclass
class _Recorded:
    """Buffers of one shape, the number of its runs, and its graph once there is one.

    Attributes:
        network: [main + control] int64, positions of the jets of the classifier's update.
        update: [updates, update] int64, those of the domain loss's updates.
        keys: [2 stages, layers, 2] int32, of the dropout masks.
        sums: of one step.
        taken: their copy at the end of a replayed step.
    """

    network: Tensor
    update: Tensor
    keys: Tensor
    sums: StepSums
    runs: int = 0
    graph: "torch.cuda.CUDAGraph | None" = None
    taken: Tensor | None = None


@dataclass(frozen=True)
class _Epoch:
    """Positions of the jets and keys by step of an epoch, on the device, and the room that all its steps have."""

    number: int
    main: Sequence[Tensor]
    control: Sequence[Tensor]
    update: Sequence[Tensor]
    keys: Tensor
    network_room: Room
    update_room: Room


class StaticStep(TrainingStep):
    """`TrainingStep` in fixed shapes; `prepare` must be called before an epoch's steps."""

    records_graphs = True
    _epoch: _Epoch | None = None
    _jets: DeviceJets | None = None
    _pool: Any = None
    _stream: "torch.cuda.Stream | None" = None

    def prepare(self, data: JetTensors, steps: Sequence[StepJets], epoch: int) -> None:
        """Copies the positions and keys of an epoch's steps to the device.

        Args:
            data: all jets, the same in every epoch.
            steps: the jets of each step.
            epoch: its number.
        """
        device = data.device
        if self._jets is None:
            self._jets = DeviceJets.of(data)
            self._known: dict[_Shape, _Recorded] = {}
            if device.type == "cuda":
                for _, _, optimizer in self.trained_modules():
                    if optimizer is not None:
                        make_capturable(optimizer)
        keys = torch.from_numpy(self.keys(len(steps), epoch)).to(device)
        controls, updates = (None if self.domain is not None else 0), (None if self.updates else 0)
        main = Positions.copied([jets.main for jets in steps], device)
        control = Positions.copied([jets.control[:controls] for jets in steps], device)
        update = Positions.copied([jets.update[:updates] for jets in steps], device)
        self._epoch = _Epoch(
            number=epoch,
            main=main.by_batch(),
            control=control.by_batch(),
            update=update.by_batch(),
            keys=keys,
            network_room=room_for(self._jets, [main, control]),
            update_room=room_for(self._jets, [update] * self.updates),
        )

    def logits(self, data: JetTensors, positions: IndexArray) -> Tensor:
        """See `TrainingStep`."""
        if self._jets is None:
            return super().logits(data, positions)
        return self._jets.logits(self.network, torch.from_numpy(positions).to(data.device))

    def __call__(self, data: JetTensors, jets: StepJets, epoch: int, step: int, sums: StepSums) -> None:
        """See `TrainingStep`."""
        now = self._epoch
        if now is None or now.number != epoch:
            raise ValueError(f"epoch {epoch} was not prepared")
        main, control, update = now.main[step], now.control[step], now.update[step]
        rooms = (tuple(sorted(room.items())) for room in (now.network_room, now.update_room))
        shape = _Shape(len(main), len(control), len(update), *rooms)
        recorded = self._known.get(shape)
        if recorded is None:
            recorded = self._known[shape] = _Recorded(
                network=main.new_empty(len(main) + len(control)),
                update=main.new_empty(self.updates, len(update)),
                keys=torch.empty_like(now.keys[step]),
                sums=self.new_sums(data.device),
            )
        recorded.network[: len(main)].copy_(main)
        recorded.network[len(main) :].copy_(control)
        recorded.update.copy_(update)
        recorded.keys.copy_(now.keys[step])
        sums.sums += self._run(data, shape, recorded)

    def _run(self, data: JetTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        recorded.runs += 1
        if data.device.type != "cuda" or not self.records_graphs:
            return self._static_work(data, shape, recorded)
        if recorded.runs <= _UNRECORDED:
            return self._on_side_stream(data, shape, recorded)
        if recorded.graph is None and not self._record(data, shape, recorded):
            return self._static_work(data, shape, recorded)
        assert recorded.graph is not None
        assert recorded.taken is not None
        recorded.graph.replay()
        return recorded.taken

    def _on_side_stream(self, data: JetTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        """Runs on a side stream, as PyTorch requires of steps that will be recorded."""
        if self._stream is None:
            # One for all shapes: PyTorch keeps the memory that was used on a stream for that stream alone.
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            sums = self._static_work(data, shape, recorded)
        torch.cuda.current_stream().wait_stream(stream)
        return sums

    def _record(self, data: JetTensors, shape: _Shape, recorded: _Recorded) -> bool:
        """Records the step without running it; False where that fails, and then no further one is tried."""
        for _, module, _ in self.trained_modules():
            module.zero_grad()
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        if self._pool is None:
            # One for all shapes: no two graphs run at a time, and a step's sums are added up before the next.
            self._pool = torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                recorded.taken = self._static_work(data, shape, recorded)
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

    def _static_work(self, data: JetTensors, shape: _Shape, recorded: _Recorded) -> Tensor:
        """One step on the jets in the buffers; gives the sums of its losses and correct predictions."""
        update_keys, network_keys = recorded.keys.unbind()
        update = recorded.update.flatten()
        plan = StepPlan(
            update[: shape.update],
            [self._static_pass(update, dict(shape.update_room), 0, update_keys)],
            [self._static_pass(recorded.network, dict(shape.network_room), shape.main, network_keys)],
            shape.main,
            recorded.network[shape.main :],
        )
        self.work(data, plan, recorded.sums)
        return recorded.sums.take()

    def _static_pass(self, jets: Tensor, room: Room, main: int, keys: Tensor) -> Pass:
        assert self._jets is not None
        control = len(jets) - main
        read, masks = partial(self._jets.batch, jets, room), partial(StoredDropout, self.dropout, keys)
        return Pass(read, masks, jets, main, np.arange(control), control)

    def keys(self, steps: int, epoch: int) -> NDArray[np.int32]:
        """Keys [steps, 2 stages, layers, 2] of the dropout masks: those that `TrainingStep` draws."""
        layers = self.classifier.shape.dropout_masks
        keys = np.empty((steps, 2, layers, 2), np.uint32)
        for step in range(steps):
            for stage in range(2):
                source = DropoutSource(self.dropout, (self.seed, epoch, step, stage), torch.device("cpu"))
                keys[step, stage] = source.words(layers)
        return keys.view(np.int32)
