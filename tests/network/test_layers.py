"""Bias, ReLU and dropout in one operation, for every engine of the CPU."""

import dataclasses

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, LstmWeights
from tests.network.activated import activated
from tests.network.exact_chains import integers

ENGINES = [Engine.TORCH, Engine.NUMBA]
SHAPES = [(1, 1), (3, 7), (1500, 16), (5000, 33)]
KEY = DropoutKey((17, 4))


def activation(engine: Engine, key: DropoutKey | None = KEY, last_is_empty_slot: bool = False) -> Activation:
    return Activation(0.2, key, last_is_empty_slot, engine)


def layer(rows: int, units: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input, kernel and bias of whole numbers, whose products and sums are exact on every processor."""
    return integers(4, rows, 5, seed=rows), integers(4, 5, units, seed=rows + 1), integers(4, units, seed=rows + 2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_without_dropout_it_is_bias_and_relu(engine: Engine, rows: int, units: int) -> None:
    x, kernel, bias = layer(rows, units)
    found = activated(activation(engine, key=None), x, kernel, bias)
    assert torch.equal(found, torch.relu(x @ kernel + bias))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_elements_are_passed_on_unchanged_or_dropped(engine: Engine, rows: int, units: int) -> None:
    x, kernel, bias = layer(rows, units)
    plain = torch.relu(x @ kernel + bias)
    found = activated(activation(engine), x, kernel, bias)
    torch.testing.assert_close(found, torch.where(found > 0, plain, 0.0))


@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_the_gradient_is_passed_on_or_dropped_with_its_element(rows: int, units: int) -> None:
    behind = activation(Engine.TORCH)
    found = behind(*layer(rows, units))
    gradient = integers(9, rows, units)
    expected = torch.where(found > 0, gradient, 0.0)
    sums = behind.gradient_(gradient, found)
    assert torch.equal(gradient, expected)
    assert torch.equal(sums, expected.sum(dim=0))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_row_of_an_empty_slot_is_never_dropped_and_undoes_the_next_layers_factor(engine: Engine) -> None:
    x, kernel, bias = layer(1500, 33)
    behind = activation(engine, last_is_empty_slot=True)
    found = activated(behind, x, kernel, bias)
    torch.testing.assert_close(found[-1] * behind.scale, torch.relu(x @ kernel + bias)[-1])


def kept(engine: Engine, rows: int, units: int, key: DropoutKey = KEY, rate: float = 0.2) -> np.ndarray:
    ones = dataclasses.replace(activation(engine, key), rate=rate)
    return (activated(ones, torch.ones(rows, 1), torch.ones(1, units), torch.zeros(units)) > 0).numpy()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_the_share_asked_for_is_dropped_in_every_column(engine: Engine, rate: float) -> None:
    drawn = kept(engine, 40_000, 33, rate=rate)
    assert drawn.mean() == pytest.approx(1 - rate, abs=0.002)
    assert np.abs(drawn.mean(axis=0) - (1 - rate)).max() < 5 * np.sqrt(rate * (1 - rate) / 40_000)


@pytest.mark.parametrize("engine", ENGINES)
def test_elements_are_dropped_independently_of_each_other(engine: Engine) -> None:
    drawn = kept(engine, 20_000, 32, rate=0.5) - 0.5
    for rows, columns in [(0, 1), (0, 7), (0, 16), (1, 0), (2, 3), (512, 0), (512, 16), (1024, 1)]:
        together = drawn[rows:, columns:] * drawn[: len(drawn) - rows, : 32 - columns]
        assert abs(together.mean()) < 5 * 0.25 / np.sqrt(together.size)


@pytest.mark.parametrize("units", [1, 16, 33])
def test_the_compiled_loops_draw_the_mask_of_the_formula(units: int) -> None:
    """Masks are part of what a seed means: they must not change with a version or a processor."""
    row, unit = np.arange(1100, dtype=np.uint32)[:, None], np.arange((units + 1) // 2, dtype=np.uint32)[None, :]
    odd, key = np.uint32(0x9E3779B9), KEY.as_array()
    seed = scrambled(key[0] + row // 512 * odd) ^ key[1]
    words = scrambled(row % 512 * np.uint32(len(unit[0])) * odd + seed + unit * odd)
    bits = np.concatenate([words & 0xFFFF, words >> 16], axis=1)[:, :units]
    assert np.array_equal(kept(Engine.NUMBA, 1100, units), bits >= round(0.2 * 2**16))


def scrambled(word: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3, of uint32."""
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    result: np.ndarray = word ^ (word >> 16)
    return result


@pytest.mark.parametrize("engine", ENGINES)
def test_another_key_gives_another_mask_and_the_same_the_same(engine: Engine) -> None:
    first, same = kept(engine, 2000, 16), kept(engine, 2000, 16)
    assert np.array_equal(first, same)
    for other in (DropoutKey((18, 4)), DropoutKey((17, 5))):
        agreeing = (first == kept(engine, 2000, 16, other)).mean()
        # Two independent masks agree in 0.8^2 + 0.2^2 of all elements.
        assert agreeing == pytest.approx(0.68, abs=0.015)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_share_of_the_rows_has_its_rows_of_the_whole_mask(engine: Engine) -> None:
    x, kernel, bias = layer(1500, 33)
    chosen = torch.randperm(1499, generator=torch.Generator().manual_seed(1))[:700].sort().values
    whole = activation(engine, last_is_empty_slot=True)
    share = dataclasses.replace(whole, mask_rows=MaskRows(chosen, 1499))
    rows = torch.cat([chosen, torch.tensor([1499])])
    torch.testing.assert_close(activated(share, x[rows], kernel, bias), activated(whole, x, kernel, bias)[rows])


def test_initial_weights_of_an_lstm_are_those_of_keras() -> None:
    layer = LstmWeights(6, 5, torch.Generator().manual_seed(1))
    # Gates in the order input, forget, candidate, output: the forget gate begins open.
    assert layer.bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    limit = (6 / (6 + 20)) ** 0.5
    assert 0.9 * limit < float(layer.kernel.detach().abs().max()) <= limit
    torch.testing.assert_close(layer.recurrent_kernel @ layer.recurrent_kernel.t(), torch.eye(5))
