"""One step of training: determinism, and parameters that its parts do not change."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.network.batch import Batch, JetTensors
from cal_ratio_trainer.network.domain.adversary import (
    Adversary,
    BatchNorm,
    correct_predictions,
    data_or_simulation_loss,
)
from cal_ratio_trainer.network.domain.base import ControlJets, DomainSettings, StepSums
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.training.optimizers import keras_nadam
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from tests.factories.jets import synthetic_jets
from tests.training.steps import adversary_of, gradients_and_sums, in_double_precision, new_step

CPU = torch.device("cpu")


def tensors() -> JetTensors:
    rng = np.random.default_rng(1)
    main, control = synthetic_jets(rng.integers(0, 3, 60), 1), synthetic_jets(rng.choice([0, 2], 40), 2)
    target = np.concatenate([main.label, control.label > 0]).astype(np.int64)
    return JetTensors.from_jets([main, control], CPU).for_training(torch.from_numpy(target), torch.ones(100))


JETS = StepJets(np.arange(60), np.arange(60, 100).repeat(2)[:60], np.arange(60, 100))


def weights_after(steps: int) -> dict[str, torch.Tensor]:
    training, data = new_step(), tensors()
    for number in range(steps):
        training(data, JETS, 0, number, training.new_sums(CPU))
    return {**training.classifier.state_dict(), **adversary_of(training).state_dict(prefix="adversary.")}


def update_network(training: TrainingStep, data: JetTensors, jets: StepJets) -> StepSums:
    """The step without the adversary's updates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adversary, "updates", 0)
        sums = training.new_sums(CPU)
        training(data, jets, 0, 0, sums)
    return sums


def update_adversary(training: TrainingStep, data: JetTensors) -> StepSums:
    """The adversary's updates alone: no jets are left for the classifier's; without regularization."""
    sums = training.new_sums(CPU)
    training(data, StepJets(JETS.main[:0], JETS.control[:0], JETS.update), 0, 0, sums)
    return sums


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    first, second = weights_after(3), weights_after(3)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_adversary_no_control_jet_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    training, data, read = new_step(0.0), tensors(), list[int]()
    batch = JetTensors.batch

    def watched(jets: JetTensors, positions: NDArray[np.int64], share: NDArray[np.int64] | None = None) -> Batch:
        read.extend(positions)
        return batch(jets, positions, share)

    monkeypatch.setattr(JetTensors, "batch", watched)
    training(data, JETS, 0, 0, training.new_sums(CPU))
    assert sorted(read) == JETS.main.tolist()


def test_the_networks_update_leaves_the_adversary_alone() -> None:
    training, data = new_step(), tensors()
    adversary = adversary_of(training).eval()
    before = {name: value.clone() for name, value in adversary.state_dict().items()}
    update_network(training, data, JETS)
    assert all(torch.equal(before[name], value) for name, value in adversary.state_dict().items())
    assert all(weight.requires_grad for weight in adversary.parameters())


def test_the_adversarys_update_leaves_the_network_alone() -> None:
    training, data = new_step(regularization=0.0), tensors()
    before = {name: value.clone() for name, value in training.classifier.state_dict().items()}
    sums = update_adversary(training, data)
    assert all(torch.equal(before[name], value) for name, value in training.classifier.state_dict().items())
    assert sums.values()["adversary_jets"] == 2 * 40


def test_the_penalty_is_the_gradient_of_l1_and_l2_on_the_kernels_that_have_one() -> None:
    training = new_step(regularization=0.01)
    for weight in training.classifier.parameters():
        weight.grad = torch.zeros_like(weight)
    training._add_regularization_gradient()
    gradients = {name: weight.grad for name, weight in training.classifier.named_parameters()}
    kernel = training.classifier.get_parameter("hidden.0.kernel")
    probe = kernel.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(0.01 * (probe.abs().sum() + probe.square().sum()), probe)
    torch.testing.assert_close(gradients["hidden.0.kernel"], expected)
    for name, gradient in gradients.items():
        assert gradient is not None
        penalised = name.endswith(".kernel") and not name.startswith("output")
        assert bool(gradient.any()) == penalised, name


def test_training_without_dropout_lowers_the_loss() -> None:
    training, data = new_step(0.0, dropout=0.0), tensors()
    losses = []
    for number in range(30):
        sums = training.new_sums(CPU)
        training(data, JETS, 0, number, sums)
        losses.append(sums.mean("main")[0])
    assert losses[-1] < 0.8 * losses[0]


