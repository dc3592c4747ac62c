"""Files of jets that a user names, and their jets as the network reads them, batch by batch.

Training files, converted files, frames of the earlier program, and ntuples, which are converted and scaled in memory.
"""

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.datasets.training_file import refuse_other_scaling, refuse_wrong_scale
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.jets import DataType, Jets, JetScalars
from cal_ratio_trainer.jets.cleaning import (
    JETS_TO_JUDGE_BY,
    CleaningReport,
    clean_for_training,
    is_built,
    refuse_impossible_pt,
)
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import DataTaking, Scaling
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS, Schema
from cal_ratio_trainer.ntuple.chunk import convert_chunk
from cal_ratio_trainer.ntuple.events import WEIGHT, check_branches
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import JetSelection, files_matching
from cal_ratio_trainer.ntuple.summary import Tally, sentences
from cal_ratio_trainer.scoring.blinding import Origin
from cal_ratio_trainer.workers.pieces import cut

Region = Literal["main", "control"]

UNLABELLED = "jets"
"""Name of the one class of jets whose labels are not known."""

OFFICIAL_SCORE = re.compile(r"^jet_nn_(?!.*_index$)")
"""Names of columns with scores that the experiment's C++ computed; rankings (`_index`) are none."""

_ONE_A_JET = re.compile(r"vector<(double|float)>")
_TRUTH = ("llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")


