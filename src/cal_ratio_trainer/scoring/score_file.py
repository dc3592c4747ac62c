"""The Parquet file that scores go to: its columns, and writing it row group by row group."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.splits import FOLD, FoldArray
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import remove_remains, replacing
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.files.parquet import ParquetOutput, open_parquet
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.schema import SCALAR_TYPES
from cal_ratio_trainer.scoring.blinding import hidden
from cal_ratio_trainer.scoring.parts import JetPart, PartArray
from cal_ratio_trainer.scoring.scorer import ScoreArray
from cal_ratio_trainer.scoring.streams import OFFICIAL_SCORE, JetBatch
from cal_ratio_trainer.version import __version__

SCORE_COLUMNS = tuple(f"jet_nn_{label.output}" for label in Label)
SCORES_KEY = b"cal_ratio_trainer_scores"
PART = "part"
FOLDS = "folds"
"""Under this the description of a file says that a fold set made it, with its rule."""
MEMBERS = "members"
"""Under this the description of a file says that an ensemble made it, with the number of its networks."""
SPREAD = "jet_nn_sig_std"
"""Of an ensemble: the standard deviation of its members' signal output."""
BLINDED = "blinded"
"""Of a blinded file: whether the scores of a jet are hidden."""

BLIND_ABOVE = "blind_above"
"""Under this the description of a file says above which signal output scores of data are hidden."""

_ANY_SCORE = "jet_nn_"

_VERSION = 1
_BASE = (
    *("runNumber", "eventNumber", "jet_index", "mcChannelNumber", "source_file", "source_entry"),
    *("jet_pt", "jet_eta", "jet_phi", "label", "llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"),
    "mcEventWeight",
)
_CARRIED = ("jet_isClean_LooseBadLLP", "weight", "evaluation_weight")
_UNITS = {"jet_pt": "GeV", "jet_eta": "1", "jet_phi": "rad", "llp_mH": "GeV", "llp_mS": "GeV", "llp_pt": "GeV"} | {
    "llp_Lxy": "mm",
    "llp_Lz": "mm",
}
_ROWS_A_GROUP = 1 << 16
_FOLD_TYPE = pa.int8()
_PART_TYPE = pa.dictionary(pa.int8(), pa.string())


def score_table(
    batch: JetBatch,
    scores: ScoreArray,
    part: PartArray,
    *,
    labelled: bool,
    keep: Sequence[str] = (),
    folds: FoldArray | None = None,
    spread: ScoreArray | None = None,
    of_data: NDArray[np.bool_] | None = None,
) -> pa.Table:
    """The rows of some jets, in order.

    Args:
        batch: the jets.
        scores: [jets, 3].
        part: [jets], see `JetPart`.
        labelled: False writes null labels.
        keep: further columns to carry along, beside those that always are.
        folds: [jets] number of the network of a fold set that scored a jet; None where there is one network.
        spread: [jets] standard deviation of the signal output over the members of an ensemble; None without one. Hidden
            where the scores are.
        of_data: [jets] whether they are blinded: their hidden scores are null, and so are all scores of others; None
            where nothing is, and the column `BLINDED` is left out.
    """
    jets = batch.jets
    columns: dict[str, Any] = {name: _base_column(name, jets) for name in _BASE}
    columns["jet_pt"] = pa.array(batch.jet_pt_gev)
    if not labelled:
        columns["label"] = pa.nulls(len(jets), pa.int8())
    is_hidden = None if of_data is None else hidden(scores, of_data)
    columns |= {
        name: pa.array(np.ascontiguousarray(scores[:, i]), mask=is_hidden) for i, name in enumerate(SCORE_COLUMNS)
    }
    words = pa.array([each.word for each in JetPart])
    columns[PART] = pa.DictionaryArray.from_arrays(pa.array(part, pa.int8()), words)
    if folds is not None:
        columns[FOLD] = pa.array(folds, _FOLD_TYPE)
    if spread is not None:
        columns[SPREAD] = pa.array(spread, mask=is_hidden)
    if is_hidden is not None:
        columns[BLINDED] = pa.array(is_hidden)
    carried = {name: jets.scalars.column(name) for name in carried_columns(jets, keep)}
    if of_data is not None:
        scored_elsewhere = [name for name in carried if name.startswith(_ANY_SCORE)]
        visible = pa.array(~of_data)
        for name in scored_elsewhere:
            carried[name] = pc.if_else(visible, carried[name], pa.scalar(None, carried[name].type))
    return pa.table(columns | carried)


