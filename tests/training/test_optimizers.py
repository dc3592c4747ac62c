"""Schedules of the learning rate, and trainings with them."""

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cal_ratio_trainer.config.learning import Schedule
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.runs.recommendation import epochs_without_progress
from cal_ratio_trainer.training import finish
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.loop import TrainingLoop
from cal_ratio_trainer.training.optimizers import (
    adamw,
    add_to_average,
    keras_nadam,
    learning_rate_at,
    make_capturable,
    set_learning_rate,
)
from cal_ratio_trainer.training.setup import Training
from cal_ratio_trainer.training.signals import StopRequest, TrainingStopped
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import train_set
from tests.training.steps import adversary_of, new_step
from tests.training.test_cuda_graph import tensors

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small main and control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"), 300, 200)


def settings_of(files: tuple[Path, Path], folder: Path, **changes: Any) -> TrainSettings:
    small: dict[str, Any] = {
        **{"epochs": 4, "num_splits": 3, "sample_fraction": 1.0, "threads": 1, "train_fraction": 0.6},
        **{name: [6, 4] for name in ("cluster_filters", "track_filters", "muon_segment_filters")},
        **{"hidden_layer_fraction": 0.03, "plot_processes": 0, "epoch_plots": False, "tensorboard": False},
    }
    main, control = map(str, files)
    return TrainSettings.make(
        main_training_file=main, cr_training_file=control, output_path=folder, **{**small, **changes}
    )


def trained(start: Start) -> TrainSummary:
    return train(start, say=lambda text: None, details=lambda figures: "")


def continued(settings: TrainSettings, **given: Any) -> TrainSummary:
    """Goes on with the newest run."""
    layers = [("defaults", {}), ("command line", {"output_path": str(settings.output_path), **given})]
    return trained(find_start(layers, settings, "-1"))


def content_of(summary: TrainSummary) -> tuple[list[dict[str, float]], bytes]:
    """History, and the checkpoint without the run's id: networks, optimisers and averages."""
    from safetensors.torch import load, save

    checkpoint = load(summary.run.checkpoint_file.read_bytes())
    return json.loads(summary.run.history_file.read_text()), save(checkpoint)


def test_constant_is_the_peak_at_every_step() -> None:
    assert {learning_rate_at("constant", 0.5, step, 10) for step in range(10)} == {0.5}


def test_warmup_cosine_rises_in_the_first_3_percent_and_then_falls_as_half_a_cosine() -> None:
    rates = [learning_rate_at("warmup_cosine", 8.0, step, 100) for step in range(100)]
    np.testing.assert_allclose(rates[:4], [8 / 3, 16 / 3, 8, 8])
    # Half of the 97 falling steps lies between steps 51 and 52.
    assert (rates[51] + rates[52]) / 2 == pytest.approx(4.0, abs=1e-3)
    assert np.all(np.diff(rates[3:]) < 0)
    assert rates[99] == pytest.approx(4 * (1 - np.cos(np.pi / 97)))
    assert learning_rate_at("warmup_cosine", 8.0, 0, 1) == 8.0


