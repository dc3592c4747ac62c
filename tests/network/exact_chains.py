"""Chains of dense layers on small integers, which single precision computes without rounding.

All sums stay far below 2^24 and all factors are multiples of 1/2, so the order of a sum does not matter: every engine
on every processor gives exactly the numbers of the plain formula in double precision, gradients included.
"""

import itertools
from collections.abc import Sequence

import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, Dense
from tests.network.activated import activated

_RATE = 0.5
_INPUTS_OF_A_UNIT = 3


def integers(largest: int, *shape: int, seed: int = 1) -> torch.Tensor:
    """Random integers of either sign, not above the largest."""
    return torch.randint(-largest, largest + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


def layers_of_integers(widths: Sequence[int]) -> list[Dense]:
    """Layers whose units each read three inputs, with weights 1 or -1, and have a bias between -1 and 1."""
    generator, layers = torch.Generator().manual_seed(sum(widths)), list[Dense]()
    for inputs, units in itertools.pairwise(widths):
        layer = Dense(inputs, units, generator)
        read = torch.rand(inputs, units, generator=generator).argsort(dim=0) < _INPUTS_OF_A_UNIT
        with torch.no_grad():
            layer.kernel.copy_(layer.kernel.sign() * read)
            layer.bias.copy_(integers(1, units, seed=units))
        layers.append(layer)
    return layers


def plan_of(
    engine: Engine,
    keys: Sequence[DropoutKey | None],
    *,
    empty_slot: bool = False,
    transposed: bool = True,
    input_scale: float = 1.0,
    mask_rows: MaskRows | None = None,
) -> ChainPlan:
    """A chain with a dropout of one half behind the layers that have a key."""
    activations = tuple(Activation(_RATE, key, empty_slot, engine, mask_rows) for key in keys)
    return ChainPlan(activations, input_scale, transposed)


def assert_exact(
    x: torch.Tensor, layers: Sequence[Dense], plan: ChainPlan, masked_by: ChainPlan, device: torch.device | str = "cpu"
) -> None:
    """Asserts that outputs and gradients of a chain are exactly those of the plain formula in double precision.

    Args:
        x: [rows, inputs], integers.
        layers: of integers.
        plan: of the chain.
        masked_by: the same plan for an engine of the CPU, whose masks the formula takes.
        device: device of the chain.
    """
    weights = [weight for layer in layers for weight in layer.parameters()]
    exact = [x.double().requires_grad_(), *(weight.detach().double().requires_grad_() for weight in weights)]
    expected = _written_out(exact, masked_by)
    gradient = integers(1, *expected.shape, seed=5)
    wanted = [expected, *torch.autograd.grad(expected, exact, gradient.double())]
    assert max(float(each.detach().abs().max()) for each in wanted if each.numel()) < 2**20

    moved = [layer.to(device) for layer in layers]
    # A chain in one kernel on a GPU reads inputs without gradient.
    with_input = plan.activations[0].engine is not Engine.TRITON
    given = x.to(device).requires_grad_(with_input)
    outputs = dense_chain(given, moved, plan)
    parameters = [weight for layer in moved for weight in layer.parameters()]
    arriving = (gradient.t() if plan.transposed else gradient).to(device)
    found = torch.autograd.grad(outputs, [given, *parameters] if with_input else parameters, arriving)
    compared = [wanted[0], *wanted[1 if with_input else 2 :]]
    for number, (ours, exactly) in enumerate(
        zip([outputs.t() if plan.transposed else outputs, *found], compared, strict=True)
    ):
        assert torch.equal(ours.detach().cpu().double(), exactly), f"number {number}"


def _written_out(x_and_weights: Sequence[torch.Tensor], plan: ChainPlan) -> torch.Tensor:
    """The outputs [rows, units] from the input and the kernel and bias of each layer."""
    x, *weights = x_and_weights
    y = x * plan.input_scale
    for behind, (kernel, bias) in zip(plan.activations, zip(weights[:-2:2], weights[1:-2:2], strict=True), strict=True):
        y = torch.relu(y @ kernel + bias) * _factors(behind, len(x), kernel.shape[1])
    return y @ weights[-2] + weights[-1]


def _factors(behind: Activation, rows: int, units: int) -> torch.Tensor:
    """The factor of each element's dropout, [rows, units]: 0 or 2; 1 in an empty slot and without dropout."""
    if behind.key is None:
        return torch.ones(rows, units, dtype=torch.float64)
    kept = activated(behind, torch.ones(rows, 1), torch.ones(1, units), torch.zeros(units)) > 0
    factors = kept.double() * behind.scale
    factors[rows - behind.last_is_empty_slot :] = 1.0
    return factors
