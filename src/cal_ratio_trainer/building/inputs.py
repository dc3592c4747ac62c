"""Which files a build reads: patterns, URLs, and whether each may go into this kind of training file."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.build import BuildInput
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.jets.jet_file import JetFile
from cal_ratio_trainer.jets.labels import DataType, Label
from cal_ratio_trainer.jets.loading import is_built

Kind = Literal["main", "control"]

_ADMITTED: dict[Kind, tuple[DataType, ...]] = {
    "main": (DataType.SIGNAL, DataType.QCD, DataType.BIB),
    "control": (DataType.QCD, DataType.DATA),
}
_JETS_TO_JUDGE_BY = 4096


class AlreadyBuilt(InputFileError):
    """The jets of a file have been scaled; scaling them again would spoil them."""


@dataclass(frozen=True)
class Source:
    """One file to read, and the entry of the settings that asked for it."""

    path: Path
    request: BuildInput
    given_as: str


def find_sources(requests: Sequence[BuildInput], cache_path: Path | None) -> list[Source]:
    """The files that paths, patterns and URLs name, in order; a pattern's files sorted by name.

    Raises:
        InputFileError: a path does not exist, a pattern has no match, a URL cannot be fetched.
    """
    return [source for request in requests for source in _sources_of(request, cache_path)]


def _sources_of(request: BuildInput, cache_path: Path | None) -> list[Source]:
    given = request.input_file
    if is_remote(given) or given.startswith("file://"):
        return [Source(local_copy(given, cache_path), request, given)]
    pattern = str(Path(given).expanduser())
    if Path(pattern).exists():
        return [Source(Path(pattern), request, given)]
    # Path.glob takes no absolute patterns.
    found = sorted(name for name in glob.glob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        has_wildcard = glob.has_magic(pattern)
        raise InputFileError(given, "no file matches this pattern" if has_wildcard else "no such file")
    return [Source(Path(name), request, name) for name in found]


def data_type_of(source: Source, file: JetFile) -> DataType | None:
    """What the jets of a file are, as it says itself or as the settings say; None where neither does.

    Raises:
        InputFileError: the two say different things.
    """
    said, asked = file.metadata.data_type, source.request.data_type
    if said is not None and asked is not None and said != asked:
        raise InputFileError(source.path, f"says that it holds {said} jets; the settings give data_type {asked}")
    return said or asked


def check_admitted(source: Source, file: JetFile, labels: NDArray[np.int8], kind: Kind) -> None:
    """See that the jets of a file may go into this kind of training file.

    Args:
        labels: of all its jets, [jets].

    Raises:
        InputFileError: they are of a data type or label that has no place there, or in a training file of another kind.
    """
    if file.metadata.kind not in (None, kind):
        raise InputFileError(source.path, f"is a {file.metadata.kind} training file, and kind is {kind}")
    data_type = data_type_of(source, file)
    if data_type is None:
        if kind == "control" and np.any(labels == Label.SIGNAL):
            raise InputFileError(source.path, "holds signal jets (label 1), which have no place in a control region")
        return
    if data_type not in _ADMITTED[kind]:
        admitted = ", ".join(_ADMITTED[kind])
        raise InputFileError(source.path, f"holds {data_type} jets; a {kind} file is built of {admitted}")
    if np.any(labels != data_type.label):
        other = int(labels[labels != data_type.label][0])
        raise InputFileError(source.path, f"holds jets of label {other}; {data_type} jets have {data_type.label:d}")


def holds_scaled_jets(file: JetFile) -> bool:
    """True for a training file, or a frame that the earlier program preprocessed."""
    # Jets are looked at only where the file does not say, for a whole row group is read for the first of them.
    stage = file.metadata.stage
    return is_built(file.metadata, file.first(_JETS_TO_JUDGE_BY)) if stage == "unknown" else stage == "built"
