"""The constituents of a data set as the network reads them, in host memory or in a file mapped into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cal_ratio_trainer.jets.filling import ListFilling
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema


@dataclass(frozen=True)
class NetworkInputs:
    """Constituents of all jets.

    Attributes:
        values: for each branch [constituents + 1, inputs] float32; the last row is what stands in an empty slot.
        offsets: for each branch [jets + 1] int64.
        schema: of the jets.
    """

    values: Mapping[str, FloatArray]
    offsets: Mapping[str, IndexArray]
    schema: Schema = CALRATIO_2019


class InputFilling:
    """The network's inputs while the jets come; all jets have the same padding rows.

    Args:
        jets: expected number.
        most: for each branch at least as many constituents as will come; 0 where that is not known.
        folder: folder for files that hold the values; None for memory.
        schema: of the jets.
    """

    def __init__(
        self,
        jets: int,
        most: Mapping[str, int],
        folder: Path | None = None,
        schema: Schema = CALRATIO_2019,
    ) -> None:
        self._schema = schema
        self._fillings = {
            kind.name: ListFilling(len(kind.inputs), jets, most[kind.name] and most[kind.name] + 1, folder)
            for kind in schema.constituents
        }
        self._padding: dict[str, FloatArray] = {}

    def append(self, lists: Mapping[str, Ragged]) -> None:
        """Adds jets. Raises ValueError where their padding rows are not those of the jets before."""
        for kind in self._schema.constituents:
            ragged = lists[kind.name]
            if not np.array_equal(self._padding.setdefault(kind.name, ragged.padding), ragged.padding):
                raise ValueError(f"{kind.name} with different padding rows cannot be read together")
            all_read = len(kind.inputs) == len(kind.features)
            values = ragged.values if all_read else ragged.values.T[list(kind.inputs)].T
            self._fillings[kind.name].append(values, ragged.lengths)

    def finish(self) -> NetworkInputs:
        """Inputs of all jets, each branch with its padding row as the last row."""
        for kind in self._schema.constituents:
            padding = self._padding.get(kind.name, np.zeros(len(kind.features), dtype=np.float32))
            self._fillings[kind.name].append_row(padding[list(kind.inputs)])
        found = {name: filling.finish() for name, filling in self._fillings.items()}
        values = {name: each[0] for name, each in found.items()}
        return NetworkInputs(values, {name: each[1] for name, each in found.items()}, self._schema)
