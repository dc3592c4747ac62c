"""Jets of any file, batch by batch, as the network reads them: built files, converted files, old frames, ntuples."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.datasets.training_file import refuse_other_scaling, refuse_wrong_scale
from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.jets import DataType, Jets, JetScalars
from cal_ratio_trainer.jets.cleaning import refuse_impossible_pt
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH
from cal_ratio_trainer.jets.loading import CleaningReport, clean_for_training, is_built, open_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS, Schema
from cal_ratio_trainer.scoring.blinding import Origin

Region = Literal["main", "control"]

UNLABELLED = "jets"
"""Name of the one class of jets whose labels are not known."""

_JETS_TO_JUDGE_BY = 4096


@dataclass(frozen=True)
class JetBatch:
    """Batch of jets.

    Attributes:
        jets: scaled, with finite inputs.
        jet_pt_gev: [jets] unscaled, in GeV; not finite where the file's is not.
        converted: the same jets before they were scaled; None of files that hold scaled ones.
        cleaning: unusual values in them.
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
        scaling: range in GeV that jets are scaled with for the network.
        keep_columns: further columns or branches to carry along.
        size: number of jets (or of events, for an ntuple).
        unit: 'jets' or 'events'.
        region: whether label 2 is BIB or data.
        labelled: False where labels mean nothing.
        simulation: as in the file's metadata.
        origin: origin of the jets.
        notes: notes for the user, one sentence each; complete after the last batch.
        oddities: numbers of unusual values in a piece; complete after its last batch.
    """

    size: int
    unit: str
    region: Region
    labelled: bool
    simulation: str | None
    origin: Origin

    def __init__(self, name: str, path: Path | None, scaling: Scaling, keep_columns: Sequence[str]) -> None:
        self.name, self.path = name, path
        self.scaling, self.keep_columns = scaling, tuple(dict.fromkeys(keep_columns))
        self.notes: list[str] = []
        self.oddities: Counter[str] = Counter()

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
        """Adds the observations in the pieces to the notes, as `batches` does itself."""
        raise TypeError(f"{self.name} has no pieces")


class FileOfJets(JetStream):
    """A file that `open_jets` reads: of ours, or a frame of the earlier program."""

    unit = "jets"
    labelled = True

    def __init__(
        self,
        name: str,
        path: Path,
        reading: ReadingSettings,
        scaling: Scaling,
        schema: Schema,
        keep_columns: Sequence[str],
    ) -> None:
        """Opens a file; arguments and errors as `scoring.inputs.open_stream`."""
        super().__init__(name, path, scaling, keep_columns)
        self._file = open_jets(path, schema)
        metadata, report, columns = self._file.metadata, self._file.report, self._file.scalar_names()
        self.size, self.simulation = self._file.rows, metadata.simulation
        self.region = metadata.kind or reading.kind or "main"
        if metadata.kind is None and metadata.data_type is DataType.DATA:
            self.region = "control"
        is_control = (metadata.kind or reading.kind) == "control"
        self.origin = Origin(metadata.data_type, self.labelled, is_control=is_control)
        self.notes += report.sentences()
        if metadata.stage == "unknown" and reading.kind is None and report.looks_like_control_region:
            self.region = "control"
            self.notes.append("taken for a control region, for it knows no masses; --kind main says otherwise")
        missing = [name for name in self.keep_columns if name not in columns]
        if missing and self.size:
            raise MissingColumn(path, missing, columns)
        if metadata.stage == "unknown" and self.size:
            self._built = is_built(metadata, next(self._file.batches(_JETS_TO_JUDGE_BY)))
        else:
            self._built = metadata.stage != "converted"
        if self._built:
            refuse_other_scaling(path, metadata.scaling, scaling, "give the converted files instead")
            refuse_wrong_scale(path, JetScalars(self._file.scalars(list(REQUIRED_SCALARS))), metadata)
        else:
            refuse_impossible_pt(path, self._file.scalars(["jet_pt"]).column("jet_pt").to_numpy())
            if metadata.stage == "unknown":
                self.notes.append("the jets are in GeV and were scaled")

    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches`."""
        for jets in self._file.batches(ROWS_A_BATCH):
            yield (_built_batch if self._built else converted_batch)(jets, self.scaling), len(jets)


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
