"""Hash of 64-bit words: published values, which splits of earlier runs and kept samples depend on."""

import numpy as np

from cal_ratio_trainer.jets.hashing import scrambled


def test_words_are_those_of_splitmix64() -> None:
    # The generator's states from a seed are seed, seed + step, ...; its outputs are published for seed 1234567.
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + number * step) % 2**64 for number in range(5)], dtype=np.uint64)
    assert scrambled(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
