"""The script that writes jets as text for the C++ example."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.factories.files import write_training_files
from tests.formats.numpy_network import random_weights, scores
from tests.formats.shapes import SHAPES

SCRIPT = Path(__file__).parents[2] / "examples" / "cpp" / "write_jets.py"


def called(*words: object) -> subprocess.CompletedProcess[str]:
    """The script in a separate process."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_text_holds_what_the_network_reads_and_the_scores_that_it_gives(tmp_path: Path) -> None:
    main, _ = write_training_files(tmp_path, main_jets=40, control_jets=10)
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    write_keras(tmp_path / "network.keras", DEFAULT_SHAPE, weights)
    done = called(tmp_path / "network.keras", main, tmp_path / "jets", "--jets", 12)
    assert (done.returncode, done.stderr) == (0, "")
    rows = np.loadtxt(tmp_path / "jets" / "jets.txt")
    assert rows.shape == (12, 743)
    clusters, tracks, segments, jets = np.split(rows, [360, 560, 740], axis=1)
    padded = [clusters.reshape(-1, 30, 12), tracks.reshape(-1, 20, 10), segments.reshape(-1, 30, 6)]
    expected = scores(DEFAULT_SHAPE, weights, padded, jets)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "jets" / "scores.txt"), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3


def test_networks_with_masses_are_refused(tmp_path: Path) -> None:
    main, _ = write_training_files(tmp_path, main_jets=20, control_jets=10)
    write_keras(tmp_path / "network.keras", SHAPES["one_mass"], random_weights(SHAPES["one_mass"], seed=1))
    done = called(tmp_path / "network.keras", main, tmp_path / "jets")
    assert done.returncode == 2
    assert "reads masses, which this example does not write" in done.stderr
