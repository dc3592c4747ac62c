"""Scored batches on their way from a piece of a file to the whole: with what is counted, without constituents."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.files.streams import StoredTable, append_table, read_table
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.cleaning import CleaningReport
from cal_ratio_trainer.scoring.parts import PartArray
from cal_ratio_trainer.scoring.score_file import PART, SCORE_COLUMNS
from cal_ratio_trainer.scoring.scorer import ScoreArray
from cal_ratio_trainer.scoring.streams import JetBatch

_JETS, _SCORES = "jets.", "scores."
_OF_DATA = "of_data"
_ODDITIES = b"oddities"


@dataclass(frozen=True)
class ScoredBatch:
    """Some jets with their scores and the rows of the file of scores.

    Attributes:
        scores: [jets, 3]; NaN where they are hidden.
        part: [jets].
        of_data: [jets] whether they are blinded; None where nothing of the file is.
    """

    batch: JetBatch
    scores: ScoreArray
    part: PartArray
    table: pa.Table
    of_data: NDArray[np.bool_] | None = None


def write_batches(path: Path, batches: Iterable[ScoredBatch]) -> tuple[StoredTable, ...]:
    """Write batches; returns where they are."""
    with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
        return tuple(append_table(file, _as_table(each), "zstd") for each in batches)


def read_batches(path: Path, batches: Sequence[StoredTable]) -> Iterator[ScoredBatch]:
    """The batches as they were, but that their jets have no constituents. Raises InputFileError where one is not."""
    with path.open("rb") as file:
        for each in batches:
            yield _from_table(read_table(file, each, path))


def _as_table(each: ScoredBatch) -> pa.Table:
    scalars = each.batch.jets.scalars
    columns = {f"{_JETS}{name}": scalars.column(name) for name in scalars.column_names}
    if each.of_data is not None:
        columns[_OF_DATA] = pa.array(each.of_data)
    columns |= {f"{_SCORES}{name}": each.table.column(name) for name in each.table.column_names}
    cleaning = each.batch.cleaning
    oddities = [cleaning.non_finite, cleaning.beyond_pi, each.batch.without_fractions]
    return pa.table(columns).replace_schema_metadata({_ODDITIES: json.dumps(oddities).encode()})


def _from_table(content: pa.Table) -> ScoredBatch:
    non_finite, beyond_pi, without_fractions = json.loads(content.schema.metadata[_ODDITIES])
    jets = Jets(_columns(content, _JETS), _no_constituents(len(content)))
    table = _columns(content, _SCORES)
    scores = np.stack([table.column(name).to_numpy() for name in SCORE_COLUMNS], axis=1)
    part = table.column(PART).combine_chunks().indices.to_numpy()
    cleaning = CleaningReport(non_finite=non_finite, beyond_pi=beyond_pi)
    batch = JetBatch(jets, np.empty(0, np.float32), None, cleaning, without_fractions)
    of_data = content.column(_OF_DATA).to_numpy() if _OF_DATA in content.column_names else None
    return ScoredBatch(batch, scores, part, table, of_data)


def _columns(content: pa.Table, prefix: str) -> pa.Table:
    names = [name for name in content.column_names if name.startswith(prefix)]
    chosen = content.select(names).rename_columns([name.removeprefix(prefix) for name in names])
    return chosen.replace_schema_metadata(None)


def _no_constituents(jets: int) -> dict[str, Ragged]:
    lengths = np.zeros(jets, dtype=np.int64)
    return {
        kind.name: Ragged.from_lengths(np.empty((0, len(kind.features)), np.float32), lengths) for kind in CONSTITUENTS
    }
