"""Jets kept for figures of merit: all of them up to a limit, above it an even sample, so that memory stays bounded."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.splits import mixed

MOST_KEPT = 1_000_000

_SCALE = 2.0**-64


@dataclass
class KeptJets:
    """Rows of arrays that grow batch by batch.

    Attributes:
        most: how many rows are kept; from then on each row stays with the same chance, wherever it stands.
        met: how many rows there were.
    """

    most: int = MOST_KEPT
    met: int = 0
    _threshold: float = 1.0
    _places: list[NDArray[np.float64]] = field(default_factory=list)
    _columns: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)

    def add(self, columns: dict[str, NDArray[np.generic]]) -> None:
        """Add rows: arrays [rows, ...] by name, the same names each time."""
        rows = len(next(iter(columns.values())))
        numbers = np.arange(self.met, self.met + rows, dtype=np.uint64)
        self.met += rows
        place = mixed(numbers).astype(np.float64) * _SCALE
        kept = place < self._threshold
        self._places.append(place[kept])
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values[kept])
        if sum(map(len, self._places)) > self.most:
            self._thin()

    @property
    def rows(self) -> int:
        """How many rows are kept."""
        return sum(map(len, self._places))

    def column(self, name: str) -> NDArray[np.generic]:
        """A column of the kept rows, in the order they came."""
        return np.concatenate(self._columns[name])

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def _thin(self) -> None:
        places = np.concatenate(self._places)
        # A bit below what is allowed, so that not every batch from now on thins again.
        self._threshold = float(np.partition(places, int(0.8 * self.most))[int(0.8 * self.most)])
        kept = places < self._threshold
        self._places = [places[kept]]
        self._columns = {name: [np.concatenate(values)[kept]] for name, values in self._columns.items()}
