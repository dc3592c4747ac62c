"""The first pass of a build: finds the input files and chooses which rows of each are taken.

Reads scalar columns only.
"""

import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.workers import Workers
from cal_ratio_trainer.config.build import BuildInput
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY, is_built, refuse_impossible_pt
from cal_ratio_trainer.jets.expressions import parse_condition
from cal_ratio_trainer.jets.jet_file import JetFile, LoadReport
from cal_ratio_trainer.jets.labels import CLASS_NAMES, CONTROL_DATA, CONTROL_MC, DataType, Label
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.workers.executor import Report

_log = logging.getLogger(__name__)

Kind = Literal["main", "control"]

_ADMITTED: dict[Kind, tuple[DataType, ...]] = {
    "main": (DataType.SIGNAL, DataType.QCD, DataType.BIB),
    "control": (DataType.QCD, DataType.DATA),
}

_LABEL_NAMES: dict[Kind, dict[int, str]] = {
    "main": {label: label.title for label in Label},
    "control": {CONTROL_MC: CLASS_NAMES["mc"], CONTROL_DATA: "multijet data"},
}

_ALWAYS = ("label", "jet_pt", "jet_eta", "jet_phi")

_WHERE_THERE = ("mcEventWeight", "runNumber", "eventNumber", "mcChannelNumber", "jet_index", "source_entry")


class AlreadyBuilt(InputFileError):
    """The jets of a file have been scaled; scaling them again would spoil them."""


@dataclass(frozen=True)
class InputSource:
    """One file to read, and the entry of the settings that asked for it."""

    path: Path
    request: BuildInput
    given_as: str


def find_sources(requests: Sequence[BuildInput], cache_path: Path | None) -> list[InputSource]:
    """The files that paths, patterns and URLs name, in order; a pattern's files sorted by name.

    Raises:
        InputFileError: a path does not exist, a pattern has no match, a URL cannot be fetched.
    """
    return [source for request in requests for source in _sources_of(request, cache_path)]


