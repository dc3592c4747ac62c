"""The recurrence and its hand-written gradient, against the plain formulas."""

from typing import Any

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network.packing import pack
from cal_ratio_trainer.network.recurrence import Sequences, _States, hidden_states, reference_hidden_states

LENGTHS = {
    "mixed": [2, 0, 5, 1, 3],
    "all full": [5, 5, 5],
    "all empty": [0, 0],
    "one jet": [3],
    "some full, some empty": [5, 0, 5],
}


def inputs(
    lengths: list[int], units: int = 3, slots: int = 5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[int, ...], int, int]:
    torch.manual_seed(1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    counts = pack(offsets, np.arange(len(lengths)), slots).counts
    gates = torch.randn(4 * units, sum(lengths), dtype=torch.float64, requires_grad=True)
    padding = torch.randn(4 * units, dtype=torch.float64, requires_grad=True)
    recurrent = torch.randn(units, 4 * units, dtype=torch.float64, requires_grad=True)
    return gates, padding, recurrent, counts, len(lengths), slots


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_states_equal_the_plain_formulas(lengths: list[int]) -> None:
    gates, padding, recurrent, counts, jets, slots = inputs(lengths)
    sequences = Sequences(gates, padding, counts, jets, slots)
    torch.testing.assert_close(hidden_states(sequences, recurrent), reference_hidden_states(sequences, recurrent))
    with torch.no_grad():
        torch.testing.assert_close(hidden_states(sequences, recurrent), reference_hidden_states(sequences, recurrent))


def test_without_gradients_nothing_is_kept_for_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's weights ask for gradients in scoring too, and in the adversary's update."""
    kept = []

    class Watched(_States):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            kept.append(len(self.all_gates))

    monkeypatch.setattr("cal_ratio_trainer.network.recurrence._States", Watched)
    gates, padding, recurrent, counts, jets, slots = inputs([2, 0, 5, 1, 3])
    sequences = Sequences(gates, padding, counts, jets, slots)
    with torch.no_grad():
        without = hidden_states(sequences, recurrent)
    assert torch.equal(without, hidden_states(sequences, recurrent))
    assert kept == [1, slots]


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_gradients_are_those_of_the_function(lengths: list[int]) -> None:
    gates, padding, recurrent, counts, jets, slots = inputs(lengths)
    assert torch.autograd.gradcheck(
        lambda g, p, r: hidden_states(Sequences(g, p, counts, jets, slots), r), (gates, padding, recurrent)
    )


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
    sequences = Sequences(gates, torch.zeros(4 * units, dtype=torch.float64), (jets,) * slots, jets, slots)
    torch.testing.assert_close(hidden_states(sequences, recurrent)[-1].t(), lstm(x)[0][:, -1])
