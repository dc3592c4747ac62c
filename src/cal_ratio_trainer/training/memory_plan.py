"""Predicted memory of a training: before its first step, and in the error where memory runs out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cal_ratio_trainer.datasets.memory import (
    USABLE,
    StepSize,
    fitting_parts,
    free_bytes,
    gathered_bytes,
    size_text,
    step_bytes,
)
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.sampler import Sampler


class OutOfMemory(UserError):
    """A step found no memory; names settings with which it would fit."""


@dataclass(frozen=True)
class MemoryPlan:
    """Memory that a training needs, and memory that is free.

    Attributes:
        shape, engine: of the network.
        epoch: all jets of an epoch as one step.
        splits: mini-batches of an epoch.
        pieces: number of pieces in which a mini-batch goes through the network.
        data: size of the jets on the device. [bytes]
        free: free memory beside them; None where the system does not tell. [bytes]
        device: 'cpu' or 'cuda'.
        processes: number of processes that share each piece.
        gathers: the jets' constituents do not lie on the device, and those of each step are gathered there.
        recorded: steps are recorded as CUDA graphs, which keep a step's memory for themselves; steps of another size
            run with memory of their own before they are recorded too.
    """

    shape: NetworkShape
    engine: Engine
    epoch: StepSize
    splits: int
    pieces: int
    data: int
    free: int | None
    device: str
    processes: int = 1
    gathers: bool = False
    recorded: bool = False

    @property
    def step(self) -> int:
        """Predicted peak of a step beside the data, with the constituents gathered for it and the next one. [bytes]"""
        return self._step_of(self.splits, self.pieces)

    @property
    def gathered(self) -> int:
        """Size of the gathered constituents in it. [bytes]"""
        return self._gathered_of(self.splits)

    def as_it_fits(self) -> "MemoryPlan":
        """The plan without recording where there is room only for that; else this one."""
        alone = replace(self, recorded=False)
        return alone if self.free is not None and alone.step <= self.free < self.step else self

    def unrecorded_notice(self) -> str:
        """Notice that steps are not recorded because of too little memory."""
        text = "steps are not recorded as CUDA graphs, which is slower: there is no room for it"
        text += f" ({size_text(self.step)})"
        splits = self._fitting_splits()
        return text if splits is None else f"{text}; num_splits {splits} would fit"

    def sentence(self) -> str:
        """Sentence before the first step; a warning where the step does not fit."""
        where = "the GPU" if self.device == "cuda" else "memory"
        text = f"the jets take {size_text(self.data)} of {where}, a step about {size_text(self.step)} more"
        if self.gathers:
            text += f" ({size_text(self.gathered)} of it for constituents that are gathered for this step and the next)"
        if self.recorded:
            text += " (half of it for its recording)"
        if self.free is None:
            return text
        text += f"; {size_text(self.free)} are free"
        return text if self.step <= self.free else f"warning: {text}: {self.advice()}"

    def advice(self) -> str:
        """Settings with which a step would fit; they halve its memory at least."""
        splits = self._fitting_splits()
        pieces = self._fitting(2 * self.pieces, lambda pieces: self._step_of(self.splits, pieces))
        if splits is None:
            return "the network alone does not fit; it needs fewer or narrower layers"
        text = f"num_splits {splits} would fit"
        if pieces is None:
            return f"{text} (accumulate would not help: constituents are gathered for a whole mini-batch)"
        same = f"the same mini-batches of num_splits {self.splits} in {pieces} pieces each"
        return f"{text}, or accumulate {pieces} ({same})"

    def described(self) -> dict[str, Any]:
        """Entries of run.json."""
        return {
            "data_bytes": self.data,
            "predicted_step_bytes": self.step,
            "gathered_bytes": self.gathered,
            "free_bytes": self.free,
        }

    def _step_of(self, splits: int, pieces: int) -> int:
        step = step_bytes(self.shape, self.epoch.of(splits), self.engine, pieces * self.processes)
        # Steps in pieces are not recorded.
        return step * (2 if self.recorded and pieces == 1 else 1) + self._gathered_of(splits)

    def _gathered_of(self, splits: int) -> int:
        return gathered_bytes(self.shape, self.epoch, splits, self.processes) if self.gathers else 0

    def _fitting_splits(self) -> int | None:
        """Number of mini-batches that would fit, at least twice the present one; None where no number does."""
        return self._fitting(2 * self.splits * self.pieces, lambda splits: self._step_of(splits, 1))

    def _fitting(self, least: int, needed: Callable[[int], int]) -> int | None:
        """Number of parts, at least `least`, whose memory [bytes] fits; `least` where the free memory is unknown."""
        if self.free is None:
            return least
        found = fitting_parts(needed, int(USABLE * self.free))
        return None if found is None else max(found, least)

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Raises OutOfMemory, with settings that would fit, in place of PyTorch's or Python's error in the block."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            jets = self.epoch.of(self.splits).main
            raise OutOfMemory(
                f"a step on {jets:.0f} main jets found no memory (predicted: {size_text(self.step)} beside "
                f"{size_text(self.data)} of jets): {self.advice()}"
            ) from error


def lacks_memory(error: Exception) -> bool:
    """True where an error says that memory could not be allocated; on a CPU PyTorch raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def memory_plan(
    shape: NetworkShape,
    engine: Engine,
    tensors: JetTensors,
    sampler: Sampler,
    pieces: int,
    ranks: Ranks = ALONE,
    *,
    updates: int = Adversary.updates,
    recorded: bool = False,
) -> MemoryPlan:
    """Plan of a training whose jets are on the device already.

    Args:
        shape, engine: of the network.
        tensors: all jets.
        sampler: draws the mini-batches.
        pieces: number of pieces in which a mini-batch goes through the network.
        ranks: the processes that share each piece.
        updates: updates of the domain loss in each step.
        recorded: whether steps are recorded as CUDA graphs.
    """
    constituents = {}
    for kind in tensors.schema.constituents:
        lengths = np.minimum(np.diff(tensors.offsets[kind.name]), kind.limit)
        means = [float(lengths[part].mean()) if len(part) else 0.0 for part in (sampler.main, sampler.control)]
        constituents[kind.name] = (means[0], means[1])
    main, control = len(sampler.main), len(sampler.control)
    epoch = StepSize(main, main if control else 0, control, constituents, updates)
    device = tensors.device
    free = free_bytes(device)
    if free is not None and device.type == "cpu":
        free //= ranks.place.local_processes
    return MemoryPlan(
        shape=shape,
        engine=engine,
        epoch=epoch,
        splits=sampler.splits,
        pieces=pieces,
        data=tensors.bytes_on_device,
        free=free,
        device=device.type,
        processes=ranks.place.processes,
        gathers=tensors.gathers,
        recorded=recorded,
    )
