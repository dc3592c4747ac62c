"""Preparation of this process so that steps run at full speed: memory allocator, CPU threads, compiled loops."""

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.network.activation import Activation
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.engine import Engine, engine_for
from cal_ratio_trainer.network.layers import Dense
from cal_ratio_trainer.training.step import TrainingStep
from cal_ratio_trainer.workers.child import ChildDied

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_JETS = 64
_NOTICE_AFTER_S = 1.0
_COMPILE_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process instead of giving it back to the system after every tensor.

    A step allocates and frees the same hundreds of megabytes again and again; with glibc's defaults each time in fresh
    pages, which the kernel must clear first: twice the time of a step. Only glibc has this setting (`mallopt(3)`).

    Returns:
        True where it was set.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Large tensors must not have mappings of their own: these are given back whatever the other settings say.
    settings = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_MAX, 0), (_TOP_PAD, 64 * 1024 * 1024))
    done = all(mallopt(name, value) == 1 for name, value in settings)
    _log.debug("freed memory is kept: %s", done)
    return done


@contextmanager
def restored_threads() -> Iterator[None]:
    """Restores PyTorch's number of CPU threads after the block: it is a setting of the process, not of one training."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compile_loops(step: TrainingStep, data: TrainingTensors, say: Callable[[str], None]) -> float:
    """Sends a few jets through the network in each way that a training does; no weight changes.

    The engine's loops are compiled by it, so that no measured step includes compiling.

    Args:
        step: holds the network.
        data: all jets.
        say: receives a notice where compiling takes longer than a second.

    Returns:
        Duration. [s]
    """
    begin = time.perf_counter()
    notice = "compiling what computes the network, once on a machine: some ten seconds"
    timer = threading.Timer(_NOTICE_AFTER_S, say, [notice])
    timer.start()
    try:
        if engine_for(data.jets.device, torch.float32, step.classifier.engine) is Engine.NUMBA:
            _compile_in_two_processes()
        batch = data.jets.batch(np.arange(min(_JETS, len(data.target))))
        masks = DropoutSource(step.dropout, (step.seed,), data.jets.device)
        with torch.no_grad():
            step.classifier(batch)
            step.classifier(batch, masks)
        step.classifier(batch, masks).sum().backward()
        step.classifier_optimizer.zero_grad()
        if data.jets.device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        timer.cancel()
    return time.perf_counter() - begin


def _compile_in_two_processes() -> None:
    """Compiles the loops of dense layers here and those of the recurrence in a child, unless they are cached."""
    from cal_ratio_trainer.network.kernels.cpu.recurrence import compiling_beside

    with compiling_beside() as child:
        if child is None:
            return
        layers = [Dense(1, 1, torch.Generator()) for _ in range(2)]
        plan = ChainPlan((Activation(0.0, None, True, Engine.NUMBA, None),), transposed=True)
        dense_chain(torch.zeros(1, 1), layers, plan).sum().backward()  # type: ignore[no-untyped-call]
        with suppress(ChildDied):
            child.receive(_COMPILE_TIMEOUT_S)
