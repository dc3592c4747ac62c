"""Permutation importance of networks with known weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.runs.importance import permutation_importance
from cal_ratio_trainer.runs.networks import Networks
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.runs.test_sample import RunSample, TestJets
from tests.factories.jets import synthetic_jets

JETS = 120
SHAPE = replace(DEFAULT_SHAPE, hidden=(8, 8))


@pytest.fixture(scope="module")
def sample() -> RunSample:
    """Test jets whose pt tells signal from the rest."""
    labels = np.random.default_rng(1).integers(0, 3, JETS)
    jets = synthetic_jets(labels, seed=2)
    pt = np.where(labels == 1, 0.6, 0.2) + np.random.default_rng(3).uniform(0, 0.35, JETS)
    jets = jets.with_columns({"jet_pt": pt.astype(np.float32), "evaluation_weight": jets["mcEventWeight"]})
    main = TestJets(Path("test_sample.parquet"), jets, JetMetadata(stage="built"))
    return RunSample(main, main.without_jets(), TrainSettings(), torch.device("cpu"))


def network(changed: Mapping[str, np.ndarray] | None = None, shape: NetworkShape = SHAPE) -> Networks:
    classifier = Classifier(shape, seed=4)
    classifier.set_weights({name: 2 * weight for name, weight in classifier.weights().items()} | dict(changed or {}))
    return Networks((classifier,))


def found_by_name(sample: RunSample, networks: Networks, **how: int) -> dict[str, tuple[float, float]]:
    """Decrease of AUC, and loss of rejection, by input and by kind."""
    found = permutation_importance(sample, networks, **{"permutations": 2, **how})
    return {each.name: (each.auc.value, each.rejection.value) for each in (*found.inputs, *found.kinds)}


def test_an_input_that_the_network_ignores_has_exactly_no_importance(sample: RunSample) -> None:
    weights = network().classifiers[0].weights()
    clusters, hidden = weights["clusters.dense.0.kernel"], weights["hidden.0.kernel"]
    clusters[11] = 0  # The last feature of clusters, the time.
    hidden[10:20] = 0  # The vector of the tracks.
    found = found_by_name(sample, network({"clusters.dense.0.kernel": clusters, "hidden.0.kernel": hidden}))
    tracks = {name for name in found if name.startswith("track")}
    assert len(tracks) == 11
    assert {name for name, (auc, rejection) in found.items() if auc == rejection == 0} == tracks | {"clus_time"}


def test_an_input_that_the_network_uses_alone_has_all_importance(sample: RunSample) -> None:
    weights = network().classifiers[0].weights()
    alone = {name: np.zeros_like(values) for name, values in weights.items()}
    # Signal logit = 10 pt, through one unit of each hidden layer.
    alone["hidden.0.kernel"][-3, 0] = alone["hidden.1.kernel"][0, 0] = 1
    alone["output.kernel"][0, 1] = 10
    networks = network(alone)
    found = permutation_importance(sample, networks, permutations=6)
    assert found.auc > 0.95
    by_name = {each.name: each for each in (*found.inputs, *found.kinds)}
    for name in ("jet_pt", "jet"):
        # Without it a guess is left, with an AUC of 1/2.
        left, decrease = found.auc - by_name[name].auc.value, by_name[name].auc
        assert abs(left - 0.5) < 4 * decrease.permutation_error + 0.02
        assert 0 < decrease.permutation_error < 0.1
        assert 0 < decrease.error < 0.1
    rest = by_name.keys() - {"jet_pt", "jet"}
    assert {by_name[name].auc.value for name in rest} == {0.0}
    assert {by_name[name].auc.error for name in rest} == {0.0}


def test_permuted_values_are_those_of_other_jets_and_everything_else_stays(sample: RunSample) -> None:
    networks = network()
    found = permutation_importance(sample, networks, permutations=1, seed=5)
    names = [each.name for each in (*found.inputs, *found.kinds)]
    jets = sample.main.jets

    def auc_of(changed: JetTensors) -> float:
        scores = scores_of(networks.classifiers[0], changed)
        return roc_auc(ScoredJets(scores, jets.label, sample.main.weights))

    def decrease(name: str) -> float:
        return next(each.auc.value for each in (*found.inputs, *found.kinds) if each.name == name)

    tensors = JetTensors.from_jets([jets], torch.device("cpu"))
    before = auc_of(tensors)
    assert found.auc == pytest.approx(before, abs=1e-9)
    order, rows = (
        np.random.default_rng([5, names.index(name), 0]).permutation(JETS) for name in ("jet_eta", "muon_segments")
    )
    assert decrease("jet_eta") == pytest.approx(
        before - auc_of(JetTensors.from_jets([jets.with_columns({"jet_eta": jets["jet_eta"][order]})], tensors.device)),
        abs=1e-4,
    )
    lists = {**jets.constituents, "muon_segments": jets.constituents["muon_segments"].take(rows)}
    exchanged = JetTensors.from_jets([replace(jets, constituents=lists)], tensors.device)
    assert decrease("muon_segments") == pytest.approx(before - auc_of(exchanged), abs=1e-4)
    random = np.random.default_rng([5, names.index("MSeg_t0"), 0])
    random.permutation(JETS)
    values = tensors.values["muon_segments"].clone()
    values[:-1, 5] = values[random.permutation(len(values) - 1), 5]
    changed = replace(tensors, values={**tensors.values, "muon_segments": values})
    assert decrease("MSeg_t0") == pytest.approx(before - auc_of(changed), abs=1e-4)


def test_a_seed_gives_the_same_twice_and_few_jets_are_drawn_from_many(sample: RunSample) -> None:
    networks = network()
    first, again, other = (found_by_name(sample, networks, permutations=1, seed=seed) for seed in (6, 6, 7))
    assert first == again
    assert first != other
    assert permutation_importance(sample, networks, permutations=1, max_jets=60).jets == 60


@pytest.mark.parametrize("rule", [FoldRule(2), EnsembleRule(2)])
def test_equal_networks_of_a_set_read_each_jet_as_one_network_would(
    sample: RunSample, rule: FoldRule | EnsembleRule
) -> None:
    one = network()
    two = Networks((one.classifiers[0], one.classifiers[0]), rule)
    alone, together = (found_by_name(sample, each) for each in (one, two))
    for name, figures in alone.items():
        assert together[name] == pytest.approx(figures, abs=2e-3), name


def test_a_parametrised_network_keeps_the_masses_of_its_jets(sample: RunSample) -> None:
    massive = RunSample(sample.main, sample.control, TrainSettings(mH_parametrization=True), sample.device)
    networks = network(shape=replace(SHAPE, masses=1))
    found = found_by_name(massive, networks, permutations=1)
    assert "llp_mH" not in found
    assert found["clusters"][0] != 0
    with pytest.raises(RunError, match="reads 1 masses, but settings for 0"):
        permutation_importance(sample, networks)


@pytest.mark.parametrize("encoder", ["deep_sets", "transformer"])
def test_every_encoder_can_be_explained(sample: RunSample, encoder: str) -> None:
    found = found_by_name(sample, Networks((Classifier(replace(SHAPE, encoder=encoder)),)), permutations=1, max_jets=50)
    assert len(found) == 35
    assert np.isfinite([auc for auc, _ in found.values()]).all()
