"""Distance of data and simulation as a loss: known answers, gradient, negative weights, memory of mini-batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance
from torch import Tensor

from cal_ratio_trainer.network.domain.base import MAX_LOG_ODDS, ControlJets, DomainSettings, StepSums
from cal_ratio_trainer.network.domain.distance import Distance

CPU = torch.device("cpu")
RANGES = (0.25, 0.5)


def table_of(jets: ControlJets) -> torch.Tensor:
    """Jets of one region as the distance holds them."""
    return Distance(DomainSettings(1.0))._table(jets)


def control_jets(number: int = 300, seed: int = 1, shift: float = 0.0) -> ControlJets:
    """Random jets, half of them data with shifted logits."""
    generator = torch.Generator().manual_seed(seed)
    is_data = (torch.arange(number) % 2).float()
    logits = torch.randn(number, 3, generator=generator) + shift * is_data[:, None] * torch.tensor([1.0, 0.0, -1.0])
    weight = torch.rand(number, generator=generator) + 0.5
    return ControlJets(logits, is_data, weight, torch.rand(number, 3, generator=generator))


def sums() -> StepSums:
    return StepSums(CPU, Distance.stages)


def distance(jets: ControlJets, method: Distance | None = None) -> Tensor:
    """Cramer's part of the penalty of one mini-batch at strength 1."""
    return (method or Distance(DomainSettings(1.0, pt_ranges=RANGES)))._distance(table_of(jets))[0]


def joint(jets: ControlJets) -> float:
    """The joint distance, as a mean over many steps' frequencies."""
    method, found = Distance(DomainSettings(1.0, pt_ranges=RANGES)), []
    for _ in range(40):
        found.append(float(method._joint(table_of(jets))))
        method.after_step()
    return float(np.mean(found))


def log_odds(jets: ControlJets) -> np.ndarray:
    p = jets.logits.double().softmax(dim=1).numpy()
    found: np.ndarray = np.clip(np.log(p / (1 - p)), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return found


def test_it_is_half_the_squared_energy_distance_in_units_of_the_spread() -> None:
    jets, expected = control_jets(shift=0.7), 0.0
    x, weight, pt = log_odds(jets), jets.weight.numpy(), jets.inputs[:, 0].numpy()
    for low, high in zip((-np.inf, *RANGES), (*RANGES, np.inf), strict=True):
        inside, data = (pt >= low) & (pt < high), jets.is_data.numpy() == 1
        for values in x.T:
            samples = [(values[inside & kind], weight[inside & kind]) for kind in (data, ~data)]
            (a, a_weight), (b, b_weight) = samples
            expected += energy_distance(a, b, a_weight, b_weight) ** 2 / 2 / values[inside].std()
    assert float(distance(jets)) == pytest.approx(expected, rel=1e-5)


def test_it_is_0_for_equal_distributions_and_grows_with_their_shift() -> None:
    half = control_jets(100)
    twice = ControlJets(
        half.logits.repeat(2, 1), torch.arange(200).ge(100).float(), half.weight.repeat(2), half.inputs.repeat(2, 1)
    )
    assert float(distance(twice)) == pytest.approx(0.0, abs=1e-7)
    found = [float(distance(control_jets(2000, shift=shift))) for shift in (0.0, 0.3, 0.6)]
    assert found[0] < found[1] < found[2]


def test_a_factor_on_all_weights_and_on_the_log_odds_changes_nothing() -> None:
    jets = control_jets(shift=0.5)
    other = ControlJets(jets.logits, jets.is_data, jets.weight * (3 + 4 * jets.is_data), jets.inputs)
    torch.testing.assert_close(distance(other), distance(jets))


def test_its_gradient_is_that_of_finite_differences() -> None:
    jets = control_jets(60, shift=0.5)
    logits = jets.logits.requires_grad_()
    (gradient,) = torch.autograd.grad(distance(jets), logits)
    for jet, output in ((0, 0), (1, 1), (7, 2)):
        found = []
        for step in (-2e-3, 2e-3):
            moved = logits.detach().clone()
            moved[jet, output] += step
            found.append(float(distance(ControlJets(moved, jets.is_data, jets.weight, jets.inputs))))
        assert float(gradient[jet, output]) == pytest.approx((found[1] - found[0]) / 4e-3, rel=0.03, abs=2e-5)


def test_descending_makes_distributions_agree() -> None:
    jets, shift = control_jets(400, shift=1.0), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.1)
    before = float(distance(jets))
    for _ in range(30):
        moved = jets.logits + shift * jets.is_data[:, None]
        loss = distance(ControlJets(moved, jets.is_data, jets.weight, jets.inputs))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < before / 10
    assert float(shift.detach()[0] - shift.detach()[2]) == pytest.approx(-2.0, abs=0.4)


