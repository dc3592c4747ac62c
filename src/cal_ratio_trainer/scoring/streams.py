"""Jets of any file, batch by batch, as the network reads them: built files, converted files, old frames, ntuples."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.datasets.training_file import refuse_other_scaling, refuse_wrong_scale
from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.jets import DataType, Jets, JetScalars
from cal_ratio_trainer.jets.cleaning import refuse_impossible_pt
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH
from cal_ratio_trainer.jets.loading import CleaningReport, clean_for_training, is_built, open_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS
from cal_ratio_trainer.scoring.blinding import Origin

Region = Literal["main", "control"]

UNLABELLED = "jets"
"""Name of the one class of jets whose labels are not known."""

_JETS_TO_JUDGE_BY = 4096


@dataclass(frozen=True)
class StreamOptions:
    """How files are to be read.

    Attributes:
        scaling: range in GeV that converted jets are scaled with.
        data_type: what ntuples hold; None: not known, all jets are kept and have no label.
        kind: 'main' or 'control' for files that do not say so.
        llp_mH, llp_mS: true masses of signal ntuples in GeV.
        min_jet_pt, max_jet_pt: of ntuples, which jets are kept. [GeV]
        max_hlt_delta_r: of BIB ntuples, as convert has it.
        chunk_events: how many events of an ntuple are in memory at a time.
        keep_columns: further columns or branches to carry along.
        cache_path: where copies of remote files are kept.
    """

    scaling: Scaling
    data_type: DataType | None = None
    kind: Region | None = None
    llp_mH: float | None = None
    llp_mS: float | None = None
    min_jet_pt: float = 40.0
    max_jet_pt: float = 500.0
    max_hlt_delta_r: float | None = None
    chunk_events: int = 4000
    keep_columns: tuple[str, ...] = ()
    cache_path: Path | None = None


@dataclass(frozen=True)
class JetBatch:
    """Some jets.

    Attributes:
        jets: scaled, with finite inputs.
        jet_pt_gev: [jets] unscaled, in GeV; not finite where the file's is not.
        converted: the same jets before they were scaled; None of files that hold scaled ones.
        cleaning: what was odd in them.
        without_fractions: clusters whose layer energies gave no fractions.
    """

    jets: Jets
    jet_pt_gev: NDArray[np.float32]
    converted: Jets | None
    cleaning: CleaningReport
    without_fractions: int = 0

    def take(self, positions: NDArray[np.intp]) -> "JetBatch":
        """The jets at some positions, in that order; what was odd is that of all."""
        return replace(
            self,
            jets=self.jets.take(positions),
            jet_pt_gev=self.jet_pt_gev[positions],
            converted=None if self.converted is None else self.converted.take(positions),
        )


class JetStream(ABC):
    """One opened file.

    Attributes:
        name: as the user gave it.
        path: on this machine; None for what is streamed.
        size: how many jets (or events, of an ntuple) it holds.
        unit: 'jets' or 'events'.
        region: whether label 2 is BIB or data.
        labelled: False where labels mean nothing.
        simulation: as in the file's metadata.
        origin: what is known of where the jets come from.
        notes: what a user should know, a sentence each; complete when the batches are through.
        oddities: what was met in a piece and how often; there when its batches are through.
    """

    name: str
    path: Path | None
    size: int
    unit: str
    region: Region
    labelled: bool
    simulation: str | None
    origin: Origin
    notes: list[str]
    oddities: Counter[str]

    @abstractmethod
    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """All jets in order, and how many units of the file each batch used up."""

    def pieces(self, units: int) -> tuple[tuple[range, ...], ...]:
        """The file in pieces of about so many units, for `batches_of`; none where it is done as a whole."""
        return ()

    def batches_of(self, piece: tuple[range, ...]) -> Iterator[tuple[JetBatch, int]]:
        """The batches of one piece: just those that `batches` gives of it."""
        raise TypeError(f"{self.name} has no pieces")

    def note_oddities(self, counts: Counter[str]) -> None:
        """Take what was met in the pieces into the notes, as `batches` does by itself."""
        raise TypeError(f"{self.name} has no pieces")


@dataclass
class FileOfJets(JetStream):
    """A file that `open_jets` reads: of ours, or a frame of the earlier program."""

    name: str
    path: Path
    options: StreamOptions
    size: int = 0
    unit: str = "jets"
    region: Region = "main"
    labelled: bool = True
    simulation: str | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = open_jets(self.path)
        metadata = self._file.metadata
        self.size, self.simulation = self._file.rows, metadata.simulation
        self.region = _region(metadata, self.options.kind)
        declared = metadata.kind or self.options.kind
        self.origin = Origin(metadata.data_type, self.labelled, is_control=declared == "control")
        self.notes += self._file.report.sentences()
        if metadata.stage == "unknown" and self.options.kind is None and self._file.report.looks_like_control_region:
            self.region = "control"
            self.notes.append("taken for a control region, for it knows no masses; --kind main says otherwise")
        missing = [name for name in self.options.keep_columns if name not in self._file.scalar_names()]
        if missing and self.size:
            raise MissingColumn(self.path, missing, self._file.scalar_names())
        if metadata.stage == "unknown" and self.size:
            self._built = is_built(metadata, next(self._file.batches(_JETS_TO_JUDGE_BY)))
        else:
            self._built = metadata.stage != "converted"
        if self._built:
            refuse_other_scaling(self.path, metadata.scaling, self.options.scaling, "give the converted files instead")
            refuse_wrong_scale(self.path, JetScalars(self._file.scalars(list(REQUIRED_SCALARS))), metadata)
        else:
            refuse_impossible_pt(self.path, self._file.scalars(["jet_pt"]).column("jet_pt").to_numpy())
            if metadata.stage == "unknown":
                self.notes.append("the jets are in GeV and were scaled")

    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches`."""
        for jets in self._file.batches(ROWS_A_BATCH):
            yield (_built_batch if self._built else converted_batch)(jets, self.options.scaling), len(jets)


def converted_batch(jets: Jets, scaling: Scaling) -> JetBatch:
    """A batch of jets in GeV."""
    scaled = scale(jets, scaling)
    cleaned, report = clean_for_training(scaled.jets)
    return JetBatch(cleaned, jets["jet_pt"].astype(np.float32), jets, report, scaled.clusters_without_fractions)


def _built_batch(jets: Jets, scaling: Scaling) -> JetBatch:
    cleaned, report = clean_for_training(jets)
    width = scaling.max_jet_pt - scaling.min_jet_pt
    in_gev = jets["jet_pt"].astype(np.float64) * width + scaling.min_jet_pt
    return JetBatch(cleaned, in_gev.astype(np.float32), None, report)


def _region(metadata: JetMetadata, asked: Region | None) -> Region:
    if metadata.kind is not None:
        return metadata.kind
    if metadata.data_type is not None:
        return "control" if metadata.data_type is DataType.DATA else asked or "main"
    return asked or "main"