def _sources_of(request: BuildInput, cache_path: Path | None) -> list[InputSource]:
    given = request.input_file
    if is_remote(given) or given.startswith("file://"):
        return [InputSource(local_copy(given, cache_path), request, given)]
    pattern = str(Path(given).expanduser())
    if Path(pattern).exists():
        return [InputSource(Path(pattern), request, given)]
    # Path.glob takes no absolute patterns.
    found = sorted(name for name in glob.glob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        has_wildcard = glob.has_magic(pattern)
        raise InputFileError(given, "no file matches this pattern" if has_wildcard else "no such file")
    return [InputSource(Path(name), request, name) for name in found]


def data_type_of(source: InputSource, file: JetFile) -> DataType | None:
    """Data type of the jets of a file, from the file itself or the settings; None if neither has it.

    Raises:
        InputFileError: the two differ.
    """
    said, asked = file.metadata.data_type, source.request.data_type
    if said is not None and asked is not None and said != asked:
        raise InputFileError(source.path, f"holds {said} jets by its metadata, but the settings give data_type {asked}")
    return said or asked


def check_admitted(source: InputSource, file: JetFile, labels: NDArray[np.int8], kind: Kind) -> None:
    """Refuses a file whose jets do not belong in this kind of training file.

    Args:
        labels: labels of all its jets, [jets].

    Raises:
        InputFileError: they are of a data type or label that has no place there, or in a training file of another kind.
    """
    if file.metadata.kind not in (None, kind):
        raise InputFileError(source.path, f"is a {file.metadata.kind} training file, but kind is {kind}")
    data_type = data_type_of(source, file)
    if data_type is None:
        if kind == "control" and np.any(labels == Label.SIGNAL):
            raise InputFileError(source.path, "holds signal jets (label 1), which do not belong in a control region")
        return
    if data_type not in _ADMITTED[kind]:
        admitted = ", ".join(_ADMITTED[kind])
        raise InputFileError(source.path, f"holds {data_type} jets; a {kind} file is built of {admitted}")
    if np.any(labels != data_type.label):
        other = int(labels[labels != data_type.label][0])
        raise InputFileError(source.path, f"holds jets of label {other}; {data_type} jets have {data_type.label:d}")


def holds_scaled_jets(file: JetFile) -> bool:
    """True for a training file, or a frame that the earlier program preprocessed."""
    # Jets are read only if the metadata do not say: even the first of them takes a whole row group.
    stage = file.metadata.stage
    return is_built(file.metadata, file.first(JETS_TO_JUDGE_BY)) if stage == "unknown" else stage == "built"


def label_name(label: int, kind: Kind) -> str:
    """Name of the jets of a label in such a file."""
    return _LABEL_NAMES[kind].get(label, f"label {label}")


@dataclass(frozen=True)
class ScannedFile:
    """Result of the first pass for one file.

    Attributes:
        rows: number of jets in the file.
        passed: number of jets that pass the filter.
        taken: positions of the jets to take, rising, [taken] int64.
        columns: columns of the taken jets that identify, weigh and label them, and others that were asked for; without
            those that the file lacks.
        is_built: true if its jets are scaled; jet_pt of `columns` is in GeV all the same.
        scalar_names: all scalar columns of the file.
        edges: rows at which the file may be cut, see `JetFile.edges`.
        weights: new mcEventWeight of the taken jets, [taken]; None keeps that of the file.
    """

    source: InputSource
    metadata: JetMetadata
    report: LoadReport
    data_type: DataType | None
    rows: int
    passed: int
    taken: IndexArray
    columns: pa.Table
    is_built: bool = False
    scalar_names: tuple[str, ...] = ()
    edges: tuple[int, ...] = ()
    weights: NDArray[np.float64] | None = None

    @property
    def labels(self) -> NDArray[np.int8]:
        """Labels of the taken jets, [taken]."""
        return np.asarray(self.columns.column("label").to_numpy())

    @property
    def is_multijet(self) -> NDArray[np.bool_]:
        """True for taken jets with the label of multijets, [taken]; in a control region these are the simulation."""
        return np.asarray(self.labels == Label.QCD)


def scan_files(
    sources: list[InputSource], kind: Kind, seed: int, further: Sequence[str], workers: Workers
) -> list[ScannedFile]:
    """Reads all files, checks them, applies filters and draws samples.

    Args:
        sources: files in the order of the settings; the files of one entry are neighbours and share its num_events.
        kind: kind of training file.
        seed: seed of the sampling; each entry draws from a stream of its own.
        further: scalar columns to read besides, if they are there.
        workers: workers that read the files.

    Raises:
        InputFileError, MissingColumn, ForbiddenPickle: a file cannot be used for this.
        ExpressionError: a filter cannot be read or names an unknown column.
    """
    with progress("look at inputs", len(sources), "files") as line:
        looked_at = workers.results(
            _scan,
            ((source.given_as, (source, kind, tuple(further))) for source in sources),
            finished=lambda _: line.advance(),
        )
    scanned: list[ScannedFile] = []
    # Results from another process are copies, which no longer share the entry that they belong to.
    pairs = list(zip(sources, looked_at, strict=True))
    for number, (_, group) in enumerate(groupby(pairs, key=lambda pair: id(pair[0].request))):
        files = [replace(file, source=source) for source, file in group]
        scanned += _sampled(files, np.random.default_rng([seed, number]))
    for file in scanned:
        for sentence in file.report.sentences():
            _log.warning("%s: %s", file.source.path, sentence)
    return scanned


def _scan(report: Report, source: InputSource, kind: Kind, further: Sequence[str]) -> ScannedFile:
    file = open_jets(source.path)
    wanted = [name for name in dict.fromkeys([*_WHERE_THERE, *further]) if name not in _ALWAYS]
    columns = file.scalars([*_ALWAYS, *(name for name in wanted if name in file.scalar_names())])
    check_admitted(source, file, columns.column("label").to_numpy(), kind)
    is_built = file.rows > 0 and holds_scaled_jets(file)
    if is_built:
        scaling = file.metadata.scaling or LEGACY_SCALING
        scaled = columns.column("jet_pt").to_numpy().astype(np.float64)
        in_gev = (scaled * (scaling.max_jet_pt - scaling.min_jet_pt) + scaling.min_jet_pt).astype(np.float32)
        columns = with_column(columns, "jet_pt", pa.array(in_gev))
    refuse_impossible_pt(source.path, columns.column("jet_pt").to_numpy())
    taken = _filtered(source, file)
    return ScannedFile(
        source,
        file.metadata,
        file.report,
        data_type_of(source, file),
        file.rows,
        len(taken),
        taken,
        columns.take(pa.array(taken)),
        is_built,
        tuple(file.scalar_names()),
        tuple(file.edges()),
    )


def with_column(columns: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with a column added or replaced."""
    if name not in columns.column_names:
        return columns.append_column(name, values)
    return columns.set_column(columns.column_names.index(name), name, values)


def _filtered(source: InputSource, file: JetFile) -> IndexArray:
    if source.request.event_filter is None:
        return np.arange(file.rows, dtype=np.int64)
    condition = parse_condition(source.request.event_filter)
    if file.rows == 0:
        # A file from which no jet was kept has no columns to check.
        return np.zeros(0, dtype=np.int64)
    condition.check(file.scalar_names())
    table = file.scalars(["label", *sorted(condition.columns - {"label"})])
    columns: dict[str, NDArray[Any]] = {name: table.column(name).to_numpy() for name in table.column_names}
    return np.flatnonzero(condition.holds(columns)).astype(np.int64)


def _sampled(files: list[ScannedFile], random: np.random.Generator) -> list[ScannedFile]:
    """The files of one entry with as many jets taken as it asks for, drawn from all of them together."""
    wanted, there = files[0].source.request.num_events, sum(len(file.taken) for file in files)
    if wanted is None:
        return files
    if wanted >= there:
        if wanted > there:
            name = files[0].source.request.input_file
            _log.warning("%s: num_events is %d, but only %d jets are available; all are taken", name, wanted, there)
        return files
    drawn = np.sort(random.choice(there, wanted, replace=False))
    return list(_parts(files, drawn))


def _parts(files: list[ScannedFile], drawn: NDArray[np.int64]) -> Iterator[ScannedFile]:
    start = 0
    for file in files:
        end = start + len(file.taken)
        own = drawn[(drawn >= start) & (drawn < end)] - start
        yield replace(file, taken=file.taken[own], columns=file.columns.take(pa.array(own)))
        start = end
