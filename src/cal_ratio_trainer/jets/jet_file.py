"""What every opened file of jets can do, whatever its format."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.table import Jets

ROWS_A_BATCH = 16384


@dataclass(frozen=True)
class LoadReport:
    """What was met in a file that says little of itself.

    Attributes:
        layout: 'ragged Parquet', 'flat Parquet' or 'pickled frame'.
        absent: event columns that are null because the file lacks them, or holds them rounded.
        dropped: columns that were left out, by their names in the file.
        renamed: name in the file -> today's name, of scalar columns.
    """

    layout: str
    absent: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def looks_like_control_region(self) -> bool:
        """True for a frame without the masses of signal, which every main file has, if only as zeros."""
        return "llp_mH" in self.absent

    def sentences(self) -> list[str]:
        """What a reader should know, a sentence each."""
        return [f"not in the file, therefore unknown: {', '.join(self.absent)}"] if self.absent else []


class JetFile(ABC):
    """One opened file of jets; made by `cal_ratio_trainer.jets.loading.open_jets`.

    Attributes:
        path: the file.
        metadata: what it says of itself; stage 'unknown' for flat frames.
        report: what was met while opening it.
        rows: how many jets it holds.
    """

    path: Path
    metadata: JetMetadata
    report: LoadReport
    rows: int

    @abstractmethod
    def scalar_names(self) -> list[str]:
        """Names of the scalar columns that `batches` will give."""

    @abstractmethod
    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named scalar columns of all jets, without reading constituents. Raises MissingColumn."""

    @abstractmethod
    def batches(self, rows: int = ROWS_A_BATCH) -> Iterator[Jets]:
        """All jets in order, at most `rows` at a time; all batches have the same columns and padding rows."""
