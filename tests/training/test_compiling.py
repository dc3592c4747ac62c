"""Compiling before the first step does not change the training, and is reported if it takes long."""

import time

import pytest
import torch

from cal_ratio_trainer.training import setup
from cal_ratio_trainer.training.setup import compile_loops
from tests.training.steps import new_step
from tests.training.test_cuda_graph import tensors


def test_nothing_that_is_trained_changes() -> None:
    step, fresh, said = new_step(), new_step(), list[str]()
    compile_loops(step, tensors(), said.append)
    for (_, network, _), (_, untouched, _) in zip(step.trained_modules(), fresh.trained_modules(), strict=True):
        expected = untouched.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
        assert all(weight.grad is None for weight in network.parameters())
    assert not step.classifier_optimizer.state


def test_what_takes_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_NOTICE_AFTER_S", 0.01)
    step, said = new_step(), list[str]()
    original = step.classifier.forward

    def slow(*given: object) -> torch.Tensor:
        time.sleep(0.2)
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(step.classifier, "forward", slow)
    assert compile_loops(step, tensors(), said.append) > 0.5
    assert said == ["compiling what computes the network, once on a machine: some ten seconds"]
