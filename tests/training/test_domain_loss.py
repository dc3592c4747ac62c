"""A way to make data and simulation agree that is defined outside the package: chosen by name, trained, resumed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import data_or_simulation_loss
from cal_ratio_trainer.network.domain.base import (
    DOMAIN_LOSSES,
    ControlJets,
    DomainLoss,
    DomainSettings,
    StepSums,
    domain_loss,
    domain_loss_named,
)
from cal_ratio_trainer.network.domain.distance import Distance
from cal_ratio_trainer.network.domain.reversal import Reversal
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.plotting.histories import HistoryReferences
from cal_ratio_trainer.runs.figures import drawings_of_history
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.training.steps import gradients_and_sums, in_double_precision
from tests.training.test_cuda_graph import CONTROL, CPU, MAIN, tensors


class SignalShift(DomainLoss):
    """Penalty on the difference of the mean signal output, which a learned offset may take up; remembers that of data.

    It has all that a method can have: a weight, a buffer, an update of its own, sums and columns of the history.
    """

    updates = 1
    stages = ("shift",)

    def __init__(self, settings: DomainSettings) -> None:
        super().__init__(settings)
        self.offset = nn.Parameter(torch.zeros(1))
        self.of_data: Tensor
        self.register_buffer("of_data", torch.zeros(1))

    def _difference(self, jets: ControlJets) -> Tensor:
        signal = jets.weight * jets.logits.softmax(dim=1)[:, 1]
        simulated = (signal * (1 - jets.is_data)).sum() / (jets.weight * (1 - jets.is_data)).sum()
        return simulated - self.of_data - self.offset

    def update(self, jets: ControlJets, sums: StepSums) -> None:
        """Moves the memory to the data of this mini-batch, and the offset towards the difference."""
        signal = jets.logits.softmax(dim=1)[:, 1] * jets.weight * jets.is_data
        self.of_data.lerp_(signal.sum() / (jets.weight * jets.is_data).sum(), 0.5)
        self.descend(self._difference(jets).square().sum())

    def penalty(self, jets: ControlJets, total: int, sums: StepSums) -> Tensor:
        """weight * difference squared."""
        square = self._difference(jets).square()
        sums.add("shift", square)
        return self.settings.weight * square.sum() * (len(jets.weight) / total)

    def metrics(self, sums: StepSums, validation: ControlJets) -> dict[str, float]:
        """The mean of the penalty in the epoch, and the difference on the validation part."""
        return {"shift": sums.mean("shift")[0], "val_shift": float(self._difference(validation))}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method under a name, and trainings without plots."""
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    monkeypatch.setattr("cal_ratio_trainer.network.domain.base.DOMAIN_LOSSES", dict(DOMAIN_LOSSES))
    domain_loss("signal_shift")(SignalShift)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A main and a control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"), 600, 400)


def trained(files: tuple[Path, Path], folder: Path, continue_from: str | None = None, **changes: Any) -> Run:
    small = {"num_splits": 3, "sample_fraction": 1.0, "threads": 1, "agreement": "signal_shift", **changes}
    main, control = files
    settings = TrainSettings(main_training_file=str(main), cr_training_file=str(control), output_path=folder, **small)
    given = {"output_path": folder, "epochs": settings.epochs}
    start = find_start([("defaults", {}), ("command line", given)], settings, continue_from)
    summary = train(start if continue_from else Start(settings), lambda text: None, lambda figures: "")
    return Run(summary.run.path)


@pytest.mark.usefixtures("registered")
def test_a_method_from_outside_trains_and_goes_on_exactly(files: tuple[Path, Path], tmp_path: Path) -> None:
    whole = trained(files, tmp_path / "whole", epochs=2)
    trained(files, tmp_path / "parts", epochs=1)
    parts = trained(files, tmp_path / "parts", "0", epochs=1)
    assert parts.history_file.read_bytes() == whole.history_file.read_bytes()
    first, second = (load_file(run.checkpoint_file) for run in (whole, parts))
    assert {"signal_shift.offset", "signal_shift.of_data", "signal_shift_optimizer.0.exp_avg"} <= first.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert float(first["signal_shift.of_data"]) > 0
    history = json.loads(whole.history_file.read_text())
    assert all(row["shift"] >= 0 and row["val_shift"] is not None and row["adv_loss"] is None for row in history)


