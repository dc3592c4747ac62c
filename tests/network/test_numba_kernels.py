"""Compiled loops where there is no folder to keep them in."""

import subprocess
import sys

WITHOUT_A_FOLDER = """
import numba.core.caching as caching
import numpy as np

for kind in (caching.CacheImpl, *caching.CacheImpl.__subclasses__()):
    kind._locator_classes = []

from cal_ratio_trainer.network.numba_dense import relu_dropout

values = np.array([[-1, 2], [3, -4]], np.float32)
dropout = (np.zeros(2, np.uint32), np.uint32(0), np.zeros(0, np.int64))
relu_dropout((0, 1, 0), values, np.ones(2, np.float32), dropout, 2, np.float32(1))
print(values.tolist())
"""


def test_they_are_compiled_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_A_FOLDER], check=True, capture_output=True, text=True)
    assert done.stdout == "[[0.0, 3.0], [4.0, 0.0]]\n"
