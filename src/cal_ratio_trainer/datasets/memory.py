"""Memory of a step, computed from the settings before the first one, and the number of mini-batches that would fit.

Counted are the tensors that live at the peak of a step: what the layers keep for their gradients, and what is computed
beside it at that moment, all in single precision; and where the constituents do not lie on the device, what is gathered
of them for the step and the next one.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.encoders.base import BranchShape, encoder_named
from cal_ratio_trainer.network.engine import Engine, chain_fits
from cal_ratio_trainer.network.shape import NetworkShape

_FLOAT, _INDEX = 4, 8
_GATHERED_AT_A_TIME = 2
"""For the step that is computed, and ahead for the next one."""

_MANY = 1 << 40
# Kept for the gradient of a recurrence, a unit, slot and jet: gates, c, tanh(c) and h; gates, c; h, c; by autograd.
_KEPT = {Engine.TORCH: 7, Engine.NUMBA: 5, Engine.TRITON: 2, Engine.REFERENCE: 20}
# Beside that in the gradient itself: that of every slot's gates.
_BESIDE = {Engine.TORCH: 4, Engine.NUMBA: 0, Engine.TRITON: 0, Engine.REFERENCE: 8}

_MIB, _GIB = 2**20, 2**30

USABLE = 0.9
"""Part of what is free that may be planned with: memory is handed out in blocks, and others use the machine."""


@dataclass(frozen=True)
class StepSize:
    """The jets of one step.

    Attributes:
        main: main jets.
        control: control-region jets of the network's update.
        update: control-region jets of an update of the domain loss.
        constituents: by branch, how many a main and how many a control-region jet has on average.
        updates: updates of the domain loss in the step.
    """

    main: float
    control: float
    update: float
    constituents: Mapping[str, tuple[float, float]]
    updates: int = Adversary.updates

    def of(self, splits: float) -> "StepSize":
        """The same jets in so many times as many steps."""
        return replace(self, main=self.main / splits, control=self.control / splits, update=self.update / splits)


def step_bytes(shape: NetworkShape, size: StepSize, engine: Engine, pieces: int = 1) -> int:
    """The most memory that a step takes beside the data. [bytes]

    Args:
        shape: of the network.
        size: jets of the step.
        engine: engine that computes it.
        pieces: in how many pieces the mini-batch goes through the network.
    """
    piece = size.of(pieces)
    network = _update_bytes(shape, piece, engine)
    update = _forward_bytes(shape, piece, engine)
    return int(max(network, update)) + 8 * _FLOAT * weights_in(shape)


def weights_in(shape: NetworkShape) -> int:
    """Number of the network's parameters."""
    return sum(math.prod(each) for each in shape.weight_shapes().values())


def gathered_bytes(shape: NetworkShape, epoch: StepSize, splits: int, processes: int = 1) -> int:
    """Size of gathered constituents that are not on the device, see `datasets.placement`. [bytes]

    Args:
        shape: of the network.
        epoch: all jets of an epoch as one step.
        splits: mini-batches of an epoch.
        processes: number of processes that share each of them.
    """
    main = epoch.main / (splits * processes)
    # A jet that the updates of the domain loss and of the network both read is gathered once.
    others = 1.0
    if epoch.update:
        of_network = epoch.control / (splits * processes * epoch.update)
        of_update = min(1.0, epoch.updates / processes) / splits
        others = max(0.0, 1 - of_network) * (1 - of_update)
    control = epoch.update * (1 - others)
    floats = sum(
        each.inputs * (main * epoch.constituents[each.name][0] + control * epoch.constituents[each.name][1])
        for each in shape.branches
    )
    indices = (1 + len(shape.branches)) * (main + control)
    return int(_GATHERED_AT_A_TIME * (_FLOAT * floats + _INDEX * indices))


def fitting_parts(takes: Callable[[int], int], free: int) -> int | None:
    """The fewest parts of something that take at most `free` bytes each; None where no number does.

    Args:
        takes: bytes of each of so many parts; the more parts, the fewer bytes.
        free: available memory.
    """
    if takes(_MANY) >= free:
        return None
    low, high = 0, 1
    while takes(high) > free:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if takes(middle) <= free else (middle, high)
    return high


def _update_bytes(shape: NetworkShape, size: StepSize, engine: Engine) -> float:
    """The network's update: all branches keep what their gradients need, and the last one works them out first."""
    jets = size.main + size.control
    kept, most = 0.0, 0.0
    for branch in shape.branches:
        of_main, of_control = size.constituents[branch.name]
        rows = size.main * of_main + size.control * of_control
        kept += _branch_kept(branch, shape, rows, jets, engine)
        most = max(most, kept + _branch_beside(branch, shape, rows, jets, engine))
    return most + _FLOAT * jets * _head_floats(shape, engine)


