"""Hash of 64-bit words, by which jets and events are told apart and drawn at random without a random state."""

import numpy as np
from numpy.typing import NDArray


def scrambled(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambled 64-bit words, [n]; every input bit moves every output bit, and different words stay different.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
