"""The jets that a training uses: what is known of them beside their constituents."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.datasets.splits import Part, UIntArray, event_words
from cal_ratio_trainer.datasets.weights import WeightArray
from cal_ratio_trainer.jets import Jets, JetScalars, Ragged
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.inputs import NetworkInputs


@dataclass(frozen=True)
class TrainingTensors:
    """All jets of a training with what the losses need, on the device.

    Attributes:
        jets: main jets, then control-region jets.
        target: [jets] int64; class of a main jet, 1 or 0 for data or simulation of a control-region jet.
        weight: [jets] float32, as the loss uses it.
    """

    jets: JetTensors
    target: Tensor
    weight: Tensor


@dataclass(frozen=True)
class TrainingSample:
    """The jets of one file that a training uses.

    Attributes:
        file: origin of the jets.
        metadata: metadata of the file.
        jets: their scalars; inputs of the network are finite.
        part: [jets], see `Part`.
        loss_weight: [jets], as the loss uses it.
        weight: [jets], as plots, K-S and figures of merit use it.
        identity: columns that identify events in the split.
        notes: unusual values, one sentence each; known when the constituents were read.
        test_constituents: all features of the jets of the test part, in order, by kind; known then too.
    """

    file: Path
    metadata: JetMetadata
    jets: JetScalars
    part: NDArray[np.int8]
    loss_weight: WeightArray
    weight: WeightArray
    identity: str
    notes: tuple[str, ...] = ()
    test_constituents: Mapping[str, Ragged] = field(default_factory=dict)

    def without_jets(self) -> "TrainingSample":
        """The same file with no jets used: stands for the control region of a training without one."""
        none = np.zeros(0, dtype=np.int64)
        part, weight = self.part[none], self.weight[none]
        return replace(self, jets=self.jets.take(none), part=part, loss_weight=self.loss_weight[none], weight=weight)

    def positions(self, part: Part) -> NDArray[np.int64]:
        """Positions of the jets of one part."""
        return self._positions[part]

    @cached_property
    def _positions(self) -> Mapping[Part, NDArray[np.int64]]:
        return {part: np.flatnonzero(self.part == part).astype(np.int64) for part in Part}

    @cached_property
    def events(self) -> UIntArray:
        """Number that all jets of an event share. [jets]"""
        return event_words(self.jets)[0]

    @property
    def test_jets(self) -> Jets:
        """The jets of the test part, whole."""
        return Jets(self.jets.take(self.positions(Part.TEST)).scalars, self.test_constituents, schema=self.jets.schema)

    @property
    def is_data(self) -> NDArray[np.bool_]:
        """Mask of data in a control region. [jets]"""
        return np.asarray(self.jets.label == CONTROL_DATA)


@dataclass(frozen=True)
class TrainingData:
    """Both samples, and the masses that a parametrised network reads ([main + control jets, 0, 1 or 2], TeV).

    Without control-region file `control` is the main sample without jets, so that figures of it are NaN or empty.
    """

    main: TrainingSample
    control: TrainingSample
    masses: NDArray[np.float32] | None

    @property
    def samples(self) -> dict[str, TrainingSample]:
        """'main' and, where there is a control region, 'control'."""
        both = {"main": self.main, "control": self.control}
        return {name: sample for name, sample in both.items() if len(sample.jets)}

    def tensors(
        self, inputs: NetworkInputs, device: torch.device, kind: type[JetTensors] = JetTensors
    ) -> TrainingTensors:
        """Everything on the device: main jets first, then control jets.

        Args:
            inputs: constituents of the same jets.
            device: device of the network.
            kind: `DistantJets` leaves the constituents where they are.
        """
        jets = kind.of_inputs(inputs, [self.main.jets, self.control.jets], device, self.masses)
        target = np.concatenate([self.main.jets.label, self.control.is_data]).astype(np.int64)
        weight = np.concatenate([self.main.loss_weight, self.control.loss_weight]).astype(np.float32)
        return TrainingTensors(jets, torch.from_numpy(target).to(device), torch.from_numpy(weight).to(device))

    @property
    def digest(self) -> str:
        """Digest of jets, parts and weights, which must agree between processes that share a training."""
        told = hashlib.sha256()
        for sample in (self.main, self.control):
            for column in (sample.part, sample.loss_weight, sample.jets.label, sample.jets["jet_pt"]):
                told.update(np.ascontiguousarray(column).tobytes())
        return told.hexdigest()

    def control_positions(self, part: Part) -> NDArray[np.int64]:
        """Positions of control jets in `tensors`."""
        return self.control.positions(part) + len(self.main.jets)
