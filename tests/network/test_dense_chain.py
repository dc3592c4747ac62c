"""Dense layers in a chain against the same layers one by one, gradients included."""

import itertools
from functools import partial

import pytest
import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutKey
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, Dense
from tests.network.activated import activated

WIDTHS = (6, 9, 8, 5)


def layers() -> list[Dense]:
    generator = torch.Generator().manual_seed(1)
    chain = [Dense(inputs, units, generator) for inputs, units in itertools.pairwise(WIDTHS)]
    for layer in chain:
        torch.nn.init.normal_(layer.bias, generator=generator)
    return chain


def plan(engine: Engine, dropout: bool, transposed: bool = False, empty_slot: bool = False) -> ChainPlan:
    keys = [None, DropoutKey((3, 5)) if dropout else None]
    activations = tuple(Activation(0.25, key, empty_slot, engine) for key in keys)
    return ChainPlan(activations, input_scale=1.5, transposed=transposed)


def written_out(
    x: torch.Tensor, chain: list[Dense], masks: list[torch.Tensor], scales: tuple[float, ...]
) -> torch.Tensor:
    y = x * scales[0]
    for layer, mask, scale in zip(chain, masks, scales[1:], strict=False):
        y = torch.relu(layer(y)) * mask * scale
    result: torch.Tensor = chain[-1](y)
    return result


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.NUMBA])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("empty_slot", [False, True])
def test_outputs_and_gradients_are_those_of_the_layers_one_by_one(
    engine: Engine, transposed: bool, dropout: bool, empty_slot: bool
) -> None:
    chain, its_plan = layers(), plan(engine, dropout, transposed, empty_slot)
    x = torch.randn(40, WIDTHS[0], requires_grad=True)
    masks = [torch.ones(40, WIDTHS[1]), torch.ones(40, WIDTHS[2])]
    if dropout:
        second = its_plan.activations[1]
        ones = activated(second, torch.ones(40, 1), torch.ones(1, WIDTHS[2]), torch.zeros(WIDTHS[2]))
        masks[1] = (ones > 0).float()
        masks[1][40 - empty_slot :] /= second.scale
    expected = written_out(x, chain, masks, its_plan.scales)
    found = dense_chain(x, chain, its_plan)
    torch.testing.assert_close(found.t() if transposed else found, expected)
    weights = [x, *(weight for layer in chain for weight in layer.parameters())]
    gradient = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, weights, gradient)
    got = torch.autograd.grad(found, weights, gradient.t() if transposed else gradient)
    for name, (ours, exact) in enumerate(zip(got, wanted, strict=True)):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4, msg=f"weight {name}")


def test_gradients_hold_in_double_precision() -> None:
    chain = [layer.double() for layer in layers()]
    x = torch.randn(7, WIDTHS[0], dtype=torch.float64, requires_grad=True)
    weights = [weight for layer in chain for weight in layer.parameters()]
    for its_plan in (plan(Engine.TORCH, dropout, empty_slot=True) for dropout in (False, True)):
        assert torch.autograd.gradcheck(partial(chained, chain, its_plan), (x, *weights))


def chained(chain: list[Dense], its_plan: ChainPlan, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """Chain as a function of its input, with fixed weights."""
    return dense_chain(x, chain, its_plan)


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.NUMBA])
def test_an_empty_slot_gives_what_it_gives_without_dropout(engine: Engine) -> None:
    chain, x = layers(), torch.randn(30, WIDTHS[0])
    plain = dense_chain(x, chain, plan(engine, dropout=False, empty_slot=True))
    noisy = dense_chain(x, chain, plan(engine, dropout=True, empty_slot=True))
    torch.testing.assert_close(noisy[-1], plain[-1])
    assert not torch.allclose(noisy[:-1], plain[:-1], atol=1e-3)
