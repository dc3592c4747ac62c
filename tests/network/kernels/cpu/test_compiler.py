"""Compilation of the loops without a cache folder of numba."""

import subprocess
import sys

WITHOUT_A_FOLDER = """
import numba.core.caching as caching
import numpy as np

for kind in (caching.CacheImpl, *caching.CacheImpl.__subclasses__()):
    kind._locator_classes = []

from cal_ratio_trainer.network.kernels.cpu.dense import chain_forward

weights = np.array([1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0], np.float32)
dropout = (np.zeros((1, 2), np.uint32), np.zeros(1, np.uint32), np.ones(1, np.float32), np.zeros(0, np.int64), 2)
values, out = np.array([[-2, 1], [2, -5]], np.float32), np.empty((2, 2), np.float32)
chain_forward((0, 1, 0), values, (np.array([2, 2, 2]), weights), dropout, out)
print(out.T.tolist())
"""


def test_they_are_compiled_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_A_FOLDER], check=True, capture_output=True, text=True)
    assert done.stdout == "[[0.0, 2.0], [3.0, 0.0]]\n"