@pytest.mark.parametrize("steps", [10, 50, 333])
def test_one_cycle_is_that_of_pytorch(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps, cycle_momentum=False)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    rates = [learning_rate_at("one_cycle", 0.02, step, steps) for step in range(steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize("schedule", ["warmup_cosine", "one_cycle"])
def test_rates_are_positive_and_not_above_the_peak_in_the_shortest_trainings(schedule: Schedule) -> None:
    for steps in range(1, 8):
        rates = [learning_rate_at(schedule, 1.0, step, steps) for step in range(steps)]
        assert all(0 < rate <= 1 for rate in rates), (steps, rates)


@pytest.mark.parametrize("make", [keras_nadam, partial(adamw, weight_decay=0.1)], ids=["nadam", "adamw"])
def test_a_capturable_optimiser_does_the_same_steps_with_its_rate_in_one_tensor(
    make: Callable[[torch.nn.Module, float], torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph reads the rate at the address that it had when the step was recorded. Here PyTorch's form for graphs
    computes on the CPU, which it refuses otherwise.
    """
    for name in ("nadam", "adam", "adamw"):
        module = importlib.import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"], raising=False)
    results = []
    for capturable in (False, True):
        torch.manual_seed(1)
        network = torch.nn.Linear(3, 2)
        optimizer, rates = make(network, 0.1), []
        for step, rate in enumerate((0.1, 0.02, 0.3, 0.001)):
            if capturable and step == 1:
                make_capturable(optimizer)
            set_learning_rate(optimizer, rate)
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            network(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        results.append(torch.cat([weight.detach().flatten() for weight in network.parameters()]))
    torch.testing.assert_close(results[1], results[0])
    assert rates[1] is rates[2] is rates[3]


def test_adamw_is_that_of_pytorch_and_decays_kernels_alone() -> None:
    module = torch.nn.Linear(2, 3)
    kernel, bias = (weight.detach().clone() for weight in (module.weight, module.bias))
    optimizer = adamw(module, 0.1, weight_decay=0.5)
    module.weight.grad, module.bias.grad = torch.zeros(3, 2), torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(module.weight.detach(), kernel * (1 - 0.1 * 0.5))
    torch.testing.assert_close(module.bias.detach(), bias)


def test_the_average_forgets_the_first_weights_soon_and_then_decays_as_it_should() -> None:
    average, module = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    expected, values = 5.0, np.random.default_rng(1).normal(size=40)
    torch.nn.init.constant_(average.weight, expected)
    for step, value in enumerate(values):
        torch.nn.init.constant_(module.weight, value)
        add_to_average(average, module, 0.8, step)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(average.weight.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [TrainingStep, StaticStep])
def test_a_gradient_above_the_limit_gets_its_length_and_one_below_stays(kind: type[TrainingStep]) -> None:
    """Of SGD the change of the weights is the gradient; 1e9 is no limit."""
    lengths = {}
    for limit in (None, 1e9, 0.01):
        step = new_step(kind=kind, clip_gradient=limit, regularization=0.1)
        step.classifier_optimizer = torch.optim.SGD(step.classifier.parameters(), lr=1.0)
        before = [weight.detach().clone() for weight in step.classifier.parameters()]
        jets = StepJets(np.arange(40), np.arange(60, 100), np.arange(60, 80))
        step.prepare(data := tensors(), [jets], 0)
        step(data, jets, 0, 0, step.new_sums(torch.device("cpu")))
        after = step.classifier.parameters()
        changes = [(old - new.detach()).flatten() for old, new in zip(before, after, strict=True)]
        lengths[limit] = float(torch.cat(changes).norm())
    assert lengths[None] > 0.1
    assert lengths[1e9] == pytest.approx(lengths[None], rel=1e-5)
    assert lengths[0.01] == pytest.approx(0.01, rel=1e-3)


def test_the_averaged_network_is_validated_kept_and_scored(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    scored = finish.score_test_part

    def score(training: Training, c2st_seed: int | None) -> Any:
        used.append(training.step)
        return scored(training, c2st_seed)

    monkeypatch.setattr(finish, "score_test_part", score)
    run = trained(Start(settings_of(files, tmp_path, epochs=1, average_weights=0.7))).run
    step = used[-1]
    kept = run.network_at("last").load()
    assert step.network is not step.classifier
    for name, weight in kept.weights().items():
        np.testing.assert_array_equal(weight, step.network.weights()[name])
        assert not np.array_equal(weight, step.classifier.weights()[name])


def test_the_adversary_keeps_its_own_rate() -> None:
    step = new_step(adversary_learning_rate=1e-4)
    step.set_learning_rate(0.5)
    optimizer = adversary_of(step).optimizer
    assert optimizer is not None
    assert [each.param_groups[0]["lr"] for each in (step.classifier_optimizer, optimizer)] == [0.5, 1e-4]


def test_a_run_tells_the_rate_of_each_epoch_s_last_step(files: tuple[Path, Path], tmp_path: Path) -> None:
    changes = {"schedule": "warmup_cosine", "learning_rate": 0.003}
    run = trained(Start(settings_of(files, tmp_path, **changes))).run
    rows = run.read_history()
    assert list(rows[0])[-1] == "learning_rate"
    expected = [learning_rate_at("warmup_cosine", 0.003, step, 12) for step in (2, 5, 8, 11)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    details = (run.path / "training_details.txt").read_text()
    assert "schedule: warmup_cosine" in details


def test_a_finished_run_that_goes_on_follows_the_schedule_of_its_new_length(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = settings_of(files, tmp_path, epochs=2, schedule="warmup_cosine", learning_rate=0.003)
    trained(Start(settings))
    rows = continued(settings, epochs=2).run.read_history()
    expected = [learning_rate_at("warmup_cosine", 0.003, *place) for place in ((2, 6), (5, 6), (8, 12), (11, 12))]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


EVERYTHING = {
    "optimizer": "adamw",
    "clip_gradient": 0.5,
    "average_weights": 0.9,
    "accumulate": 2,
    "auxiliary_weight": 0.3,
    "standardize_inputs": True,
}


@pytest.mark.parametrize(
    "changes", [{"schedule": "one_cycle", "adversary_learning_rate": 0.0004}, EVERYTHING], ids=["nadam", "adamw"]
)
def test_a_training_that_stops_within_an_epoch_goes_on_bit_for_bit(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole = trained(Start(settings_of(files, tmp_path / "whole", **changes)))
    settings, asked = settings_of(files, tmp_path / "parts", **changes), list[int]()

    def stop_in_third_epoch(loop: TrainingLoop, stop: StopRequest) -> bool:
        asked.append(1)
        return len(asked) == 10  # three steps and the end of an epoch ask once each

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLoop, "_is_to_stop", stop_in_third_epoch)
        with pytest.raises(TrainingStopped, match="stopped in epoch 2 after 2 of 3"):
            trained(Start(settings))
    assert content_of(continued(settings)) == content_of(whole)


def test_a_training_ends_early_where_no_epoch_comes_onto_the_front_and_goes_on_with_its_whole_patience(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = trained(Start(settings_of(files, tmp_path / "whole", epochs=6))).run.read_history()
    ends = [count for count in range(7) if epochs_without_progress(whole[:count]) >= 1]
    assert 0 < ends[0] < 6, "the example has to stop"
    settings = settings_of(files, tmp_path / "early", epochs=6, early_stopping=1)
    run = trained(Start(settings)).run
    assert run.read_history() == whole[: ends[0]]
    record = run.read_record()
    assert (record["status"], record["finished_epochs"], record["planned_epochs"]) == ("finished", ends[0], 6)
    assert record["reason"].startswith("early stopping: for 1 epochs none has come onto the Pareto front")
    assert "early stopping: for 1 epochs" in (run.path / "training_details.txt").read_text()
    later = [count for count in ends if count > ends[0]]
    continued(settings, epochs=6 - ends[0])
    assert run.read_history() == whole[: later[0] if later else 6]
    assert ("reason" in run.read_record()) == (bool(later) and later[0] < 6)


def test_a_fold_set_is_complete_where_its_networks_ended_early(files: tuple[Path, Path], tmp_path: Path) -> None:
    summary = train_set(settings_of(files, tmp_path, epochs=6, folds=2, early_stopping=1, train_fraction=0.5))
    epochs = [len(fold.read_history()) for fold in summary.run.networks]
    assert min(epochs) < 6
    assert (summary.lacking, summary.run.read_record()["status"]) == ((), "finished")
    assert len(summary.run.read_history()) == min(epochs)