@dataclass(frozen=True)
class JetBatch:
    """Batch of jets.

    Attributes:
        jets: scaled, with finite inputs.
        jet_pt_gev: [jets] unscaled, in GeV; not finite where the file's is not.
        converted: the same jets before they were scaled; None of files that hold scaled ones.
        cleaning: unusual values in them.
        without_fractions: clusters whose layer energies gave no fractions.
        other_contents: jets with the event numbers of others, see `PartLookup.other_contents`.
    """

    jets: Jets
    jet_pt_gev: NDArray[np.float32]
    converted: Jets | None
    cleaning: CleaningReport
    without_fractions: int = 0
    other_contents: int = 0

    def take(self, positions: NDArray[np.intp]) -> "JetBatch":
        """The jets at some positions, in that order; the counts stay those of all."""
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
        data_taking: origin of the jets, for the heading of figures.
        origin: origin of the jets.
        notes: notes for the user, one sentence each; complete after the last batch.
        unusual_values: their numbers in a piece, as `ntuple.summary.Tally.counts`; complete after its last batch.
    """

    size: int
    unit: str
    region: Region
    labelled: bool
    simulation: str | None
    data_taking: DataTaking
    origin: Origin

    def __init__(self, name: str, path: Path | None, scaling: Scaling, keep_columns: Sequence[str]) -> None:
        self.name, self.path = name, path
        self.scaling, self.keep_columns = scaling, tuple(dict.fromkeys(keep_columns))
        self.notes: list[str] = []
        self.unusual_values: Counter[str] = Counter()

    @abstractmethod
    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """All jets in order, and how many units of the file each batch used up."""

    def pieces(self, units: int) -> tuple[tuple[range, ...], ...]:
        """The file in pieces of about so many units, for `batches_of`; none where it is done as a whole."""
        return ()

    def batches_of(self, piece: tuple[range, ...]) -> Iterator[tuple[JetBatch, int]]:
        """The batches of one piece: just those that `batches` gives of it."""
        raise TypeError(f"{self.name} has no pieces")

    def note_unusual_values(self, counts: Counter[str]) -> None:
        """Adds the counts of all pieces to the notes, as `batches` does itself."""
        raise TypeError(f"{self.name} has no pieces")


class FileOfJets(JetStream):
    """A file that `open_jets` reads: one of this program, or a frame of the earlier program."""

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
        """Opens a file; arguments and errors as `open_stream`."""
        super().__init__(name, path, scaling, keep_columns)
        self._file = open_jets(path, schema)
        metadata, report, columns = self._file.metadata, self._file.report, self._file.scalar_names()
        self.size, self.simulation = self._file.rows, metadata.simulation
        self.data_taking = self._file.data_taking()
        self.region = metadata.kind or reading.kind or "main"
        if metadata.kind is None and metadata.data_type is DataType.DATA:
            self.region = "control"
        is_control = (metadata.kind or reading.kind) == "control"
        self.origin = Origin(metadata.data_type, self.labelled, is_control=is_control)
        self.notes += report.sentences()
        if metadata.stage == "unknown" and reading.kind is None and report.looks_like_control_region:
            self.region = "control"
            self.notes.append(
                "read as a control region because it has no masses of signal; --kind main reads it as a main file"
            )
        missing = [name for name in self.keep_columns if name not in columns]
        if missing and self.size:
            raise MissingColumn(path, missing, columns)
        if metadata.stage == "unknown" and self.size:
            self._built = is_built(metadata, self._file.first(JETS_TO_JUDGE_BY))
        else:
            self._built = metadata.stage != "converted"
        if self._built:
            refuse_other_scaling(path, metadata.scaling, scaling, "give the converted files instead")
            refuse_wrong_scale(path, JetScalars(self._file.scalars(list(REQUIRED_SCALARS))), metadata)
        else:
            refuse_impossible_pt(path, self._file.scalars(["jet_pt"]).column("jet_pt").to_numpy())
            if metadata.stage == "unknown":
                self.notes.append("the jets are in GeV; they were scaled as the network needs them")

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


def official_score_branches(typenames: dict[str, str]) -> list[str]:
    """The branches that hold scores which the C++ computed, one value per jet in the order of the jets."""
    return [name for name, kind in typenames.items() if OFFICIAL_SCORE.match(name) and _ONE_A_JET.search(kind)]


class NtupleStream(JetStream):
    """One ntuple; what convert's selection keeps of it, with the C++ scores."""

    unit = "events"

    def __init__(
        self,
        name: str,
        reading: ReadingSettings,
        scaling: Scaling,
        schema: Schema,
        keep_columns: Sequence[str],
    ) -> None:
        """Opens an ntuple; arguments and errors as `open_stream`."""
        super().__init__(name, None if is_remote(name) else Path(name), scaling, keep_columns)
        self._reading = reading
        with self._opened() as ntuple:
            self.size, self.simulation = ntuple.entries, ntuple.simulation()
            official = official_score_branches(ntuple.typenames)
            asked = reading.data_type
            self.data_taking = DataTaking(self.simulation, None if asked is None else asked.is_simulation)
            # Without a type every jet is kept, and its class is unknown.
            data_type = asked or (DataType.QCD if WEIGHT in ntuple.branches else DataType.DATA)
            self.labelled = asked is not None
            self.region = "control" if asked is DataType.DATA else reading.kind or "main"
            self.origin = Origin(asked, self.labelled, is_control=reading.kind == "control")
            self._selection = JetSelection(
                data_type=data_type,
                min_jet_pt=reading.min_jet_pt,
                max_jet_pt=reading.max_jet_pt,
                llp_mH=math.nan if reading.llp_mH is None else reading.llp_mH,
                llp_mS=math.nan if reading.llp_mS is None else reading.llp_mS,
                max_hlt_delta_r=reading.max_hlt_delta_r,
                keep_branches=tuple(dict.fromkeys([*official, *self.keep_columns])),
                schema=schema,
            )
            if ntuple.entries:
                check_branches(name, self._selection, ntuple.branches)
        if not self.labelled:
            self.notes.append("no data_type was given: every jet in the pt range is kept, without a label")

    def _opened(self) -> AbstractContextManager[Ntuple]:
        return opened(self.name, self._reading.cache_path)

    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches`."""
        with self._opened() as ntuple:
            chunks = tuple(ntuple.chunks(self._reading.chunk_events, ntuple.entries))
        yield from self.batches_of(chunks)
        self.note_unusual_values(self.unusual_values)

    def pieces(self, units: int) -> tuple[tuple[range, ...], ...]:
        """See `JetStream.pieces`."""
        if self.size <= units:
            return ()
        with self._opened() as ntuple:
            pieces = cut(ntuple.chunks(self._reading.chunk_events, ntuple.entries), units)
        return pieces if len(pieces) > 1 else ()

    def batches_of(self, piece: tuple[range, ...]) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches_of`; counts `unusual_values`."""
        tally = Tally(weighted=self._selection.data_type.is_simulation)
        with self._opened() as ntuple:
            for entries in piece:
                jets = self._with_known_truth(convert_chunk(ntuple, entries, self._selection, tally))
                ntuple.forget_older_pages()
                yield converted_batch(jets, self.scaling), len(entries)
        self.unusual_values = tally.counts

    def note_unusual_values(self, counts: Counter[str]) -> None:
        """See `JetStream.note_unusual_values`."""
        self.notes += sentences(counts)

    def _with_known_truth(self, jets: Jets) -> Jets:
        """Null where the type that was given for the selection says nothing of the truth."""
        if not self.labelled:
            unknown: dict[str, Any] = {
                name: pa.nulls(len(jets), jets.scalars.column(name).type) for name in _TRUTH if name in jets
            }
            return jets.with_columns(unknown)
        return jets


def files_named(words: Sequence[str]) -> list[str]:
    """The files that paths, patterns and URLs name, in order, each once.

    Raises:
        ConfigError: no words.
        InputFileError: a pattern matches nothing, or a path does not exist.
    """
    if not words:
        raise ConfigError(["no files of jets are given"])
    found: dict[str, None] = {}
    for word in words:
        files, reason = files_matching(word)
        missing = [file for file in files if not is_remote(file) and not Path(file).exists()]
        if reason or missing:
            raise InputFileError(word, reason or "no such file")
        found |= dict.fromkeys(files)
    return list(found)


def open_stream(
    name: str, reading: ReadingSettings, scaling: Scaling, schema: Schema, further: Sequence[str] = ()
) -> JetStream:
    """Opens a file of any kind that can be scored.

    Args:
        name: path or URL.
        reading: settings for reading files.
        scaling: of the training file of the network that is to read the jets.
        schema: features that the network reads.
        further: columns that are needed beside those that the settings name.

    Raises:
        InputFileError: it is missing, damaged, no file of jets, or scaled otherwise than the network's training file.
        MissingColumn: it lacks columns or branches, or features that the network reads.
        ForbiddenPickle: a pickle that asks for more than a frame.
    """
    columns = (*reading.keep_columns, *further)
    if _is_ntuple(name):
        return NtupleStream(name, reading, scaling, schema, columns)
    return FileOfJets(name, local_copy(name, reading.cache_path), reading, scaling, schema, columns)


def _is_ntuple(name: str) -> bool:
    if is_remote(name):
        return PurePosixPath(urlsplit(name).path).suffix == ".root"
    path = local_copy(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"root"