def carried_columns(jets: Jets, keep: Sequence[str] = ()) -> list[str]:
    """Columns of an input that go along beside those every file of scores has: other scores, weights, what is asked."""
    names = jets.scalars.column_names
    wanted = [name for name in names if name in (*_CARRIED, *keep) or OFFICIAL_SCORE.match(name)]
    return [name for name in wanted if name not in (*_BASE, *SCORE_COLUMNS, PART, FOLD, SPREAD, BLINDED)]


def _base_column(name: str, jets: Jets) -> Any:
    wanted = SCALAR_TYPES[name]
    if name not in jets:
        return pa.nulls(len(jets), wanted)
    column = jets.scalars.column(name)
    if pa.types.is_floating(wanted) and name.startswith("llp_"):
        # A mass that was not given is NaN, and written as null like every unknown value.
        values = column.to_numpy()
        return pa.array(values, wanted, mask=~np.isfinite(values))
    return column if column.type == wanted else column.cast(wanted)


class ScoreWriter:
    """Appends rows; made by `writing_scores`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetOutput | None = None
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Appends rows; all tables must have the same columns."""
        self.rows += len(table)
        self._waiting.append(table)
        if sum(len(each) for each in self._waiting) >= _ROWS_A_GROUP:
            self._flush()

    def finish(self, description: dict[str, Any]) -> None:
        """All rows are there; the file appears when the block of `writing_scores` ends.

        Args:
            description: goes into the file's metadata, as JSON.
        """
        if not self._waiting and self._writer is None:
            self._waiting.append(_no_rows(description))
        if self._waiting:
            self._flush()
        complete = {"version": _VERSION, "package_version": __version__, "units": _UNITS, "rows": self.rows}
        assert self._writer is not None
        self._writer.finish({SCORES_KEY: json.dumps(complete | description, default=str).encode()})

    def close(self) -> None:
        """Closes the file as it is."""
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        if self._writer is None:
            self._writer = ParquetOutput(self._path, table.schema, compression_level=1)
        self._writer.write(table)
        self._waiting.clear()


def _no_rows(description: dict[str, Any]) -> pa.Table:
    types = {name: SCALAR_TYPES[name] for name in _BASE}
    types |= dict.fromkeys(SCORE_COLUMNS, pa.float32()) | {PART: _PART_TYPE}
    types |= {FOLD: _FOLD_TYPE} if FOLDS in description else {}
    types |= {SPREAD: pa.float32()} if MEMBERS in description else {}
    types |= {BLINDED: pa.bool_()} if description.get(BLIND_ABOVE) is not None else {}
    return pa.table({name: pa.nulls(0, kind) for name, kind in types.items()})


@contextmanager
def writing_scores(path: Path, is_leased: bool = False) -> Iterator[ScoreWriter]:
    """A writer to `path`; the file appears, complete, when the block ends well.

    Args:
        path: the file.
        is_leased: the caller holds its lease already, and has removed what killed processes left.

    Raises:
        InputFileError: another process is writing it, or what is there is no file of scores.
        OSError: it cannot be written, or the disk is full; it is then as it was.
    """
    with nullcontext() if is_leased else leased(path) as lease:
        if lease is None and not is_leased:
            raise InputFileError(path, "is being written by another process")
        if path.exists() and not is_score_file(path):
            raise InputFileError(
                path, "exists and is no file of scores, so it is not replaced; give another --output_report"
            )
        if not is_leased:
            # The lease is held here, so the process that wrote them was killed.
            remove_remains(path)
        with replacing(path) as temporary:
            writer = ScoreWriter(temporary)
            try:
                yield writer
            finally:
                writer.close()


def is_score_file(path: Path) -> bool:
    """True for a file that `writing_scores` wrote."""
    try:
        return SCORES_KEY in (open_parquet(path).metadata.metadata or {})
    except InputFileError:
        return False