def test_nadam_follows_the_momentum_schedule_of_keras() -> None:
    """Three steps on one weight with gradient 2w, worked out from the formulas of Keras' Nadam."""
    weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    module = torch.nn.Module()
    module.register_parameter("w", weight)
    optimizer = keras_nadam(module, 0.1)
    w, m, v, product = 1.0, 0.0, 0.0, 1.0
    for t in (1, 2, 3):
        optimizer.zero_grad()
        (weight**2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        g = 2 * w
        u, u_next = 0.9 * (1 - 0.5 * 0.96**t), 0.9 * (1 - 0.5 * 0.96 ** (t + 1))
        product *= u
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat = u_next * m / (1 - product * u_next) + (1 - u) * g / (1 - product)
        w -= 0.1 * m_hat / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        assert weight.item() == pytest.approx(w, rel=1e-7)


def test_batch_normalisation_keeps_the_biased_variance_as_keras_does() -> None:
    norm = BatchNorm(1, 0.99).train()
    norm(torch.tensor([[0.0], [2.0]]))
    # mean 1, biased variance 1; momentum 0.99 of Keras is 0.01 here.
    assert norm.mean.item() == pytest.approx(0.01)
    assert norm.variance.item() == pytest.approx(0.99 * 1 + 0.01 * 1)
    norm(torch.tensor([[0.0], [4.0]]))
    assert norm.variance.item() == pytest.approx(0.99 * 1.0 + 0.01 * 4.0)


def test_the_adversarys_loss_is_bounded() -> None:
    losses = data_or_simulation_loss(torch.tensor([-100.0, 0.0]), torch.tensor([1.0, 1.0]))
    assert losses[0].item() == pytest.approx(-np.log(1e-7), rel=1e-4)
    assert losses[1].item() == pytest.approx(np.log(2))


def test_the_adversarys_validation_losses_normalise_by_the_jets_at_hand_and_by_running_values() -> None:
    adversary, logits = Adversary(DomainSettings(10.0)), torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    jets = ControlJets(logits, (logits[:, 0] > 0).float(), torch.ones(50), torch.zeros(50, 3))
    running = [value.clone() for value in adversary.buffers()]
    with torch.no_grad():
        first = adversary.metrics(StepSums(CPU, adversary.stages), jets)
        assert all(torch.equal(*pair) for pair in zip(adversary.buffers(), running, strict=True))
        assert abs(first["val_adv_loss"] - first["val_original_adv_lossf"]) > 0.01
        adversary.train()(jets)
        second = adversary.metrics(StepSums(CPU, adversary.stages), jets)
    assert second["val_adv_loss"] == pytest.approx(first["val_adv_loss"], rel=1e-5)
    assert second["val_original_adv_lossf"] == pytest.approx(first["val_adv_loss"], rel=1e-5)


def test_log_odds_show_the_adversary_small_probabilities() -> None:
    # BIB outputs of 1e-3 and 1e-5.
    logits = torch.tensor([[0.0, 0.0, -6.2], [0.0, 0.0, -10.8]])
    jets = ControlJets(logits, torch.tensor([0.0, 1.0]), torch.ones(2), torch.zeros(2, 3))
    np.testing.assert_allclose(jets.log_odds()[:, 2], np.log([1e-3, 1e-5]), rtol=0.02)
    found = {}
    for settings in (DomainSettings(10.0), DomainSettings(10.0, adversary_input="probabilities")):
        first, second = Adversary(settings).eval()(jets).tolist()
        found[settings.adversary_input] = abs(first - second)
    assert found["log_odds"] > 100 * found["probabilities"]


def test_both_updates_of_the_adversary_see_the_same_jets_under_different_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    forward = Adversary.forward

    def watched(adversary: Adversary, jets: ControlJets) -> torch.Tensor:
        seen.append(jets.logits)
        return forward(adversary, jets)

    monkeypatch.setattr(Adversary, "forward", watched)
    update_adversary(new_step(regularization=0.0), tensors())
    first, second = seen
    assert first.shape == second.shape == (40, 3)
    assert not torch.equal(first, second)
    # The same jets in the same order, so both are equal without dropout.
    seen.clear()
    update_adversary(new_step(regularization=0.0, dropout=0.0), tensors())
    torch.testing.assert_close(seen[0], seen[1])


def test_a_probability_of_exactly_one_half_means_simulation() -> None:
    # correct, wrong (1/2 is not above 1/2), correct, wrong
    right = correct_predictions(torch.tensor([0.04, 0.0, 0.0, 2.2]), torch.tensor([1, 1, 0, 0]))
    assert right.tolist() == [True, False, True, False]


@pytest.mark.parametrize("pieces", [2, 7, 30])
def test_a_mini_batch_in_pieces_gives_the_same_gradients_and_sums(pieces: int) -> None:
    """Includes more pieces than jets. Without dropout, because each piece has its own masks."""
    jets, found = StepJets(JETS.main[:12], JETS.control[:12], JETS.update[:8]), []
    for count in (1, pieces):
        training = new_step(dropout=0.0, pieces=count)
        gradients, sums = gradients_and_sums(training, in_double_precision(training, tensors()), jets)
        found.append((gradients, sums, dict(adversary_of(training).named_buffers())))
    (whole, whole_sums, whole_running), (added, sums, running) = found
    assert sums == pytest.approx(whole_sums, rel=1e-12)
    torch.testing.assert_close(added, whole, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(running, whole_running, rtol=1e-12, atol=1e-12)


def test_each_piece_has_dropout_masks_of_its_own() -> None:
    training = new_step(pieces=3)
    keys = {each.masks().key().words for each in training.plan(tensors(), JETS, 0, 0).update_passes}
    assert len(keys) == 3
    assert new_step().plan(tensors(), JETS, 0, 0).update_passes[0].masks().key().words in keys


def test_auxiliary_heads_add_their_mean_loss_on_main_jets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.NAdam, "step", lambda *_: None)
    main, training = torch.from_numpy(JETS.main), new_step(0.0, 0.0, dropout=0.0, auxiliary_weight=0.7)
    data = in_double_precision(training, tensors())
    sums = training.new_sums(CPU)
    training(data, JETS, 0, 0, sums)
    found = [weight.grad for weight in training.classifier.parameters()]
    batch = data.batch(JETS.main)
    vectors = [
        training.classifier.get_submodule(kind.name)(batch.branches[kind.name], None, Engine.TORCH)
        for kind in CONSTITUENTS
    ]
    heads = [each @ head.kernel + head.bias for each, head in zip(vectors, training.classifier.auxiliary, strict=True)]
    losses = [functional.cross_entropy(logits, data.target[main]) for logits in heads]
    loss = functional.cross_entropy(training.classifier(batch), data.target[main]) + 0.7 * sum(losses) / 3
    expected = torch.autograd.grad(loss, list(training.classifier.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert sums.mean("auxiliary")[0] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-12)


def test_auxiliary_heads_are_no_weights_of_the_network_and_change_no_other_initial_weight() -> None:
    with_heads, without = new_step(auxiliary_weight=0.7).classifier, new_step().classifier
    assert with_heads.weights().keys() == without.weights().keys() == with_heads.shape.weight_shapes().keys()
    assert all(np.array_equal(values, without.weights()[name]) for name, values in with_heads.weights().items())
    assert len(list(with_heads.penalised_kernels())) == len(list(without.penalised_kernels()))
    heads = [each.detach().clone() for each in with_heads.auxiliary.parameters()]
    with_heads.set_weights({name: 0 * values for name, values in without.weights().items()})
    assert all(torch.equal(old, new) for old, new in zip(heads, with_heads.auxiliary.parameters(), strict=True))


class EveryThird(Ranks):
    """One of three processes, with its jets and without the sum of gradients."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def share(self, *lengths: int) -> NDArray[np.int64]:
        """Every third of all jets."""
        return np.arange(self.rank, sum(lengths), 3)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("jets", [JETS, StepJets(JETS.main[:1], JETS.control[:1], JETS.update)], ids=["many", "two"])
def test_shares_of_a_mini_batch_add_up_to_its_gradients_with_dropout(
    jets: StepJets, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Includes fewer jets than processes."""
    monkeypatch.setattr(torch.optim.NAdam, "step", lambda *_: None)
    found = []
    for ranks in (ALONE, *map(EveryThird, range(3))):
        training = new_step(regularization=0.0, pieces=pieces, ranks=ranks)
        sums_of_step = update_network(training, in_double_precision(training, tensors()), jets)
        gradients = [weight.grad for weight in training.classifier.parameters() if weight.grad is not None]
        found.append(
            (
                torch.cat([each.flatten() for each in gradients]) if gradients else torch.zeros(1, dtype=torch.float64),
                sums_of_step.take(),
            )
        )
    (whole, sums), *shares = found
    added = sum(gradient for gradient, _ in shares)
    torch.testing.assert_close(added, whole, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sum(each for _, each in shares), sums, rtol=1e-12, atol=1e-12)
