"""Opens, loads and writes files of jets of any layout: ragged or flat Parquet, pickled frames."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.files.atomic import refuse_unusable_file
from cal_ratio_trainer.files.parquet import open_parquet
from cal_ratio_trainer.jets.filling import join_batches
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH, JetFile, LoadReport
from cal_ratio_trainer.jets.labels import checked_labels
from cal_ratio_trainer.jets.legacy.frames import FlatParquetFile, PickledFile
from cal_ratio_trainer.jets.legacy.writer import flat_writing, is_pickle_name
from cal_ratio_trainer.jets.metadata import METADATA_KEY, JetMetadata
from cal_ratio_trainer.jets.ragged import ListColumns
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.jets.store import (
    has_lists,
    is_ragged,
    iterate_jets,
    iterate_jets_within,
    iterate_lists,
    max_constituents,
    read_jets,
    read_metadata,
    read_scalars,
    row_group_edges,
    scalar_names,
    writing,
)
from cal_ratio_trainer.jets.table import Jets

Layout = Literal["ragged", "flat"]

_log = logging.getLogger(__name__)

_FOREIGN = {
    b"root": "is a ROOT file; make a file of jets of it with 'cr_trainer convert divertanalysis'",
    b"\x1f\x8b": "is compressed with gzip; unpack it first",
    b"BZh": "is compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "is compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"\x89HDF": "is an HDF5 file; jets come as Parquet files or pickled frames",
}

_WITHOUT_METADATA = (
    "has constituents in lists, but not the metadata that say how the jets were made and scaled (key "
    f"'{METADATA_KEY.decode()}' of the Parquet footer); the program that rewrote the file must copy them"
)


class Writer(Protocol):
    """Interface of the writers of both layouts."""

    def write(self, jets: Jets) -> None:
        """Appends jets."""

    def finish(self, metadata: JetMetadata) -> None:
        """Completes the file."""


class OutputExists(InputFileError):
    """The file to write exists already, and is not to be replaced."""


def writing_layout(path: Path, layout: Layout) -> AbstractContextManager[Writer]:
    """A writer to `path`: ragged Parquet, flat Parquet, or a pickled flat frame where the name ends in .pkl.

    The file appears when the block ends well, complete or not at all.
    """
    return flat_writing(path) if layout == "flat" or is_pickle_name(path) else writing(path)


def check_output(path: Path, inputs: list[Path], overwrite: bool) -> None:
    """Checks that writing `path` destroys nothing.

    Raises:
        OutputExists: it exists and `overwrite` is not set.
        UnusableOutput: it is a folder, or cannot be written where it is wanted.
        InputFileError: it is one of the inputs.
    """
    refuse_unusable_file(path, "output_file")
    if any(path.resolve() == given.resolve() for given in inputs):
        raise InputFileError(path, "is an input and cannot be the output too")
    if path.exists() and not overwrite:
        raise OutputExists(path, "exists already; --overwrite replaces it")


@dataclass(frozen=True)
class LoadedJets:
    """A whole file in memory."""

    jets: Jets
    metadata: JetMetadata
    report: LoadReport


class RaggedFile(JetFile):
    """A file of this program, of which the features of a schema are read."""

    def __init__(self, path: Path, schema: Schema | None = None) -> None:
        self.path, self.metadata, self.report = path, read_metadata(path, schema), LoadReport("ragged Parquet")
        labels = read_scalars(path, ["label"]).column("label").cast(pa.float64()).to_numpy()
        self.rows = len(checked_labels(path, labels))

    def scalar_names(self) -> list[str]:
        """All columns but those of constituents."""
        return scalar_names(self.path)

    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named columns. Raises MissingColumn."""
        return read_scalars(self.path, names)

    def batches(self, rows: int = ROWS_A_BATCH) -> Iterator[Jets]:
        """All jets in order, at most `rows` at a time."""
        return iterate_jets(self.path, rows, schema=self.schema)

    def lists(self) -> Iterator[Mapping[str, ListColumns]]:
        """The constituents of all jets in order, by kind, a row group at a time."""
        return iterate_lists(self.path, self.schema)

    def max_constituents(self) -> Mapping[str, int]:
        """For each kind's name at least as many constituents as there are."""
        return max_constituents(self.path)

    def edges(self) -> list[int]:
        """Edges of its row groups."""
        return row_group_edges(self.path)

    def batches_within(self, within: range) -> Iterator[Jets]:
        """The jets of some row groups in order."""
        return iterate_jets_within(self.path, within, schema=self.schema)


def open_jets(path: Path, schema: Schema | None = None) -> JetFile:
    """Opens a file of jets of any format.

    Args:
        path: the file.
        schema: the features to read, e.g. those of a network; None takes those of the file.

    Raises:
        InputFileError: no such file, or no file of jets; says what it seems to be. Or its features have other units or
            scaling than those of the schema.
        MissingColumn: a jet or constituent column is missing; names those of the schema that are.
        ForbiddenPickle: a pickle that asks for more than a frame.
    """
    if not path.is_file():
        raise InputFileError(path, "is a folder where a file of jets was expected" if path.is_dir() else "no such file")
    with path.open("rb") as file:
        start = file.read(8)
    for signature, reason in _FOREIGN.items():
        if start.startswith(signature):
            raise InputFileError(path, reason)
    if start.startswith(b"PAR1"):
        opened = open_parquet(path)
        if is_ragged(opened):
            return RaggedFile(path, schema)
        if has_lists(opened):
            raise InputFileError(path, _WITHOUT_METADATA)
        return _flat(FlatParquetFile(path, opened), schema)
    if start[:1] == b"\x80":
        return _flat(PickledFile(path), schema)
    raise InputFileError(path, "is neither a Parquet file nor a pickled frame" if start else "is empty")


def _flat(file: JetFile, schema: Schema | None) -> JetFile:
    """A flat frame, which can only be read with the features of 2019."""
    if schema is None or schema == CALRATIO_2019:
        return file
    if missing := [name for name in schema.columns if name not in CALRATIO_2019.columns]:
        raise MissingColumn(file.path, missing, [*file.scalar_names(), *CALRATIO_2019.list_columns])
    raise InputFileError(file.path, "is a flat frame, which can only be read with the features of calratio2019")


def load_jets(path: Path) -> LoadedJets:
    """A whole file of jets of any format in memory; unknown values in it are reported once, as a warning in the log.

    Peak memory: about 1.2 times the ragged jets; for a pickle its own size besides.

    Raises:
        InputFileError, MissingColumn, ForbiddenPickle: as `open_jets`.
    """
    file = open_jets(path)
    for sentence in file.report.sentences():
        _log.warning("%s: %s", path, sentence)
    if isinstance(file, RaggedFile):
        return LoadedJets(read_jets(path, schema=file.schema), file.metadata, file.report)
    return LoadedJets(join_batches(file.batches(), file.rows), file.metadata, file.report)