def _forward_bytes(shape: NetworkShape, size: StepSize, engine: Engine) -> float:
    """Bytes of a pass without gradients, one branch at a time, for the jets of all updates of the domain loss."""
    jets = size.updates * size.update
    encoder = encoder_named(shape.encoder)
    floats = [
        _row_floats(each, shape, engine) * jets * size.constituents[each.name][1] + 3 * encoder.width(each) * jets
        for each in shape.branches
    ]
    inputs = sum(jets * size.constituents[each.name][1] * (each.inputs + shape.masses) for each in shape.branches)
    return _FLOAT * (max(floats) + inputs + jets * (_head_floats(shape, engine) / 2))


def _encoder_floats(branch: BranchShape, shape: NetworkShape) -> tuple[float, float] | None:
    return encoder_named(shape.encoder).step_floats(branch, branch.inputs + shape.masses)


def _row_floats(branch: BranchShape, shape: NetworkShape, engine: Engine) -> float:
    """Numbers of one constituent: its inputs, every layer's outputs (if they are kept), its gate inputs."""
    if (own := _encoder_floats(branch, shape)) is not None:
        return own[0]
    between = sum(branch.dense) if _keeps_layers(branch, shape, engine) else 0
    return branch.inputs + shape.masses + between + 4 * branch.lstm_units


def _keeps_layers(branch: BranchShape, shape: NetworkShape, engine: Engine) -> bool:
    """False where a constituent goes through all layers in one loop, and again for the gradient."""
    widths = (branch.inputs + shape.masses, *branch.dense, 4 * branch.lstm_units)
    return engine is not Engine.NUMBA and not (engine is Engine.TRITON and chain_fits(widths))


def _branch_kept(branch: BranchShape, shape: NetworkShape, rows: float, jets: float, engine: Engine) -> float:
    if (own := _encoder_floats(branch, shape)) is not None:
        return _FLOAT * rows * own[0]
    states = branch.slots * branch.lstm_units * jets
    # PyTorch's operations keep what they compute from the gate inputs, the loops the inputs themselves.
    inputs = 0 if engine is Engine.TORCH else 4
    deeper = (shape.lstm_layers - 1) * (1 + inputs + _KEPT[engine]) * states
    floats = _row_floats(branch, shape, engine) - (4 - inputs) * branch.lstm_units
    return _FLOAT * (rows * floats + _KEPT[engine] * states + deeper)


def _branch_beside(branch: BranchShape, shape: NetworkShape, rows: float, jets: float, engine: Engine) -> float:
    """The larger of two moments: the recurrence's gradient, and that of the widest pair of layers."""
    if (own := _encoder_floats(branch, shape)) is not None:
        return _FLOAT * rows * own[1]
    widths = [*branch.dense, 4 * branch.lstm_units]
    pair = max(map(sum, itertools.pairwise(widths))) if _keeps_layers(branch, shape, engine) else 0
    states = branch.slots * branch.lstm_units * jets
    deeper = 6 * states if shape.lstm_layers > 1 else 0.0
    recurrence = 4 * branch.lstm_units * rows + _BESIDE[engine] * states + deeper
    return _FLOAT * max(recurrence, rows * pair)


def _head_floats(shape: NetworkShape, engine: Engine) -> int:
    """Numbers of one jet after the branches: vectors of all branches, twice, outputs and gradients of the layers."""
    joined = shape.encoded_width
    layers = 0 if engine is Engine.NUMBA else sum(shape.hidden) + max(shape.hidden)
    return 3 * joined + shape.jet_inputs + layers


def free_bytes(device: torch.device) -> int | None:
    """Free memory for this process on a device; None if the system does not provide it. [bytes]"""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(filter(None, (_free_of_the_machine(), _free_of_the_group())), default=None)


def _free_of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _free_of_the_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory limit of a batch system or container. [bytes]"""
    try:
        limit, used = ((folder / name).read_text("utf-8").strip() for name in ("memory.max", "memory.current"))
        lines = (folder / "memory.stat").read_text("utf-8").splitlines()
    except OSError:
        return None
    if limit == "max":
        return None
    # Files that were read stay in memory until a process needs that memory.
    cached = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(0, int(limit) - int(used) + cached)


def size_text(size: float) -> str:
    """A number of bytes to read: in GiB, and in MiB where two digits of a GiB would say little.

    >>> size_text(3 * 2**29), size_text(2.3 * 2**20)
    ('1.50 GiB', '2.3 MiB')
    """
    return f"{size / _GIB:.2f} GiB" if size == 0 or size >= 0.1 * _GIB else f"{size / _MIB:.1f} MiB"
