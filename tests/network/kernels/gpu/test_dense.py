"""Chains of dense layers in Triton, in its interpreter or on a GPU: exactly the plain formula on integers."""

import dataclasses

import pytest
import torch

from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows, StoredKey
from cal_ratio_trainer.network.engine import Engine
from tests.network.exact_chains import assert_exact, integers, layers_of_integers, plan_of
from tests.network.triton_interpreter import DEVICE

WIDTHS = [(12, 64, 32, 32, 16, 40), (3, 5, 7), (1, 1, 1, 1)]
KEYS = (None, DropoutKey((2**32 - 1, 2**31 + 5)), DropoutKey((7, 8)), DropoutKey((9, 10)))


def plan(engine: Engine, layers: int, dropout: bool = True, empty_slot: bool = True) -> ChainPlan:
    return plan_of(engine, KEYS[: layers - 1] if dropout else [None] * (layers - 1), empty_slot=empty_slot)


@pytest.mark.parametrize("empty_slot", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("rows", [1, 700])
def test_outputs_and_gradients_are_those_of_the_formula_with_the_masks_of_the_cpu_engine(
    rows: int, widths: tuple[int, ...], dropout: bool, empty_slot: bool
) -> None:
    ours, theirs = (plan(engine, len(widths) - 1, dropout, empty_slot) for engine in (Engine.TRITON, Engine.NUMBA))
    assert_exact(integers(2, rows, widths[0], seed=rows), layers_of_integers(widths), ours, theirs, DEVICE)


def test_a_share_of_the_rows_has_its_rows_of_the_whole_masks() -> None:
    numbers = torch.arange(0, 1197, 3)
    ours, theirs = (
        plan_of(engine, KEYS[:3], empty_slot=True, mask_rows=MaskRows(numbers.to(device), 1197))
        for engine, device in ((Engine.TRITON, DEVICE), (Engine.NUMBA, torch.device("cpu")))
    )
    assert_exact(integers(2, 400, 3), layers_of_integers((3, 9, 8, 7, 4)), ours, theirs, DEVICE)


def test_keys_that_lie_on_the_device_give_the_same_masks() -> None:
    x, layers = integers(2, 90, 3).to(DEVICE), [layer.to(DEVICE) for layer in layers_of_integers((3, 9, 8, 4))]
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
    layers = [layer.to(DEVICE) for layer in layers_of_integers((3, 5, 4))]
    found = dense_chain(torch.empty(0, 3, device=DEVICE), layers, plan(Engine.TRITON, 2, empty_slot=False))
    assert found.shape == (4, 0)
    weights = [weight for layer in layers for weight in layer.parameters()]
    assert not any(each.any() for each in torch.autograd.grad(found.sum(), weights))


def test_not_a_number_is_not_hidden() -> None:
    x = torch.zeros(40, 3)
    x[7, 1] = torch.nan
    found = dense_chain(
        x.to(DEVICE), [layer.to(DEVICE) for layer in layers_of_integers((3, 5, 6, 4))], plan(Engine.TRITON, 3)
    )
    assert found[:, 7].isnan().all()
    assert not found[:, 8:].isnan().any()


@pytest.mark.parametrize("widths", [(6, 65, 4), (6, 9, 80)], ids=["wide layer", "many outputs"])
def test_chains_that_registers_have_no_room_for_go_through_pytorch(widths: tuple[int, ...]) -> None:
    ours, theirs = (plan(engine, 2, dropout=False) for engine in (Engine.TRITON, Engine.TORCH))
    assert_exact(integers(2, 50, 6), layers_of_integers(widths), ours, theirs, DEVICE)


def test_an_input_with_a_gradient_gets_it() -> None:
    x, layers = integers(2, 50, 3).to(DEVICE), [layer.to(DEVICE) for layer in layers_of_integers((3, 5, 4))]
    x.requires_grad_()
    dense_chain(x, layers, plan(Engine.TRITON, 2)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.any()
