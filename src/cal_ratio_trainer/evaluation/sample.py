"""A weighted sample of one number, and the checks every input of this package goes through."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.weights import effective_number

FloatArray = NDArray[np.floating[Any]]


class NonFiniteInput(UserError):
    """Values that a figure of merit is to be computed from are NaN or infinite; names which and how many."""

    def __init__(self, name: str, bad: int, total: int) -> None:
        self.name, self.bad, self.total = name, bad, total
        super().__init__(f"{bad} of {total} {name} are NaN or infinite; expected finite numbers")


def check_finite(name: str, values: FloatArray) -> None:
    """Refuse arrays with NaN or infinity.

    Raises:
        NonFiniteInput: some of the values are; `name` says of what, in the plural.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise NonFiniteInput(name, int(finite.size - np.count_nonzero(finite)), int(finite.size))


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one quantity with a weight each; checked when made.

    Attributes:
        values: [jets], any unit.
        weights: [jets]; may be negative (MC generators give such).

    Raises:
        NonFiniteInput: a value or weight is NaN or infinite.
        ValueError: not two one-dimensional arrays of one length.
    """

    values: FloatArray
    weights: FloatArray

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.shape != self.weights.shape:
            raise ValueError(f"values {self.values.shape} and weights {self.weights.shape} must be two equal [jets]")
        check_finite("values", self.values)
        check_finite("weights", self.weights)

    @classmethod
    def unweighted(cls, values: FloatArray) -> "Sample":
        """Every value with weight 1."""
        return cls(values, np.ones(len(values)))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def effective_number(self) -> float:
        """See `jets.weights.effective_number`."""
        return effective_number(self.weights)
