"""Opens, reads and writes files of jets of any layout: ragged or flat Parquet, pickled frames."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.files.atomic import refuse_unusable_file
from cal_ratio_trainer.files.parquet import open_parquet
from cal_ratio_trainer.jets.jet_file import JetFile, Writer, writing
from cal_ratio_trainer.jets.legacy.frames import FlatParquetFile, PickledFile
from cal_ratio_trainer.jets.legacy.writer import FlatParquetWriter, PickleWriter
from cal_ratio_trainer.jets.metadata import METADATA_KEY
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.jets.store import JetsWriter, RaggedFile
from cal_ratio_trainer.jets.table import Jets

Layout = Literal["ragged", "flat"]

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

_log = logging.getLogger(__name__)


class OutputExists(InputFileError):
    """The file to write exists already, and is not to be replaced."""


def writing_layout(path: Path, layout: Layout) -> AbstractContextManager[Writer]:
    """A writer to `path`: ragged Parquet, flat Parquet, or a pickled flat frame if the name ends in .pkl.

    The file appears when the block ends well, complete or not at all.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        return writing(path, PickleWriter)
    return writing(path, FlatParquetWriter if layout == "flat" else JetsWriter)


def check_output(path: Path, inputs: list[Path], overwrite: bool) -> None:
    """Checks that writing `path` destroys nothing.

    Raises:
        OutputExists: it exists and `overwrite` is not set.
        UnusableOutput: it is a folder, or cannot be written.
        InputFileError: it is one of the inputs.
    """
    refuse_unusable_file(path, "output_file")
    if any(path.resolve() == given.resolve() for given in inputs):
        raise InputFileError(path, "is an input and cannot be the output too")
    if path.exists() and not overwrite:
        raise OutputExists(path, "exists already; --overwrite replaces it")


def open_jets(path: Path, schema: Schema | None = None) -> JetFile:
    """Opens a file of jets of any format.

    Args:
        path: path of the file.
        schema: the features to read, e.g. the inputs of a network; None takes the features of the file.

    Raises:
        InputFileError: no such file, or no file of jets; says what it seems to be. Or its features have other units or
            scaling than in the schema.
        MissingColumn: a jet or constituent column is missing; names the missing columns of the schema.
        ForbiddenPickle: a pickle that asks for more than a frame.
    """
    if not path.is_file():
        raise InputFileError(path, "is a folder where a file of jets was expected" if path.is_dir() else "no such file")
    with path.open("rb") as file:
        start = file.read(8)
    for signature, reason in _FOREIGN.items():
        if start.startswith(signature):
            raise InputFileError(path, reason)
    flat: JetFile
    if start.startswith(b"PAR1"):
        opened = open_parquet(path)
        if METADATA_KEY in (opened.metadata.metadata or {}):
            return RaggedFile(path, schema)
        if any(name in CALRATIO_2019.list_columns for name in opened.schema_arrow.names):
            raise InputFileError(path, _WITHOUT_METADATA)
        flat = FlatParquetFile(path, opened)
    elif start[:1] == b"\x80":
        flat = PickledFile(path)
    else:
        raise InputFileError(path, "is neither a Parquet file nor a pickled frame" if start else "is empty")
    if schema is None or schema == CALRATIO_2019:
        return flat
    if missing := [name for name in schema.columns if name not in CALRATIO_2019.columns]:
        raise MissingColumn(path, missing, [*flat.scalar_names(), *CALRATIO_2019.list_columns])
    raise InputFileError(path, "is a flat frame, which can only be read with the features of calratio2019")


def read_jets(path: Path, schema: Schema | None = None) -> Jets:
    """All jets of a file of any format, in memory; the log has one warning about values that the file lacks.

    Peak memory: about 1.2 times the ragged jets; for a pickle its own size in addition.

    Args:
        path, schema: as in `open_jets`, also for the errors.
    """
    file = open_jets(path, schema)
    for sentence in file.report.sentences():
        _log.warning("%s: %s", path, sentence)
    return file.load()
