"""Jets with reference scores of a network, from the numpy network of the tests, for the checks of files."""

from collections.abc import Mapping

import numpy as np

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.formats.model_card import NetworkFacts
from cal_ratio_trainer.formats.onnx_graph import Preprocessing
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets, drawn_jets, padded_inputs, probes_of
from cal_ratio_trainer.formats.self_check import NetworkToWrite, Probes
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.shape import NetworkShape
from tests.formats import numpy_network

USUAL = Scaling(min_jet_pt=0, max_jet_pt=500)


def probe_inputs(shape: NetworkShape) -> tuple[PaddedJets, np.ndarray]:
    """Scaled jets with all numbers of filled slots, and these numbers."""
    jets, fillings = probes_of(drawn_jets(24), 24)
    masses = np.random.default_rng(3).uniform(0.05, 1, (len(jets), shape.masses)).astype(np.float32)
    return padded_inputs(scale(jets, USUAL).jets, shape, masses), fillings


def known_scores(shape: NetworkShape, weights: Mapping[str, np.ndarray]) -> KnownScores:
    """These jets with the scores of a network."""
    inputs, _ = probe_inputs(shape)
    *constituents, jets = inputs.arrays
    return KnownScores(inputs, numpy_network.scores(shape, weights, constituents, jets).astype(np.float32))


def expected_of(shape: NetworkShape, weights: Mapping[str, np.ndarray]) -> NetworkToWrite:
    """The network that a file should hold, with jets and their scores."""
    probes = Probes(known_scores(shape, weights), probe_inputs(shape)[1])
    return NetworkToWrite(NetworkFacts("network", shape, Preprocessing(USUAL)), weights, probes)
