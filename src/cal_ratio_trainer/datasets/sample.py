"""Jets of a training from its main file and its control regions: scalars, parts, weights and masses.

Scalars decide which jets are used, in which part and with which weight; the constituents are read afterwards, in one
pass through each file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.datasets.splits import Part, UIntArray, event_words
from cal_ratio_trainer.datasets.training_file import TrainingFile
from cal_ratio_trainer.datasets.weights import WeightArray
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets import Jets, JetScalars, Ragged
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Schema


@dataclass(frozen=True)
class TrainingSample:
    """The jets of one file, or of several joined control regions, that a training uses.

    Attributes:
        file: origin of the jets.
        metadata: metadata of the file.
        jets: their scalars; inputs of the network are finite.
        part: [jets], see `Part`.
        loss_weight: [jets], as the loss uses it.
        weight: [jets], as plots, K-S and figures of merit use it.
        identity: columns that identify events in the split.
        source: the opened file, whose `rows` are those of the jets; None for joined control regions.
        name: name of a control region.
        share: share of a control region in the loss of the agreement; 0 for one that is judged only.
        notes: unusual values, one sentence each; known when the constituents were read.
        test_constituents: all features of the jets of the test part, in order, by kind; known then too.
        region_names: names of the joined control regions.
        region: [jets] uint8, position in `region_names` of the region of each jet.
    """

    file: Path
    metadata: JetMetadata
    jets: JetScalars
    part: NDArray[np.int8]
    loss_weight: WeightArray
    weight: WeightArray
    identity: str
    source: TrainingFile | None = None
    name: str = "main"
    share: float = 0.0
    notes: tuple[str, ...] = ()
    test_constituents: Mapping[str, Ragged] = field(default_factory=dict)
    region_names: tuple[str, ...] = ()
    region: NDArray[np.uint8] | None = None

    @classmethod
    def joined(cls, regions: Sequence[Self]) -> Self:
        """Control regions one after the other, at least one; file and metadata are those of the first."""
        first = regions[0]
        scalars = pa.concat_tables([each.jets.scalars for each in regions], promote_options="permissive")
        return replace(
            first,
            jets=replace(first.jets, scalars=scalars.unify_dictionaries()),
            part=np.concatenate([each.part for each in regions]),
            loss_weight=np.concatenate([each.loss_weight for each in regions]),
            weight=np.concatenate([each.weight for each in regions]),
            source=None,
            region_names=tuple(each.name for each in regions),
            region=np.repeat(np.arange(len(regions), dtype=np.uint8), [len(each.jets) for each in regions]),
        )

    @property
    def data_taking(self) -> DataTaking:
        """Origin of its jets, for the heading of figures."""
        known = "runNumber" in self.jets.scalars.column_names
        runs = self.jets.scalars.column("runNumber").to_numpy() if known else None
        return DataTaking.of_jets(self.jets.label, runs, self.metadata.simulation)

    def take(self, jets: IndexArray) -> Self:
        """The jets at some positions, rising, before their constituents are read."""
        source = None if self.source is None else replace(self.source, rows=self.source.rows[jets])
        return replace(
            self,
            jets=self.jets.take(jets),
            part=self.part[jets],
            loss_weight=self.loss_weight[jets],
            weight=self.weight[jets],
            source=source,
        )

    def positions(self, part: Part) -> IndexArray:
        """Positions of the jets of one part."""
        return self._positions[part]

    @cached_property
    def _positions(self) -> Mapping[Part, IndexArray]:
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
    """All jets of a training: main jets first, then those of the control regions in order.

    Attributes:
        main: signal, QCD and BIB.
        control: the control regions that are trained on, joined; without any the main sample without jets, so that
            metrics of it are NaN and figures empty.
        judged: the control regions that are judged only, joined; None without any.
        regions: all control regions, those of `control` first; without test constituents.
        masses: input of a parametrised network ([main + control + judged jets, 1 or 2], TeV); None for others.
    """

    main: TrainingSample
    control: TrainingSample
    judged: TrainingSample | None
    regions: tuple[TrainingSample, ...]
    masses: NDArray[np.float32] | None

    @classmethod
    def of(cls, main: TrainingSample, regions: Sequence[TrainingSample], masses: NDArray[np.float32] | None) -> Self:
        """Joins the control regions, those with a share in the loss before those that are judged only."""
        trained, judged = [each for each in regions if each.share], [each for each in regions if not each.share]
        control = TrainingSample.joined(trained) if trained else main.take(np.zeros(0, dtype=np.int64))
        return cls(main, control, TrainingSample.joined(judged) if judged else None, (*trained, *judged), masses)

    @property
    def samples(self) -> dict[str, TrainingSample]:
        """'main', 'control' if there are control regions, and 'judged' if some are judged only."""
        known = {"main": self.main, "control": self.control, "judged": self.judged}
        return {name: sample for name, sample in known.items() if sample is not None and len(sample.jets)}

    @property
    def compares_regions(self) -> bool:
        """True if results are shown for each control region: several, or some that are judged only."""
        return len(self.regions) > 1 or self.judged is not None

    @property
    def schema(self) -> Schema:
        """Features of the jets of all files."""
        return self.main.metadata.feature_schema

    @cached_property
    def sources(self) -> list[TrainingFile]:
        """The opened files, in the order in which a training holds their jets."""
        return [each.source for each in (self.main, *self.regions) if each.source is not None]

    @property
    def fill_slots(self) -> bool:
        """True if the padding rows of the files differ: empty slots of all then become constituents."""
        first, *others = (source.padding for source in self.sources)
        return any(not np.array_equal(first[name], other[name]) for other in others for name in first)

    @property
    def mean_constituents(self) -> dict[str, tuple[float, float]]:
        """Approximate mean number of constituents of a main and of a control-region jet to train on, by kind."""
        if self.fill_slots:
            return {kind.name: (kind.limit, kind.limit) for kind in self.schema.constituents}
        main, *files = (source.mean_constituents for source in self.sources)
        jets = [len(each.jets) for each in self.regions if each.share]
        control = {
            name: float(np.average([each[name] for each in files[: len(jets)]], weights=jets)) if jets else main[name]
            for name in main
        }
        return {kind.name: (main[kind.name], control[kind.name]) for kind in self.schema.constituents}

    @property
    def max_constituents(self) -> dict[str, int]:
        """Upper bound of the constituents of all files by kind; 0 if it is not known."""
        if self.fill_slots:
            jets = sum(len(source.rows) for source in self.sources)
            return {kind.name: kind.limit * jets for kind in self.schema.constituents}
        known = [source.opened.max_constituents() for source in self.sources]
        return {
            kind.name: sum(each[kind.name] for each in known) if all(kind.name in each for each in known) else 0
            for kind in self.schema.constituents
        }

    @property
    def digest(self) -> str:
        """Digest of jets, parts and weights, which must agree between processes that share a training."""
        told = hashlib.sha256()
        for sample in (self.main, self.control, *([] if self.judged is None else [self.judged])):
            for column in (sample.part, sample.loss_weight, sample.jets.label, sample.jets["jet_pt"]):
                told.update(np.ascontiguousarray(column).tobytes())
        return told.hexdigest()

    def control_positions(self, part: Part) -> IndexArray:
        """Positions of control jets among all jets."""
        return self.control.positions(part) + len(self.main.jets)

    def judged_positions(self, part: Part) -> IndexArray:
        """Positions among all jets of control jets that are judged only."""
        if self.judged is None:
            return np.zeros(0, dtype=np.int64)
        return self.judged.positions(part) + len(self.main.jets) + len(self.control.jets)

    def scored_main(self, part: Part, logits: Tensor) -> ScoredJets:
        """Main jets of a part with scores, without the masses and kinematics that metrics of an epoch do not need."""
        positions = self.main.positions(part)
        return ScoredJets(
            scores=logits.softmax(dim=1).cpu().numpy(),
            labels=self.main.jets.label[positions],
            weights=self.main.weight[positions],
        )

    def scored_control(self, sample: TrainingSample, part: Part, logits: Tensor) -> ScoredJets:
        """Jets of a part of `control` or `judged` with scores, by region if results are shown for each."""
        positions = sample.positions(part)
        has_regions = self.compares_regions and sample.region is not None
        return ScoredJets.control(
            scores=logits.softmax(dim=1).cpu().numpy(),
            is_data=sample.is_data[positions],
            weights=sample.weight[positions],
            scaled_pt=sample.jets["jet_pt"][positions],
            events=sample.events[positions],
            region_names=sample.region_names if has_regions else (),
            region=sample.region[positions] if has_regions and sample.region is not None else None,
        )
