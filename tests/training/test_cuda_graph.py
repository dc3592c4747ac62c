"""The step with fixed shapes, on a CPU and without a graph, compared with the ordinary step."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.network.batch import JetTensors, inverse_of, pack
from cal_ratio_trainer.network.classifier import Classifier, logits_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training import cuda_graph
from cal_ratio_trainer.training.cuda_graph import DeviceJets, Positions, StaticStep, pack_on_device, room_for
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from tests.factories.jets import synthetic_jets
from tests.training.steps import assert_sums_agree, gradients_and_sums, in_double_precision, new_step

CPU = torch.device("cpu")
MAIN, CONTROL = 205, 103


def tensors(masses: int = 0) -> JetTensors:
    rng = np.random.default_rng(1)
    main, control = synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)
    target = np.concatenate([main.label, control.label > 0]).astype(np.int64)
    given = rng.random((MAIN + CONTROL, masses)).astype(np.float32) if masses else None
    jets = JetTensors.from_jets([main, control], CPU, given)
    return jets.for_training(torch.from_numpy(target), torch.from_numpy(rng.random(MAIN + CONTROL, np.float32)))


def trained(
    kind: type[TrainingStep], weight: float, shape: NetworkShape
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], TrainingStep, JetTensors]:
    """Weights, and the sums of two epochs of steps of unequal size, in double precision.

    In single precision Nadam would move weights whose gradient is 0 but for rounding.
    """
    step = new_step(weight, kind=kind, shape=shape, engine="reference")
    data = in_double_precision(step, tensors(shape.masses))
    sampler = Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), splits=4, seed=3, reshuffle=True)
    sums = []
    for epoch in range(2):
        tally, steps = step.new_sums(CPU), sampler.epoch(epoch)
        step.prepare(data, steps, epoch)
        for number, jets in enumerate(steps):
            step(data, jets, epoch, number, tally)
        sums.append(tally.values())
    modules = {name: module for name, module, _ in step.trained_modules()}
    return torch.nn.ModuleDict(modules).state_dict(), sums, step, data


SHAPES = {
    "default": DEFAULT_SHAPE,
    "two recurrent layers": NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=2),
    "one mass": NetworkShape(DEFAULT_SHAPE.branches, masses=1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("weight", [10.0, 0.0])
def test_losses_and_weights_are_those_of_the_other_step_with_the_same_dropout_masks(
    weight: float, shape: NetworkShape
) -> None:
    expected, expected_sums, _, _ = trained(TrainingStep, weight, shape)
    found, sums, step, data = trained(StaticStep, weight, shape)
    for ours, theirs in zip(sums, expected_sums, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-9)
    assert isinstance(step, StaticStep)
    judged = np.arange(MAIN + CONTROL)[::-3].copy()
    torch.testing.assert_close(step.logits(data, judged), logits_of(step.classifier, data, judged))
    # 205, 205 and 103 jets in 4 parts: the first part of each is larger by one, the control jets' first three are.
    assert len({(each.main, each.control, each.update) for each in step._known}) == (3 if weight else 2)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_compiled_loops_have_the_losses_of_the_other_step_with_the_same_dropout_masks(shape: NetworkShape) -> None:
    jets, found = StepJets(np.arange(60), np.arange(MAIN, MAIN + 50), np.arange(MAIN, MAIN + 50)), []
    for kind in (TrainingStep, StaticStep):
        step = new_step(kind=kind, shape=shape, engine="numba")
        found.append(gradients_and_sums(step, tensors(shape.masses), jets)[1])
    assert_sums_agree(found[1], found[0])


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


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    spare=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_packing_on_the_device_is_packing_on_the_host_with_room_to_spare(
    lengths: list[int], spare: int, seed: int
) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    jets = np.random.default_rng(seed).integers(0, len(lengths), len(lengths)).astype(np.int64)
    rows, counts, order = pack(offsets, jets, 6)
    count = len(rows)
    found = pack_on_device(torch.from_numpy(offsets), torch.from_numpy(jets), 6, count + spare)
    assert found.rows[:count].tolist() == rows.tolist()
    assert found.is_real.tolist() == [True] * count + [False] * spare
    assert found.owners[:count].tolist() == [jet for slot in counts for jet in order[:slot]]
    assert found.inverse.tolist() == inverse_of(order).tolist()
    assert found.places[1].tolist() == [*counts, *[0] * (6 - len(counts))]
    assert found.places[0].tolist() == (found.places[1].cumsum(0) - found.places[1]).tolist()


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_the_network_gives_the_same_for_both(engine: str) -> None:
    jets = JetTensors.from_jets([synthetic_jets(np.arange(50) % 3, 1)], torch.device("cpu"))
    chosen = np.arange(40, 10, -1)
    room = room_for(DeviceJets.of(jets), [Positions.copied([chosen[:5], chosen], torch.device("cpu"))])
    classifier = Classifier(DEFAULT_SHAPE, 1, engine)
    found = classifier(DeviceJets.of(jets).batch(torch.from_numpy(chosen), room))
    torch.testing.assert_close(found, classifier(jets.batch(chosen)))


def test_room_is_for_the_fullest_batch_and_little_more() -> None:
    jets = JetTensors.from_jets([synthetic_jets(np.arange(3000) % 3, 1)], torch.device("cpu"))
    batches = np.array_split(np.random.default_rng(1).permutation(3000), 2)
    halves = [np.array_split(batch, 2) for batch in batches]
    parts = [Positions.copied(part, torch.device("cpu")) for part in zip(*halves, strict=True)]
    room = room_for(DeviceJets.of(jets), parts)
    for kind in CONSTITUENTS:
        fullest = max(len(pack(jets.offsets[kind.name], batch, kind.limit)[0]) for batch in batches)
        assert fullest <= room[kind.name] <= 1.07 * fullest + 64


def test_logits_of_many_jets_are_those_of_the_hosts_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "JETS_AT_A_TIME", 16)
    jets = JetTensors.from_jets([synthetic_jets(np.arange(50) % 3, 1)], torch.device("cpu"))
    classifier, device_jets = Classifier(DEFAULT_SHAPE, 1), DeviceJets.of(jets)
    for chosen in (np.arange(45, 5, -1), np.arange(0)):
        found = device_jets.logits(classifier, torch.from_numpy(chosen))
        torch.testing.assert_close(found, logits_of(classifier, jets, chosen))