def test_ranges_with_few_effective_jets_are_passed_over_and_counted() -> None:
    jets = control_jets()
    low = jets.inputs[:, 0] < RANGES[0]
    # Weights of both signs that nearly cancel: nothing is divided by their sum.
    signs = torch.where(torch.arange(300) % 4 < 2, 1.0, -1.0)
    cancelling = ControlJets(jets.logits, jets.is_data, torch.where(low, signs, jets.weight), jets.inputs)
    without = ControlJets(jets.logits[~low], jets.is_data[~low], jets.weight[~low], jets.inputs[~low])
    torch.testing.assert_close(distance(cancelling), distance(without))
    assert torch.isfinite(Distance(DomainSettings(1.0))._joint(table_of(cancelling)))
    for each in (cancelling, without):
        found = sums()
        Distance(DomainSettings(1.0, pt_ranges=RANGES)).penalty(each, len(each.weight), found)
        assert found.mean("passed_over")[0] == 1


def test_some_negative_weights_count_as_they_are() -> None:
    jets = control_jets(shift=0.5)
    weight = jets.weight.clone()
    weight[::10] *= -0.2
    found = distance(ControlJets(jets.logits, jets.is_data, weight, jets.inputs))
    assert torch.isfinite(found)
    assert float(found) > 0


def test_it_compares_together_with_the_last_mini_batches() -> None:
    method = Distance(DomainSettings(1.0, pt_ranges=RANGES, control_jets=300))
    batches = [control_jets(number, seed, 0.5) for seed, number in enumerate((300, 299, *(300,) * 9))]
    found = [float(method.penalty(jets, len(jets.weight), sums())) for jets in batches]
    last = ((each.logits, each.is_data, each.weight, each.inputs) for each in reversed(batches[-9:]))
    columns = zip(*last, strict=True)
    alone = Distance(DomainSettings(1.0, pt_ranges=RANGES)).penalty(ControlJets(*map(torch.cat, columns)), 2700, sums())
    assert found[-1] == pytest.approx(float(alone), rel=1e-5)


def test_the_joint_distance_is_the_squared_discrepancy_of_three_gaussian_kernels() -> None:
    jets = control_jets(200, shift=1.0)
    table = table_of(jets).double()
    x = table[:, [0, 1, 2, -1]]
    x = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    squared = torch.cdist(x, x).square()
    kernel = torch.stack([torch.exp(-squared / (2 * width**2)) for width in (1.0, 0.5, 0.25)]).mean(dim=0)
    data, simulation = jets.weight * jets.is_data, jets.weight * (1 - jets.is_data)
    difference = (data / data.sum() - simulation / simulation.sum()).double()
    assert joint(jets) == pytest.approx(float(difference @ kernel @ difference), rel=0.05)


def test_the_joint_distance_sees_what_no_single_output_shows() -> None:
    """The same distribution of every output and of pt in data and simulation, but other pairs of output and pt."""
    jets = control_jets(2000)
    pt = jets.inputs[:, 0]
    turned = torch.where(jets.is_data > 0, 1.0, -1.0) * (pt - 0.5) * 4
    logits = torch.stack([turned, -turned, torch.zeros(2000)], dim=1)
    spread = ControlJets(logits, jets.is_data, torch.ones(2000), jets.inputs)
    one_range = Distance(DomainSettings(1.0))
    assert float(one_range._distance(table_of(spread))[0]) < 0.05
    assert joint(spread) > 10 * joint(jets)


def test_without_pt_among_the_inputs_there_is_one_range() -> None:
    method = Distance(DomainSettings(1.0))
    found = sums()
    assert float(method.penalty(control_jets(shift=1.0), 300, found)) > 0
    assert found.mean("passed_over")[0] == 0


def test_the_penalty_is_the_strength_times_both_distances() -> None:
    jets = control_jets(shift=0.5)
    method, found = Distance(DomainSettings(6.0, pt_ranges=RANGES, distance_rise=0.0)), sums()
    (cramer, _), of_joint = method._distance(table_of(jets)), method._joint(table_of(jets))
    assert min(cramer, of_joint) > 0.01
    assert float(method.penalty(jets, 300, found)) == pytest.approx(6 * float(cramer + 30 * of_joint), rel=1e-5)
    assert found.mean("distance")[0] == pytest.approx(float(cramer), rel=1e-5)
    assert found.mean("joint")[0] == pytest.approx(float(of_joint), rel=1e-5)


def test_its_strength_rises_over_a_share_of_the_steps_and_stays() -> None:
    settings = DomainSettings(6.0, pt_ranges=RANGES, steps=20, distance_rise=0.25)
    method, at_once, jets = Distance(settings), Distance(replace(settings, distance_rise=0.0)), control_jets(shift=0.5)
    found = []
    for _ in range(8):
        found.append(float(method.penalty(jets, 300, sums()) / at_once.penalty(jets, 300, sums())))
        method.after_step()
        at_once.after_step()
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0])
