"""Complete steps with the GPU's kernels, in Triton's interpreter or on a GPU, compared with those of the CPU engine."""

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import TrainingStep
from tests.factories.jets import synthetic_jets
from tests.network.triton_interpreter import DEVICE
from tests.training.steps import new_step

MAIN, CONTROL = 26, 14
CPU = torch.device("cpu")


def trained(
    kind: type[TrainingStep],
    engine: str,
    device: torch.device,
    shape: NetworkShape,
    dropout: float,
    recorded: bool = False,
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weights and sums of losses of two steps, or of eight if they are recorded in the third."""
    rng = np.random.default_rng(1)
    jets = [synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)]
    target = torch.from_numpy(np.concatenate([jets[0].label, jets[1].label > 0]).astype(np.int64))
    data = JetTensors.from_jets(jets, device).for_training(target.to(device), torch.ones(MAIN + CONTROL).to(device))
    step = new_step(dropout=dropout, kind=kind, shape=shape, engine=engine, device=device)
    sums = step.new_sums(device)
    sampler = Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), 2, 3, True)
    for epoch in range(4 if recorded else 1):
        steps = sampler.epoch(epoch)
        step.prepare(data, steps, epoch)
        for number, each in enumerate(steps):
            step(data, each, epoch, number, sums)
    if recorded and isinstance(step, StaticStep):
        assert any(each.graph is not None for each in step._known.values())
    return {name: value.cpu() for name, value in step.classifier.state_dict().items()}, sums.values()


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Asserts that nearly all weights agree; Nadam also moves weights whose gradient is 0 except for rounding."""
    differences = torch.cat([(found[name] - value).abs().flatten() for name, value in expected.items()])
    allowed = torch.cat([2e-5 + 1e-4 * value.abs().flatten() for value in expected.values()])
    assert int((differences > allowed).sum()) <= 1e-3 * len(differences)
    assert float(differences.max()) < 1e-3


@pytest.mark.slow
def test_without_dropout_losses_and_weights_are_those_of_the_cpu_engine() -> None:
    shape = NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=2)
    expected, losses = trained(TrainingStep, "numba", CPU, shape, dropout=0.0)
    found, sums = trained(StaticStep, "triton", DEVICE, shape, dropout=0.0)
    assert sums == pytest.approx(losses, rel=1e-5)
    assert_alike(found, expected)


@pytest.mark.slow
def test_in_fixed_shapes_dropout_masks_are_those_of_the_other_step() -> None:
    expected, losses = trained(TrainingStep, "triton", DEVICE, DEFAULT_SHAPE, dropout=0.2)
    found, sums = trained(StaticStep, "triton", DEVICE, DEFAULT_SHAPE, dropout=0.2)
    assert sums == pytest.approx(losses, rel=1e-5)
    assert_alike(found, expected)


@pytest.mark.skipif(DEVICE.type == "cpu", reason="only a GPU records steps")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("lstm_layers", [1, 2])
def test_recorded_steps_learn_what_the_other_steps_do(lstm_layers: int, dropout: float) -> None:
    shape = NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=lstm_layers)
    expected, losses = trained(TrainingStep, "triton", DEVICE, shape, dropout, recorded=True)
    found, sums = trained(StaticStep, "triton", DEVICE, shape, dropout, recorded=True)
    assert sums == pytest.approx(losses, rel=1e-4)
    assert_alike(found, expected)
