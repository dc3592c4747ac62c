"""Jets of a training: all that is known of them beside their constituents, their weights, the choice of masses."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part, UIntArray, event_words
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.jets import Jets, JetScalars, Label, Ragged
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata
from cal_ratio_trainer.jets.schema import GEV_A_TEV
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.inputs import NetworkInputs

_SELECTION_STREAM, _MASS_STREAM = 4, 5


def select_masses(jets: JetScalars, part: NDArray[np.int8], settings: TrainSettings) -> NDArray[np.int8]:
    """The parts of jets when only low or only high masses are trained on.

    In the training and the validation part signal of other masses is left out, and QCD and BIB are drawn down to the
    number of signal jets that stays. The test part stays whole.

    Raises:
        ConfigError: no signal jet has one of the masses; names those that are there.
    """
    if settings.masses == "all":
        return part
    wanted = settings.low_masses if settings.masses == "low" else settings.high_masses
    signal = jets.label == Label.SIGNAL
    higgs_mass = jets["llp_mH"]
    if np.isnan(higgs_mass[signal]).any():
        raise ConfigError([f"include_{settings.masses}_mass needs llp_mH, which signal jets of this file lack"])
    chosen = signal & np.isin(higgs_mass, wanted)
    if not chosen.any():
        there = ", ".join(f"{mass:g}" for mass in np.unique(higgs_mass[signal]))
        raise ConfigError([f"no signal has one of the {settings.masses} masses {wanted}; the file has mH {there} GeV"])
    result = part.copy()
    rng = np.random.default_rng([settings.seed, _SELECTION_STREAM])
    for stage in (Part.TRAIN, Part.VALIDATION):
        here = part == stage
        result[here & signal & ~chosen] = Part.UNUSED
        count = int((here & chosen).sum())
        for label in (Label.QCD, Label.BIB):
            background = np.flatnonzero(here & (jets.label == label))
            if len(background) < count:
                found = f"only {len(background)} {label.name} jets for {count} signal jets"
                _log.warning("%s in the %s part: all are used", found, stage.name.lower())
                continue
            result[rng.permutation(background)[count:]] = Part.UNUSED
    return result


def parametrised_masses(
    samples: Sequence[JetScalars], columns: Sequence[str], seed: int, trained: NDArray[np.bool_] | None = None
) -> NDArray[np.float32] | None:
    """The masses each jet is given, [jets of all samples, columns] in TeV; None for a network without masses.

    Signal has its own; every other jet gets those of a signal jet drawn at random, once for the whole run.

    Args:
        samples: main jets, then control-region jets.
        columns: 'llp_mH', 'llp_mS' or both.
        seed: of the run.
        trained: [main jets], which ones are trained on: only masses of signal among these are drawn, for a mass that
            background has and trained signal has not would give background away. None draws from all signal.

    Raises:
        InputFileError: signal jets lack a mass.
    """
    if not columns:
        return None
    main = samples[0]
    signal = main.label == Label.SIGNAL
    known = np.stack([main[name] for name in columns], axis=1)[signal] / GEV_A_TEV
    if not np.isfinite(known).all() or not (known > 0).all():
        raise InputFileError("main training file", f"signal jets without {' or '.join(columns)}; the network reads it")
    rng = np.random.default_rng([seed, _MASS_STREAM])
    total = sum(len(jets) for jets in samples)
    drawn_from = known if trained is None else known[trained[signal]]
    masses: NDArray[np.float32] = drawn_from[rng.integers(0, len(drawn_from), size=total)].astype(np.float32)
    masses[: len(main)][signal] = known
    return masses


WeightArray = NDArray[np.float64]
LabelArray = NDArray[np.int8]
BoolArray = NDArray[np.bool_]

_log = logging.getLogger(__name__)


def file_weights(jets: JetScalars, column: str, bad: Literal["error", "drop", "abs", "keep"], file: str) -> WeightArray:
    """The weights of a file, [jets]; NaN marks a jet that is to be dropped.

    Raises:
        MissingColumn: there is no such column.
        InputFileError: the column holds no numbers; negative or non-finite weights and `bad` is 'error', or non-finite
            ones and it is 'keep'.
    """
    if column not in jets:
        raise MissingColumn(file, [column], jets.scalars.column_names)
    try:
        weights = jets[column].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputFileError(file, f"column {column} holds no numbers, so it cannot be weights") from error
    infinite, negative = ~np.isfinite(weights), weights < 0
    found = f"{column} has {negative.sum()} negative and {infinite.sum()} non-finite values"
    if not (infinite.any() or negative.any()):
        return weights
    if bad == "error" or (bad == "keep" and infinite.any()):
        remedy = "abs" if bad == "keep" else "drop, abs or keep"
        raise InputFileError(file, f"{found}; set bad_weights to {remedy} to use it all the same")
    _log.warning("%s: %s (bad_weights: %s)", file, found, bad)
    if bad == "abs":
        weights = np.abs(weights)
    dropped = infinite | (negative if bad == "drop" else False)
    return np.where(dropped, np.nan, weights)


def loss_weights(
    weights: WeightArray, labels: LabelArray, trained: BoolArray, choice: Literal["file", "balanced", "none"]
) -> WeightArray:
    """The weights of main jets in the loss, [jets].

    Args:
        weights: the file's, [jets].
        labels: [jets].
        trained: [jets], which ones are trained on; these are balanced, the others scaled with them.
        choice: 'file' as they are; 'balanced' each class scaled to the same sum, on average 1 per jet; 'none' all 1.

    Raises:
        ValueError: the weights of the jets that are trained on, for 'balanced' those of a class, do not sum to more
            than 0.
    """
    if choice == "none":
        return np.ones_like(weights)
    if trained.any() and not weights[trained].sum() > 0:
        raise ValueError(f"the weights of the jets to train on sum to {weights[trained].sum():g}; expected more than 0")
    if choice == "file":
        return weights
    present = [label for label in Label if np.any(trained & (labels == label))]
    balanced = weights.copy()
    for label in present:
        of_class = labels == label
        total = weights[of_class & trained].sum()
        if not total > 0:
            raise ValueError(f"the weights of {label.name} sum to {total:g}; they cannot be balanced")
        balanced[of_class] *= trained.sum() / len(present) / total
    return balanced


def evaluation_weights(weights: WeightArray, labels: LabelArray) -> WeightArray:
    """QCD scaled so that its sum equals signal's, [jets]; what plots and figures of merit use."""
    signal, qcd = weights[labels == Label.SIGNAL].sum(), weights[labels == Label.QCD].sum()
    if not (signal > 0 and qcd > 0):
        return weights
    return np.where(labels == Label.QCD, weights * (signal / qcd), weights)


