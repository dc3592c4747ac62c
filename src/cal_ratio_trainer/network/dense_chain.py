"""Dense layers one after the other with ReLU and dropout between them; the gradient takes as few passes as it can."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.engine import Engine, chain_fits
from cal_ratio_trainer.network.layers import Activation, Dense


@dataclass(frozen=True)
class ChainPlan:
    """Properties of a chain before it runs.

    Attributes:
        activations: behind each layer but the last.
        input_scale: factor on the input (a dropout's, put off until here).
        transposed: give [units, rows], as the recurrence reads it.
    """

    activations: tuple[Activation, ...]
    input_scale: float = 1.0
    transposed: bool = False

    @property
    def scales(self) -> tuple[float, ...]:
        """Factor on the input of each layer."""
        return (self.input_scale, *(activation.scale for activation in self.activations))


def dense_chain(x: Tensor, layers: Sequence[Dense], plan: ChainPlan) -> Tensor:
    """The outputs of the last layer.

    Args:
        x: [rows, inputs].
        layers: one more than the plan has activations.
        plan: operations between them.

    Returns:
        [rows, units], or [units, rows] where the plan says so.
    """
    weights = [weight for layer in layers for weight in (layer.kernel, layer.bias)]
    if plan.activations and plan.activations[0].engine is Engine.NUMBA:
        from cal_ratio_trainer.network.kernels.cpu.dense import numba_chain

        outputs = numba_chain(x, weights, plan.scales, plan.activations)
        return outputs if plan.transposed else outputs.t()
    if _in_one_kernel(x, layers, plan):
        from cal_ratio_trainer.network.kernels.gpu.dense import triton_chain

        outputs = triton_chain(x, weights, plan.activations)
        return outputs if plan.transposed else outputs.t()
    result: Tensor = _DenseChain.apply(x, plan, *weights)  # type: ignore[no-untyped-call]
    return result


def _in_one_kernel(x: Tensor, layers: Sequence[Dense], plan: ChainPlan) -> bool:
    """True where a GPU takes all layers at once; wide ones are left to PyTorch's products."""
    on_gpu = bool(plan.activations) and plan.activations[0].engine is Engine.TRITON
    plain_input = plan.input_scale == 1.0 and not x.requires_grad
    return on_gpu and plain_input and chain_fits([x.shape[1], *(layer.kernel.shape[1] for layer in layers)])


class _DenseChain(torch.autograd.Function):
    """PyTorch's products with a hand-written gradient; keeps scaled kernels and the input of every layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: ChainPlan, *weights: Tensor) -> Tensor:
        kernels = [
            kernel if scale == 1.0 else kernel * scale for kernel, scale in zip(weights[::2], plan.scales, strict=True)
        ]
        inputs = [x]
        for kernel, bias, activation in zip(kernels, weights[1::2], plan.activations, strict=False):
            inputs.append(activation(inputs[-1], kernel, bias))
        ctx.plan = plan
        ctx.save_for_backward(*kernels, *inputs)
        if plan.transposed:
            return torch.addmm(weights[-1][:, None], kernels[-1].t(), inputs[-1].t())
        return torch.addmm(weights[-1], inputs[-1], kernels[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        plan, layers = ctx.plan, len(ctx.plan.scales)
        kernels, inputs = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        dz = gradient.t() if plan.transposed else gradient
        bias_gradient = dz.sum(dim=0)
        gradients: list[Tensor | None] = []
        for i in reversed(range(layers)):
            kernel_gradient = inputs[i].t() @ dz
            gradients = [kernel_gradient.mul_(plan.scales[i]), bias_gradient, *gradients]
            if i:
                dz = dz @ kernels[i].t()
                bias_gradient = plan.activations[i - 1].gradient_(dz, inputs[i])
        return (dz @ kernels[0].t() if ctx.needs_input_grad[0] else None), None, *gradients
