"""A file of this program, opened and saved again by Keras 3 itself, is imported as the same network."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.formats.network_file import read_network
from tests.formats.numpy_network import random_inputs, random_weights, scores
from tests.formats.shapes import SHAPES

NAMES = ("default", "other_widths", "two_lstm_layers", "two_masses")
FILLED = (0, 1, 5, 30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of this program, Keras' scores, and the files that Keras saved, made in a separate process."""
    folder = tmp_path_factory.mktemp("keras")
    for name in NAMES:
        write_keras(folder / f"{name}.keras", SHAPES[name], random_weights(SHAPES[name], seed=1))
        constituents, jets = random_inputs(SHAPES[name], FILLED, seed=2)
        np.savez(folder / f"{name}.npz", *constituents, jets)
    script = Path(__file__).with_name("keras_scores.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=300)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_alone_out_of_what_keras_3_saved_are_the_same(name: str, folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "saved_again" / f"{name}.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    found = read_network(tmp_path / "model.weights.h5")
    for weight, values in random_weights(SHAPES[name], seed=1).items():
        np.testing.assert_array_equal(found.weights[weight], values)


@pytest.mark.parametrize("name", NAMES)
def test_what_keras_3_saved_is_imported_and_gives_keras_scores(name: str, folder: Path) -> None:
    found = read_network(folder / "saved_again" / f"{name}.keras")
    assert found.shape == SHAPES[name]
    assert found.form.startswith("zip of Keras 3.")
    computed = scores(found.shape, found.weights, *random_inputs(found.shape, FILLED, seed=2))
    np.testing.assert_allclose(computed, np.load(folder / f"{name}.npy"), rtol=0, atol=1e-5)
    assert np.ptp(computed, axis=0).min() > 1e-3, "the jets must differ for this to say anything"
