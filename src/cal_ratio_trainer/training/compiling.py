"""The engine's loops are compiled before the first step, so that no figure of a step's speed counts it."""

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch

from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.network.activation import Activation
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.engine import Engine, engine_for
from cal_ratio_trainer.network.kernels.cpu.compile_process import recurrence_beside
from cal_ratio_trainer.network.layers import Dense
from cal_ratio_trainer.training.step import AdversarialStep

_JETS = 64
_SILENT_S = 1.0
_PATIENCE_S = 60.0


def compile_loops(step: AdversarialStep, data: TrainingTensors, say: Callable[[str], None]) -> float:
    """Send a few jets through the network in each way that a training does; nothing that is trained changes.

    Args:
        step: holds the network.
        data: all jets.
        say: told what takes so long, where it does.

    Returns:
        How long it took. [s]
    """
    begin = time.perf_counter()
    told = threading.Timer(_SILENT_S, say, ["compiling what computes the network, once on a machine: some ten seconds"])
    told.start()
    try:
        if engine_for(data.jets.device, torch.float32, step.classifier.engine) is Engine.NUMBA:
            _compile_at_two_places()
        batch = data.jets.batch(np.arange(min(_JETS, len(data.target))))
        masks = DropoutSource(step.losses.dropout, (step.seed,), data.jets.device)
        with torch.no_grad():
            step.classifier(batch)
            step.classifier(batch, masks)
        step.classifier(batch, masks).sum().backward()
        step.classifier_optimizer.zero_grad()
        if data.jets.device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        told.cancel()
    return time.perf_counter() - begin


def _compile_at_two_places() -> None:
    """The loops of dense layers here, those of the recurrence in another process, where nothing is on disk yet."""
    with recurrence_beside() as process:
        if process is None:
            return
        layers = [Dense(1, 1, torch.Generator()) for _ in range(2)]
        plan = ChainPlan((Activation(0.0, None, True, Engine.NUMBA, None),), transposed=True)
        dense_chain(torch.zeros(1, 1), layers, plan).sum().backward()  # type: ignore[no-untyped-call]
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
