"""The step with fixed shapes, on a CPU and without a graph, compared with the ordinary step."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import logits_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import TrainingStep
from tests.factories.jets import synthetic_jets
from tests.training.steps import new_step

CPU = torch.device("cpu")
MAIN, CONTROL = 205, 103


def tensors(masses: int = 0) -> TrainingTensors:
    rng = np.random.default_rng(1)
    main, control = synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)
    target = np.concatenate([main.label, control.label > 0]).astype(np.int64)
    given = rng.random((MAIN + CONTROL, masses)).astype(np.float32) if masses else None
    jets = JetTensors.from_jets([main, control], CPU, given)
    return TrainingTensors(jets, torch.from_numpy(target), torch.from_numpy(rng.random(MAIN + CONTROL, np.float32)))


def trained(
    kind: type[TrainingStep], weight: float, engine: str, shape: NetworkShape
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], TrainingStep]:
    """Weights, and the sums of two epochs of steps of unequal size."""
    data = tensors(shape.masses)
    step = new_step(weight, kind=kind, shape=shape, engine=engine)
    sampler = Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), splits=4, seed=3, reshuffle=True)
    sums = []
    for epoch in range(2):
        tally, steps = step.new_sums(CPU), sampler.epoch(epoch)
        step.prepare(data, steps, epoch)
        for number, jets in enumerate(steps):
            step(data, jets, epoch, number, tally)
        sums.append(tally.values())
    modules = {name: module for name, module, _ in step.trained_modules()}
    return torch.nn.ModuleDict(modules).state_dict(), sums, step


SHAPES = {
    "default": DEFAULT_SHAPE,
    "two recurrent layers": NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=2),
    "one mass": NetworkShape(DEFAULT_SHAPE.branches, masses=1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("weight", [10.0, 0.0])
def test_losses_and_weights_are_those_of_the_other_step_with_the_same_dropout_masks(
    weight: float, engine: str, shape: NetworkShape
) -> None:
    expected, expected_sums, _ = trained(TrainingStep, weight, engine, shape)
    found, sums, step = trained(StaticStep, weight, engine, shape)
    for ours, theirs in zip(sums, expected_sums, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    for name, value in expected.items():
        # A step of Nadam has the size of the learning rate, whatever the size of a gradient near 0.
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-5)
    assert isinstance(step, StaticStep)
    data, judged = tensors(shape.masses), np.arange(MAIN + CONTROL)[::-3].copy()
    torch.testing.assert_close(step.logits(data, judged), logits_of(step.classifier, data.jets, judged))
    # 205, 205 and 103 jets in 4 parts: the first part of each is larger by one, the control jets' first three are.
    assert len({(each.main, each.control, each.update) for each in step._known}) == (3 if weight else 2)


def test_an_epoch_has_to_be_prepared() -> None:
    step = new_step(kind=StaticStep)
    data, sampler = tensors(), Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), 4, 3, True)
    with pytest.raises(ValueError, match="epoch 0 was not prepared"):
        step(data, sampler.epoch(0)[0], 0, 0, step.new_sums(CPU))
    step.prepare(data, sampler.epoch(0), 0)
    with pytest.raises(ValueError, match="epoch 1 was not prepared"):
        step(data, sampler.epoch(1)[0], 1, 0, step.new_sums(CPU))


def test_where_a_step_cannot_be_recorded_the_next_ones_run_where_they_did_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = ["before"]

    @contextmanager
    def recording(graph: object, pool: object) -> Iterator[None]:
        # As in PyTorch: ending a failed recording raises an error, and its stream stays current.
        streams.append("recording")
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    fakes = {"CUDAGraph": object, "graph_pool_handle": object, "graph": recording, "set_stream": streams.append}
    for name, fake in (*fakes.items(), ("current_stream", lambda: streams[-1])):
        monkeypatch.setattr(torch.cuda, name, fake)
    step = new_step(kind=StaticStep)
    data, sampler = tensors(), Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), 4, 3, True)
    steps = sampler.epoch(0)
    step.prepare(data, steps, 0)
    step(data, steps[0], 0, 0, step.new_sums(CPU))
    assert isinstance(step, StaticStep)
    ((shape, recorded),) = step._known.items()
    assert not step._record(data, shape, recorded)
    assert streams == ["before", "recording", "before"]
    assert "could not be recorded" in caplog.text
