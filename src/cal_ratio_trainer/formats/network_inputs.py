"""Jets as the arrays that a network file takes: padded, in the order of its inputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.schema import JET_INPUTS
from cal_ratio_trainer.network.shape import NetworkShape

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkInputs:
    """The inputs of a network for a number of jets.

    Attributes:
        arrays: for each branch [jets, slots, inputs + masses], then [jets, 3 + masses]; float32.
    """

    arrays: tuple[FloatArray, ...]

    def __len__(self) -> int:
        return len(self.arrays[-1])

    def take(self, jets: NDArray[np.integer]) -> "NetworkInputs":
        """The jets at the given positions, in that order."""
        return NetworkInputs(tuple(array[jets] for array in self.arrays))

    def followed_by(self, others: "NetworkInputs") -> "NetworkInputs":
        """These jets, then others for the same network."""
        pairs = zip(self.arrays, others.arrays, strict=True)
        return NetworkInputs(tuple(np.concatenate(pair) for pair in pairs))

    def of(self, jet: int) -> tuple[FloatArray, ...]:
        """The inputs of one jet, without the axis of the jets."""
        return tuple(array[jet] for array in self.arrays)


def padded_inputs(jets: Jets, shape: NetworkShape, masses: NDArray[np.float32] | None = None) -> NetworkInputs:
    """Jets padded to the slots of a network, what it reads of them only.

    Args:
        jets: scaled, or as converted; the result is the same.
        shape: the network's shape.
        masses: [jets, masses] for a parametrised network, appended to each constituent and to the jet's own numbers.
    """
    return NetworkInputs((*constituent_inputs(jets, shape, masses), jet_inputs(jets, masses)))


def constituent_inputs(
    jets: Jets, shape: NetworkShape, masses: NDArray[np.float32] | None = None
) -> tuple[FloatArray, ...]:
    """For each branch [jets, slots, inputs + masses]; arguments as `padded_inputs`."""
    kinds = {kind.name: kind for kind in CONSTITUENTS}
    arrays = []
    for branch in shape.branches:
        ragged = jets.constituents[branch.name]
        padded = ragged.padded(branch.slots)[:, :, list(kinds[branch.name].inputs)]
        if masses is not None:
            filled = np.arange(branch.slots) < ragged.lengths[:, None]
            padded = np.concatenate([padded, filled[:, :, None] * masses[:, None, :]], axis=2)
        arrays.append(np.ascontiguousarray(padded, dtype=np.float32))
    return tuple(arrays)


def jet_inputs(jets: Jets, masses: NDArray[np.float32] | None = None) -> FloatArray:
    """The jets' own numbers, [jets, 3 + masses]."""
    own = [jets[name][:, None] for name in JET_INPUTS]
    return np.concatenate([*own, *([] if masses is None else [masses])], axis=1).astype(np.float32)
