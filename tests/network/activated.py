"""Activation of a dense layer by any engine; the loops of the CPU engine accept only a chain of layers."""

import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, Dense


def activated(behind: Activation, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The activated outputs [rows, units] of a layer that reads x [rows, inputs]."""
    if behind.engine is not Engine.NUMBA:
        return behind(x, kernel, bias)
    units = kernel.shape[1]
    # The second layer is the identity; its input already includes the factor of the dropout.
    layers = [dense(kernel, bias), dense(torch.eye(units), torch.zeros(units))]
    return dense_chain(x, layers, ChainPlan((behind,))) / behind.scale


def dense(kernel: torch.Tensor, bias: torch.Tensor) -> Dense:
    """Layer with these weights."""
    layer = Dense(kernel.shape[0], kernel.shape[1], torch.Generator())
    layer.kernel, layer.bias = torch.nn.Parameter(kernel), torch.nn.Parameter(bias)
    return layer