@pytest.mark.usefixtures("registered")
def test_its_weight_makes_another_training_and_0_one_without_it(files: tuple[Path, Path], tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = [{"agreement_strength": 1.0}, {"agreement_strength": 100.0}, {"agreement": "none"}]
    rows = [
        trained(files, tmp_path / str(number), epochs=1, **strength).read_history()[0]
        for number, strength in enumerate(cases)
    ]
    assert rows[0]["original_lossf"] != rows[1]["original_lossf"]
    assert "shift" not in rows[2]


def test_it_gives_the_same_in_constant_shapes_as_a_recorded_step_has() -> None:
    jets, found = StepJets(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), np.arange(MAIN, 300)), []
    for kind in (TrainingStep, StaticStep):
        domain = SignalShift(DomainSettings(10.0))
        step = kind(Classifier(DEFAULT_SHAPE, 1, "torch"), domain, TrainSettings.make(seed=5))
        sums, data = step.new_sums(CPU), in_double_precision(step, tensors())
        for epoch in range(3):
            step.prepare(data, [jets], epoch)
            step(data, jets, epoch, 0, sums)
        found.append((domain.state_dict(), sums.values()))
    (state, values), (static_state, static_values) = found
    torch.testing.assert_close(static_state, state, rtol=1e-7, atol=1e-9)
    assert static_values == pytest.approx(values, rel=1e-9)


def test_an_unknown_name_is_refused_with_those_that_there_are(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="agreement 'nothing' is not known; known: adversary, distance, none, rev"):
        domain_loss_named("nothing")
    with pytest.raises(ConfigError, match="agreement 'nothing' is not known"):
        trained(files, tmp_path, epochs=1, agreement="nothing")
    assert not (tmp_path / "default").exists()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("agreement", ["distance", "reversal"])
def test_methods_of_the_package_go_on_exactly_with_their_own_curves(
    agreement: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    # A strength that rises does so over the planned epochs, which a finished run has had.
    whole = trained(files, tmp_path / "whole", epochs=2, agreement=agreement, distance_rise=0.0)
    trained(files, tmp_path / "parts", epochs=1, agreement=agreement, distance_rise=0.0)
    parts = trained(files, tmp_path / "parts", "0", epochs=1)
    first, second = (load_file(run.checkpoint_file) for run in (whole, parts))
    if agreement == "distance":
        assert parts.history_file.read_bytes() == whole.history_file.read_bytes()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert first["distance.bank"].count_nonzero() > 0
    assert float(first.get("reversal.steps_done", 6)) == float(second.get("reversal.steps_done", 6)) == 6
    rows = whole.read_history()
    assert rows[-1]["distance" if agreement == "distance" else "reversal_loss"] > 0
    assert math.isnan(rows[-1]["val_adv_loss"])
    names = {drawing.name for drawing in drawings_of_history(rows, HistoryReferences(), with_adversary=False)}
    assert ("agreement_distance" if agreement == "distance" else "reversal_loss") in names
    assert not any("adv" in name for name in names)


def a_step(method: type[DomainLoss], kind: type[TrainingStep] = TrainingStep, **more: Any) -> TrainingStep:
    domain = method(DomainSettings(1.0, seed=2, pt_ranges=(0.25, 0.5), control_jets=CONTROL, steps=10))
    settings = TrainSettings.make(**{"regularization": 0.0, "seed": 5} | more)
    return kind(Classifier(DEFAULT_SHAPE, 1, "torch"), domain, settings)


@pytest.mark.parametrize("method", [Distance, Reversal])
def test_pieces_and_recorded_steps_give_the_gradients_of_the_whole(method: type[DomainLoss]) -> None:
    """In double precision: jets with nearly equal log-odds would change places by rounding to single precision."""
    jets, found = StepJets(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), np.arange(MAIN, 300)), []
    for step in (
        *(a_step(method, dropout=0.0, accumulate=pieces) for pieces in (1, 3)),
        *(a_step(method, kind) for kind in (TrainingStep, StaticStep)),
    ):
        found.append(gradients_and_sums(step, in_double_precision(step, tensors()), jets))
    for (ours, sums), (expected, expected_sums) in ((found[1], found[0]), (found[3], found[2])):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-11)
        assert sums == pytest.approx(expected_sums, rel=1e-10)


def test_reversal_turns_the_gradient_of_the_network_and_not_that_of_its_head() -> None:
    domain = Reversal(DomainSettings(2.0, steps=10))
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(50, 64, generator=generator, requires_grad=True)
    jets = ControlJets(torch.zeros(50, 3), (torch.arange(50) % 2).float(), torch.ones(50), torch.zeros(50, 3), hidden)
    found: list[tuple[Tensor, Tensor | None]] = []
    for _ in range(11):
        domain.zero_grad()
        hidden.grad = None
        domain.penalty(jets, 50, StepSums(CPU, Reversal.stages)).backward()  # type: ignore[no-untyped-call]
        assert hidden.grad is not None
        found.append((hidden.grad.clone(), domain.inner.kernel.grad))
        domain.after_step()
    (first, head), (last, last_head) = found[0], found[-1]
    assert torch.equal(first, torch.zeros_like(first))
    assert head is not None
    torch.testing.assert_close(head, last_head)
    # The ramp has ended: 2 / (1 + exp(-10)) - 1, times the strength.
    assert float(domain.factor) == pytest.approx(2.0, rel=1e-3)
    logits = domain.outer(domain.inner(hidden).relu())[:, 0]
    (plain,) = torch.autograd.grad(data_or_simulation_loss(logits, jets.is_data).mean(), hidden)
    torch.testing.assert_close(last, -domain.factor * plain)
