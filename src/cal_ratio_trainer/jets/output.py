"""One way to write jets batch by batch, in whichever layout was asked for."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.legacy.writer import flat_writing, is_pickle_name
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import writing
from cal_ratio_trainer.jets.table import Jets

Layout = Literal["ragged", "flat"]


class Writer(Protocol):
    """Interface of the writers of both layouts."""

    def write(self, jets: Jets) -> None:
        """Appends jets."""

    def finish(self, metadata: JetMetadata) -> None:
        """Completes the file."""


class OutputExists(InputFileError):
    """The file to write is there already, and nobody said that it may be replaced."""


def writing_layout(path: Path, layout: Layout) -> AbstractContextManager[Writer]:
    """A writer to `path`: ragged Parquet, flat Parquet, or a pickled flat frame where the name ends in .pkl.

    The file appears when the block ends well, complete or not at all.
    """
    return flat_writing(path) if layout == "flat" or is_pickle_name(path) else writing(path)


def check_output(path: Path, inputs: list[Path], overwrite: bool) -> None:
    """Checks that writing `path` destroys nothing.

    Raises:
        OutputExists: it exists and `overwrite` is not set.
        InputFileError: it is one of the inputs, or a folder.
    """
    if path.is_dir():
        raise InputFileError(path, "is a folder where the name of the output file was expected")
    if any(path.resolve() == given.resolve() for given in inputs):
        raise InputFileError(path, "is an input and cannot be the output too")
    if path.exists() and not overwrite:
        raise OutputExists(path, "exists already; --overwrite replaces it")
