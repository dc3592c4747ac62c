"""Dense layers in a chain against the same layers one by one, gradients included."""

import itertools
from functools import partial

import pytest
import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutKey
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Dense
from tests.network.exact_chains import assert_exact, integers, layers_of_integers, plan_of

WIDTHS = (6, 9, 8, 5)
KEY = DropoutKey((3, 5))


def plan(engine: Engine, dropout: bool, transposed: bool = False, empty_slot: bool = False) -> ChainPlan:
    keys = [None, KEY if dropout else None]
    return plan_of(engine, keys, empty_slot=empty_slot, transposed=transposed, input_scale=1.5)


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.NUMBA])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("empty_slot", [False, True])
@pytest.mark.parametrize("rows", [40, 2100], ids=["part of a tile", "several tiles"])
def test_outputs_and_gradients_are_those_of_the_layers_one_by_one(
    engine: Engine, transposed: bool, dropout: bool, empty_slot: bool, rows: int
) -> None:
    its_plan = plan(engine, dropout, transposed, empty_slot)
    assert_exact(integers(2, rows, WIDTHS[0]), layers_of_integers(WIDTHS), its_plan, its_plan)


def test_gradients_hold_in_double_precision() -> None:
    generator = torch.Generator().manual_seed(1)
    chain = [Dense(inputs, units, generator).double() for inputs, units in itertools.pairwise(WIDTHS)]
    x = torch.randn(7, WIDTHS[0], dtype=torch.float64, generator=generator).requires_grad_()
    weights = [weight for layer in chain for weight in layer.parameters()]
    for its_plan in (plan(Engine.TORCH, dropout, empty_slot=True) for dropout in (False, True)):
        assert torch.autograd.gradcheck(partial(chained, chain, its_plan), (x, *weights))


def chained(chain: list[Dense], its_plan: ChainPlan, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """Chain as a function of its input, with fixed weights."""
    return dense_chain(x, chain, its_plan)


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.NUMBA])
def test_an_empty_slot_gives_what_it_gives_without_dropout(engine: Engine) -> None:
    chain, x = layers_of_integers(WIDTHS), integers(2, 30, WIDTHS[0])
    plain = dense_chain(x, chain, plan(engine, dropout=False, empty_slot=True))
    noisy = dense_chain(x, chain, plan(engine, dropout=True, empty_slot=True))
    assert torch.equal(noisy[-1], plain[-1])
    assert not torch.allclose(noisy[:-1], plain[:-1], atol=1e-3)