def matched_control_weights(weights: WeightArray, labels: LabelArray) -> WeightArray:
    """Control-region weights, [jets], with MC scaled so that its sum equals the data's.

    Raises:
        ValueError: MC or data is missing or does not sum to more than 0.
    """
    mc, data = weights[labels == CONTROL_MC].sum(), weights[labels == CONTROL_DATA].sum()
    if not (mc > 0 and data > 0):
        raise ValueError(f"control-region weights sum to {mc:g} for MC and {data:g} for data; both must be above 0")
    return np.where(labels == CONTROL_MC, weights * (data / mc), weights)


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

    @property
    def data_taking(self) -> DataTaking:
        """Origin of its jets, for the heading of figures."""
        known = "runNumber" in self.jets.scalars.column_names
        runs = self.jets.scalars.column("runNumber").to_numpy() if known else None
        return DataTaking.of_jets(self.jets.label, runs, self.metadata.simulation)

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
        if len(regions) < 2 and not judged:
            return cls(main, next(iter(regions.values()), None) or main.without_jets(), masses)
        return cls(
            main,
            TrainingSample.joined(regions) if regions else main.without_jets(),
            masses,
            TrainingSample.joined(judged) if judged else None,
            {name: replace(each, test_constituents={}) for name, each in {**regions, **judged}.items()},
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
        if self.control.region is not None and len(self.control.region_names) > 1:
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
