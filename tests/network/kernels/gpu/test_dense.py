"""Chains of dense layers in Triton, in its interpreter or on a GPU: masks, values and gradients of the CPU engine."""

import dataclasses
import itertools

import pytest
import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows, StoredKey
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, Dense
from tests.network.triton_interpreter import DEVICE

WIDTHS = [(12, 64, 32, 32, 16, 40), (11, 32, 16, 8, 20), (3, 5, 7), (1, 1, 1, 1)]
KEYS = (None, DropoutKey((2**32 - 1, 2**31 + 5)), DropoutKey((7, 8)), DropoutKey((9, 10)))


def chain(widths: tuple[int, ...]) -> list[Dense]:
    generator = torch.Generator().manual_seed(sum(widths))
    layers = [Dense(inputs, units, generator) for inputs, units in itertools.pairwise(widths)]
    for layer in layers:
        torch.nn.init.normal_(layer.bias, generator=generator)
    return layers


def plan(engine: Engine, layers: int, dropout: bool = True, empty_slot: bool = True) -> ChainPlan:
    keys = KEYS[: layers - 1] if dropout else [None] * (layers - 1)
    return ChainPlan(tuple(Activation(0.3, key, empty_slot, engine) for key in keys), transposed=True)


def outputs_and_gradients(x: torch.Tensor, layers: list[Dense], its_plan: ChainPlan) -> list[torch.Tensor]:
    weights = [weight for layer in layers for weight in layer.parameters()]
    found = dense_chain(x, layers, its_plan)
    gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(5)).to(found.device)
    return [each.cpu() for each in (found.detach(), *torch.autograd.grad(found, weights, gradient))]


def compare(x: torch.Tensor, widths: tuple[int, ...], ours: ChainPlan, theirs: ChainPlan) -> None:
    layers = chain(widths)
    expected = outputs_and_gradients(x, layers, theirs)
    found = outputs_and_gradients(x.to(DEVICE), [layer.to(DEVICE) for layer in layers], ours)
    for known, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(known, wanted, rtol=1e-5, atol=2e-5 * max(1.0, float(wanted.abs().max())))


@pytest.mark.parametrize("empty_slot", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("rows", [1, 700])
def test_outputs_and_gradients_are_those_of_the_cpu_engine(
    rows: int, widths: tuple[int, ...], dropout: bool, empty_slot: bool
) -> None:
    x = torch.randn(rows, widths[0], generator=torch.Generator().manual_seed(rows))
    ours, theirs = (plan(engine, len(widths) - 1, dropout, empty_slot) for engine in (Engine.TRITON, Engine.NUMBA))
    compare(x, widths, ours, theirs)


def test_a_share_of_the_rows_has_its_rows_of_the_whole_masks() -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(0, 1197, 3)
    ours, theirs = (
        dataclasses.replace(
            each, activations=tuple(dataclasses.replace(behind, mask_rows=rows) for behind in each.activations)
        )
        for each, rows in (
            (plan(Engine.TRITON, 4), MaskRows(numbers.to(DEVICE), 1197)),
            (plan(Engine.NUMBA, 4), MaskRows(numbers, 1197)),
        )
    )
    compare(x, (3, 9, 8, 7, 4), ours, theirs)


def test_keys_that_lie_on_the_device_give_the_same_masks() -> None:
    x, layers = torch.randn(90, 3).to(DEVICE), [layer.to(DEVICE) for layer in chain((3, 9, 8, 4))]
    ours = plan(Engine.TRITON, 3)
    stored = [
        None if each.key is None else StoredKey(stored=each.key.on(torch.device("cpu")).to(DEVICE))
        for each in ours.activations
    ]
    activations = (dataclasses.replace(each, key=key) for each, key in zip(ours.activations, stored, strict=True))
    again = dataclasses.replace(ours, activations=tuple(activations))
    assert torch.equal(dense_chain(x, layers, again), dense_chain(x, layers, ours))


def test_without_dropout_nothing_comes_from_the_host() -> None:
    from cal_ratio_trainer.network.kernels.gpu.dense import _keys

    # Every replay of a recorded step would read it again, when its memory may contain something else.
    device = torch.device("meta")
    keys = _keys(plan(Engine.TRITON, 3, dropout=False).activations, device)
    assert keys.device == device
    assert keys.shape == (2, 2)


def test_no_rows_give_no_outputs_and_no_gradient() -> None:
    found = outputs_and_gradients(
        torch.empty(0, 3, device=DEVICE),
        [x.to(DEVICE) for x in chain((3, 5, 4))],
        plan(Engine.TRITON, 2, empty_slot=False),
    )
    assert found[0].shape == (4, 0)
    assert not any(each.any() for each in found[1:])


def test_not_a_number_is_not_hidden() -> None:
    x = torch.zeros(40, 3)
    x[7, 1] = torch.nan
    found = dense_chain(x.to(DEVICE), [layer.to(DEVICE) for layer in chain((3, 5, 6, 4))], plan(Engine.TRITON, 3))
    assert found[:, 7].isnan().all()
    assert not found[:, 8:].isnan().any()


@pytest.mark.parametrize("widths", [(6, 65, 4), (6, 9, 80)], ids=["wide layer", "many outputs"])
def test_chains_that_registers_have_no_room_for_go_through_pytorch(widths: tuple[int, ...]) -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    ours, theirs = (plan(engine, 2, dropout=False) for engine in (Engine.TRITON, Engine.TORCH))
    compare(x, widths, ours, theirs)


def test_an_input_with_a_gradient_gets_it() -> None:
    x, layers = torch.randn(50, 3, device=DEVICE, requires_grad=True), [layer.to(DEVICE) for layer in chain((3, 5, 4))]
    dense_chain(x, layers, plan(Engine.TRITON, 2)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.any()
