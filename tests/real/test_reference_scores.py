"""The trained network of the earlier program gives its old scores in numpy, in torch, and from our file."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.schema import JET_INPUTS
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats import numpy_network
from tests.real.legacy_weights import legacy_weights

pytestmark = pytest.mark.real

SAMPLES = {
    "bib_pkl_as_is": "frames/bib.pkl",
    "felix_control_region": "frames/felix_control_region.pkl",
    "conv_sig_311314__as_sig": "reference/build/conv_sig_311314__as_sig.parquet",
    "conv_sig_311314__as_qcd": "reference/build/conv_sig_311314__as_qcd.parquet",
}
"""Reference scores -> the jets they were computed on."""

OUTPUTS = ("jet_nn_qcd", "jet_nn_sig", "jet_nn_bib")


@pytest.fixture(scope="module")
def trained(real: Path) -> dict[str, np.ndarray]:
    """The weights of the trained network."""
    folder = real / "networks" / "trained" / "keras"
    return legacy_weights(folder / "final_model_weights_80.weights.h5", DEFAULT_SHAPE)


def sample(real: Path, name: str) -> tuple[Jets, np.ndarray]:
    """The jets of a sample and their reference scores [jets, 3], checked to be of the same jets."""
    jets, _ = clean_for_training(read_jets(real / SAMPLES[name]))
    reference = pq.read_table(real / "reference" / "scores" / f"{name}.parquet")
    np.testing.assert_array_equal(jets["jet_pt"], reference["jet_pt"].to_numpy().astype(np.float32))
    return jets, np.stack([reference[column].to_numpy() for column in OUTPUTS], axis=1)


def numpy_scores(weights: dict[str, np.ndarray], jets: Jets) -> np.ndarray:
    """Scores [jets, 3] by the numpy network on padded jets."""
    padded = [jets.constituents[kind.name].padded(kind.limit)[:, :, list(kind.inputs)] for kind in CONSTITUENTS]
    own = np.stack([jets[name] for name in JET_INPUTS], axis=1)
    return numpy_network.scores(DEFAULT_SHAPE, weights, padded, own)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_numpy_network_gives_the_reference_scores(name: str, real: Path, trained: dict[str, np.ndarray]) -> None:
    jets, expected = sample(real, name)
    np.testing.assert_allclose(numpy_scores(trained, jets), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_network_of_the_product_gives_the_reference_scores(
    name: str, real: Path, trained: dict[str, np.ndarray]
) -> None:
    jets, expected = sample(real, name)
    classifier = Classifier(DEFAULT_SHAPE)
    classifier.set_weights(trained)
    classifier.eval()
    tensors = JetTensors.from_jets([jets], torch.device("cpu"))
    with torch.no_grad():
        logits = classifier(tensors.batch(np.arange(len(jets), dtype=np.int64)))
    np.testing.assert_allclose(torch.softmax(logits, dim=1).numpy(), expected, rtol=0, atol=1e-5)


def test_trained_weights_pass_through_our_file_unchanged(
    real: Path, trained: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_keras(tmp_path / "trained.keras", DEFAULT_SHAPE, trained)
    weights = read_own_network(tmp_path / "trained.keras").weights
    jets, expected = sample(real, "conv_sig_311314__as_sig")
    np.testing.assert_allclose(numpy_scores(weights, jets), expected, rtol=0, atol=1e-5)


def test_other_weights_do_not_give_the_reference_scores(real: Path, trained: dict[str, np.ndarray]) -> None:
    jets, expected = sample(real, "conv_sig_311314__as_sig")
    swapped = trained | {
        "clusters.dense.1.bias": trained["tracks.dense.1.bias"],
        "tracks.dense.1.bias": trained["clusters.dense.1.bias"],
    }
    assert np.abs(numpy_scores(swapped, jets) - expected).max() > 1e-3
