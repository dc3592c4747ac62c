"""The jets that a training uses: what is known of them beside their constituents."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
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
        region: [jets] uint8, number of a control jet's region; None with less than two regions.
    """

    jets: JetTensors
    target: Tensor
    weight: Tensor
    region: Tensor | None = None


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
        region_names: of control regions that were joined; none of a single file.
        region: [jets], which of them each jet is from.
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
    region_names: tuple[str, ...] = ()
    region: NDArray[np.uint8] | None = None

    @classmethod
    def joined(cls, regions: Mapping[str, "TrainingSample"]) -> "TrainingSample":
        """Control regions one after the other, at least one; file and metadata are those of the first."""
        samples = list(regions.values())
        scalars = pa.concat_tables([each.jets.scalars for each in samples], promote_options="permissive")
        first = samples[0]
        return replace(
            first,
            jets=replace(first.jets, scalars=scalars.unify_dictionaries()),
            part=np.concatenate([each.part for each in samples]),
            loss_weight=np.concatenate([each.loss_weight for each in samples]),
            weight=np.concatenate([each.weight for each in samples]),
            notes=tuple(f"{name}: {note}" for name, each in regions.items() for note in each.notes),
            test_constituents={
                kind: Ragged.concatenate([each.test_constituents[kind] for each in samples])
                for kind in first.test_constituents
            },
            region_names=tuple(regions),
            region=np.repeat(np.arange(len(samples), dtype=np.uint8), [len(each.jets) for each in samples]),
        )

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
    """All samples of a training.

    Attributes:
        main: signal, QCD and BIB.
        control: the control regions that are trained on, joined where there are several; without any the main sample
            without jets, so that figures of it are NaN or empty.
        masses: what a parametrised network reads ([main + control + judged jets, 0, 1 or 2], TeV).
        judged: the control regions that are judged only, joined; None without any.
        regions: control regions by name, those of `control` first, without test constituents; none where there is but
            one, which is trained on.
    """

    main: TrainingSample
    control: TrainingSample
    masses: NDArray[np.float32] | None
    judged: TrainingSample | None = None
    regions: Mapping[str, TrainingSample] = field(default_factory=dict)

    @classmethod
    def of_regions(
        cls,
        main: TrainingSample,
        regions: Mapping[str, TrainingSample],
        judged: Mapping[str, TrainingSample],
        masses: NDArray[np.float32] | None,
    ) -> "TrainingData":
        """Joins the regions to train on, and those that are judged only."""
        control = next(iter(regions.values()), None) or main.without_jets()
        several = len(regions) > 1 or judged
        return cls(
            main,
            TrainingSample.joined(regions) if len(regions) > 1 else control,
            masses,
            TrainingSample.joined(judged) if judged else None,
            {name: replace(each, test_constituents={}) for name, each in {**regions, **judged}.items()}
            if several
            else {},
        )

    @property
    def samples(self) -> dict[str, TrainingSample]:
        """'main', where there are control regions 'control', and where some are judged only 'judged'."""
        known = {"main": self.main, "control": self.control, "judged": self.judged}
        return {name: sample for name, sample in known.items() if sample is not None and len(sample.jets)}

    def tensors(
        self, inputs: NetworkInputs, device: torch.device, kind: type[JetTensors] = JetTensors
    ) -> TrainingTensors:
        """Everything on the device: main jets first, then control jets, then those that are judged only.

        Args:
            inputs: constituents of the same jets.
            device: device of the network.
            kind: `DistantJets` leaves the constituents where they are.
        """
        of_control = [each for each in (self.control, self.judged) if each is not None]
        samples = [self.main, *of_control]
        jets = kind.of_inputs(inputs, [each.jets for each in samples], device, self.masses)
        target = np.concatenate([self.main.jets.label, *(each.is_data for each in of_control)]).astype(np.int64)
        weight = np.concatenate([each.loss_weight for each in samples]).astype(np.float32)
        region = None
        if self.control.region is not None:
            none = np.zeros(0, np.uint8) if self.judged is None else np.zeros(len(self.judged.jets), np.uint8)
            numbers = np.concatenate([np.zeros(len(self.main.jets), np.uint8), self.control.region, none])
            region = torch.from_numpy(numbers).to(device)
        return TrainingTensors(jets, torch.from_numpy(target).to(device), torch.from_numpy(weight).to(device), region)

    @property
    def digest(self) -> str:
        """Digest of jets, parts and weights, which must agree between processes that share a training."""
        told = hashlib.sha256()
        for sample in (self.main, self.control, *([] if self.judged is None else [self.judged])):
            for column in (sample.part, sample.loss_weight, sample.jets.label, sample.jets["jet_pt"]):
                told.update(np.ascontiguousarray(column).tobytes())
        return told.hexdigest()

    def control_positions(self, part: Part) -> NDArray[np.int64]:
        """Positions of control jets in `tensors`."""
        return self.control.positions(part) + len(self.main.jets)

    def judged_positions(self, part: Part) -> NDArray[np.int64]:
        """Positions in `tensors` of control jets that are judged only."""
        if self.judged is None:
            return np.zeros(0, dtype=np.int64)
        return self.judged.positions(part) + len(self.main.jets) + len(self.control.jets)
