"""The recurrence in Triton, in its interpreter or on a GPU, against the plain formulas in double precision."""

import pytest
import torch

from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.recurrence import hidden_states, reference_hidden_states
from cal_ratio_trainer.network.sequences import Sequences
from tests.network.test_recurrence import LENGTHS, inputs
from tests.network.triton_interpreter import DEVICE


def compare(lengths: list[int], units: int, every_slot: bool, room: int = 0) -> None:
    gates, recurrent, counts, jets, slots = inputs(lengths, units, slots=min(max(lengths) + 1, 30))
    expected = reference_hidden_states(Sequences(gates, counts, jets, slots), recurrent, every_slot)
    wide = torch.cat([gates[:, :-1], torch.full((4 * units, room), torch.nan), gates[:, -1:]], dim=1)
    single = [tensor.detach().to(DEVICE, torch.float32).requires_grad_() for tensor in (wide, recurrent)]
    sequences = Sequences(single[0], counts, jets, slots)
    if room:
        sequences = Sequences(single[0], (), jets, slots, sequences.places_tensor())
    found = hidden_states(sequences, single[1], every_slot=every_slot, engine=Engine.TRITON)
    torch.testing.assert_close(found.cpu(), expected.float(), rtol=1e-5, atol=5e-6)
    with torch.no_grad():
        assert torch.equal(found, hidden_states(sequences, single[1], every_slot=every_slot, engine=Engine.TRITON))
    gradient = torch.randn(expected.shape, dtype=torch.float64)
    torch.autograd.backward([expected, found], [gradient, gradient.to(DEVICE, torch.float32)])
    for ours, exact in zip(single, (gates, recurrent), strict=True):
        assert ours.grad is not None
        assert exact.grad is not None
        wanted, known = exact.grad.float(), ours.grad.cpu()
        if known.shape != wanted.shape:
            assert not known[:, -1 - room : -1].any()
            known = torch.cat([known[:, : -1 - room], known[:, -1:]], dim=1)
        torch.testing.assert_close(known, wanted, rtol=1e-5, atol=3e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("every_slot", [False, True])
@pytest.mark.parametrize("units", [1, 5, 10, 17])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_states_and_gradients_equal_the_reference_in_double_precision(
    lengths: list[int], units: int, every_slot: bool
) -> None:
    compare(lengths, units, every_slot)


@pytest.mark.parametrize("every_slot", [False, True])
@pytest.mark.parametrize(
    "lengths",
    [[3] * 64, list(range(8)) * 17, [0] * 70 + [6] * 70],
    ids=["one full tile", "several tiles", "full and empty tiles"],
)
def test_several_tiles_equal_the_reference(lengths: list[int], every_slot: bool) -> None:
    compare(lengths, 10, every_slot)


def test_the_widest_states_equal_the_reference() -> None:
    compare([3, 1, 0, 2] * 9, 64, every_slot=True)


@pytest.mark.parametrize("every_slot", [False, True])
def test_columns_that_no_jet_reads_change_nothing_and_get_no_gradient(every_slot: bool) -> None:
    compare(list(range(6)) * 12, 10, every_slot, room=7)


def test_states_wider_than_the_registers_are_left_to_pytorch() -> None:
    gates, recurrent, counts, jets, slots = inputs([2, 1], 65, dtype=torch.float32)
    sequences = Sequences(gates.to(DEVICE), counts, jets, slots)
    found = hidden_states(sequences, recurrent.to(DEVICE), engine=Engine.TRITON)
    torch.testing.assert_close(found, hidden_states(sequences, recurrent.to(DEVICE), engine=Engine.TORCH))


def test_a_batch_without_jets_gives_no_states() -> None:
    gates, recurrent, _, _, slots = inputs([1], dtype=torch.float32)
    sequences = Sequences(gates[:, -1:].to(DEVICE), (), 0, slots)
    assert hidden_states(sequences, recurrent.to(DEVICE), engine=Engine.TRITON).shape == (1, 3, 0)


def test_not_a_number_is_not_hidden() -> None:
    gates, recurrent, counts, jets, slots = inputs([2, 3], dtype=torch.float32)
    with torch.no_grad():
        gates[:, 0] = torch.nan
    sequences = Sequences(gates.to(DEVICE), counts, jets, slots)
    assert hidden_states(sequences, recurrent.to(DEVICE), engine=Engine.TRITON).isnan().any()
