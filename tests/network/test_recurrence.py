"""The recurrence and its hand-written gradients, against the plain formulas, for every engine of the CPU."""

from typing import Any

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network import recurrence
from cal_ratio_trainer.network.batch import pack
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.kernels.cpu.recurrence import tanh
from cal_ratio_trainer.network.recurrence import hidden_states, reference_hidden_states
from cal_ratio_trainer.network.sequences import Sequences

LENGTHS = {
    "mixed": [2, 0, 5, 1, 3],
    "all full": [5, 5, 5],
    "all empty": [0, 0],
    "one jet": [3],
    "some full, some empty": [5, 0, 5],
    "longer than the slots": [7, 2],
}


def inputs(
    lengths: list[int], units: int = 3, slots: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, ...], int, int]:
    torch.manual_seed(1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    counts = pack(offsets, np.arange(len(lengths)), slots)[1]
    gates = torch.randn(4 * units, sum(counts) + 1, dtype=dtype, requires_grad=True)
    # Of the size of an orthogonal matrix: with larger ones rounding alone makes states diverge.
    recurrent = (torch.randn(units, 4 * units, dtype=dtype) / units**0.5).requires_grad_()
    return gates, recurrent, counts, len(lengths), slots


@pytest.mark.parametrize("every_slot", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_states_equal_the_plain_formulas(lengths: list[int], every_slot: bool) -> None:
    gates, recurrent, counts, jets, slots = inputs(lengths)
    sequences = Sequences(gates, counts, jets, slots)
    expected = reference_hidden_states(sequences, recurrent, every_slot)
    torch.testing.assert_close(hidden_states(sequences, recurrent, every_slot=every_slot), expected)
    with torch.no_grad():
        torch.testing.assert_close(hidden_states(sequences, recurrent, every_slot=every_slot), expected)


def test_a_further_layers_places_are_made_on_the_device() -> None:
    # Every replay of a recorded step would read them again from the host, when that memory may contain something else.
    gates, device = torch.zeros(4, 16), torch.device("meta")
    sequences = Sequences(gates, (5, 5, 5), 5, 3)
    assert torch.equal(sequences.places_tensor(), torch.from_numpy(sequences.places_array()))
    assert Sequences(gates.to(device), (5, 5, 5), 5, 3).places_tensor().device == device


def test_without_gradients_nothing_is_kept_for_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the network require gradients also in scoring and in the adversary's update."""
    kept = []

    class Watched(recurrence._States):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            kept.append(len(self.all_gates))

    monkeypatch.setattr(recurrence, "_States", Watched)
    gates, recurrent, counts, jets, slots = inputs([2, 0, 5, 1, 3])
    sequences = Sequences(gates, counts, jets, slots)
    with torch.no_grad():
        without = hidden_states(sequences, recurrent)
    assert torch.equal(without, hidden_states(sequences, recurrent))
    assert kept == [1, slots]


@pytest.mark.parametrize("every_slot", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_gradients_are_those_of_the_function(lengths: list[int], every_slot: bool) -> None:
    gates, recurrent, counts, jets, slots = inputs(lengths)
    assert torch.autograd.gradcheck(
        lambda g, r: hidden_states(Sequences(g, counts, jets, slots), r, every_slot=every_slot), (gates, recurrent)
    )


@pytest.mark.parametrize("every_slot", [False, True])
@pytest.mark.parametrize("units", [1, 5, 7, 10])
@pytest.mark.parametrize(
    "lengths",
    [*LENGTHS.values(), [3] * 128, list(range(31)) * 13, [0] * 300 + [30] * 300],
    ids=[*LENGTHS, "one full tile", "several tiles", "full and empty tiles"],
)
def test_the_compiled_loops_equal_the_reference_in_double_precision(
    lengths: list[int], units: int, every_slot: bool
) -> None:
    gates, recurrent, counts, jets, slots = inputs(lengths, units, slots=min(max(lengths) + 1, 30))
    expected = reference_hidden_states(Sequences(gates, counts, jets, slots), recurrent, every_slot)
    single = [tensor.detach().float().requires_grad_() for tensor in (gates, recurrent)]
    sequences = Sequences(single[0], counts, jets, slots)
    found = hidden_states(sequences, single[1], every_slot=every_slot, engine=Engine.NUMBA)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=5e-6)
    with torch.no_grad():
        assert torch.equal(found, hidden_states(sequences, single[1], every_slot=every_slot, engine=Engine.NUMBA))
    gradient = torch.randn(expected.shape, dtype=torch.float64)
    torch.autograd.backward([expected, found], [gradient, gradient.float()])
    for ours, exact in zip(single, (gates, recurrent), strict=True):
        assert ours.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(ours.grad, exact.grad.float(), rtol=1e-5, atol=3e-5 * float(exact.grad.abs().max()))


def test_the_compiled_hyperbolic_tangent_is_exact_but_for_the_rounding_of_its_last_operations() -> None:
    x = np.linspace(-12, 12, 2000, dtype=np.float32)
    found, exact = np.array([tanh(value) for value in x], dtype=np.float64), np.tanh(x.astype(np.float64))
    # Two roundings of numerator and of denominator, whose smaller terms round less; of x^2, the product and the ratio.
    np.testing.assert_allclose(found, exact, rtol=8 * 2.0**-24)


def test_what_the_compiled_loops_give_does_not_depend_on_the_threads() -> None:
    gates, recurrent, counts, jets, slots = inputs(list(range(31)) * 40, units=10, slots=30, dtype=torch.float32)
    before = torch.get_num_threads()
    found: list[tuple[torch.Tensor, ...]] = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        gates.grad = recurrent.grad = None
        hidden = hidden_states(Sequences(gates, counts, jets, slots), recurrent, engine=Engine.NUMBA)
        torch.autograd.backward(hidden.square().sum())
        assert gates.grad is not None
        assert recurrent.grad is not None
        found.append((hidden.detach(), gates.grad.clone(), recurrent.grad.clone()))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.NUMBA])
def test_not_a_number_is_not_hidden(engine: Engine) -> None:
    gates, recurrent, counts, jets, slots = inputs([2, 3], dtype=torch.float32)
    with torch.no_grad():
        gates[:, 0] = torch.nan
    assert hidden_states(Sequences(gates, counts, jets, slots), recurrent, engine=engine).isnan().any()


def test_the_last_state_is_that_of_torchs_own_lstm() -> None:
    units, width, slots, jets = 4, 3, 6, 7
    torch.manual_seed(2)
    lstm = torch.nn.LSTM(width, units, batch_first=True, dtype=torch.float64)
    x = torch.randn(jets, slots, width, dtype=torch.float64)
    weights = dict(lstm.named_parameters())
    kernel, recurrent = weights["weight_ih_l0"].t(), weights["weight_hh_l0"].t()
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    # All slots are filled, so slot by slot every jet comes; torch keeps the gates in the same order.
    gates = (x.transpose(0, 1).reshape(-1, width) @ kernel + bias).t()
    gates = torch.cat([gates, torch.zeros(4 * units, 1, dtype=torch.float64)], dim=1)
    sequences = Sequences(gates, (jets,) * slots, jets, slots)
    torch.testing.assert_close(hidden_states(sequences, recurrent)[-1].t(), lstm(x)[0][:, -1])
