"""Joins many batches of jets into one table that is allocated once, so that memory peaks little above the result."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.jets.features import CONSTITUENTS, Constituent
from cal_ratio_trainer.jets.ragged import FloatArray, Ragged
from cal_ratio_trainer.jets.table import Jets

_GROWTH = 1.1
_UNKNOWN: Mapping[str, int] = MappingProxyType({})


class _Filling:
    """The lists of one kind while they grow."""

    def __init__(self, kind: Constituent, jets: int, most_constituents: int) -> None:
        # Memory that is never written to is never taken, so an upper bound costs nothing.
        self._features = len(kind.features)
        self._values = np.empty((most_constituents, len(kind.features)), dtype=np.float32)
        self._offsets = np.zeros(jets + 1, dtype=np.int64)
        self._padding: FloatArray = np.zeros(len(kind.features), dtype=np.float32)
        self._jets = self._constituents = 0

    def append(self, ragged: Ragged) -> None:
        end = self._constituents + len(ragged.values)
        if end > len(self._values):
            # Grows in place where the system can move pages; numpy zeroes what is added, so the steps are small.
            self._values.resize((max(end, int(_GROWTH * len(self._values))), self._features), refcheck=False)
        self._values[self._constituents : end] = ragged.values
        self._offsets[self._jets + 1 : self._jets + 1 + len(ragged)] = ragged.offsets[1:] + self._constituents
        self._padding = ragged.padding
        self._jets += len(ragged)
        self._constituents = end

    def finish(self) -> Ragged:
        return Ragged(self._values[: self._constituents], self._offsets, self._padding)


def join_batches(batches: Iterable[Jets], jets: int, most_constituents: Mapping[str, int] = _UNKNOWN) -> Jets:
    """One table of all batches; each batch is free as soon as it is copied.

    Args:
        batches: with the same columns and padding rows.
        jets: how many jets they hold together.
        most_constituents: for each kind's name an upper bound of their number, where it is known.
    """
    fillings = {kind.name: _Filling(kind, jets, most_constituents.get(kind.name, 0)) for kind in CONSTITUENTS}
    scalars: list[pa.Table] = []
    for batch in batches:
        scalars.append(batch.scalars)
        for name, filling in fillings.items():
            filling.append(batch.constituents[name])
    if not scalars:
        return Jets.empty()
    table = pa.concat_tables(scalars).unify_dictionaries().combine_chunks()
    return Jets(table, {name: filling.finish() for name, filling in fillings.items()})
