"""CPU threads as a matter of one training, where PyTorch has them as one of the process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads_given_back() -> Iterator[None]:
    """What follows the block computes with as many threads as what came before it, whatever was set within."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
