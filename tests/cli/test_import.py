"""`cr_trainer import` on the command line."""

import subprocess
import sys
from pathlib import Path

from tests.formats.earlier_files import keras_2_zip, written
from tests.formats.numpy_network import random_weights
from tests.formats.shapes import SHAPES


def called(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line in a separate process."""
    command = [sys.executable, "-m", "cal_ratio_trainer", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_import_says_what_came_in_and_what_is_assumed(tmp_path: Path) -> None:
    shape = SHAPES["other_widths"]
    file = written(tmp_path, keras_2_zip(shape, random_weights(shape, seed=1)), "study.keras")
    done = called("import", file, "--output-path", tmp_path / "runs")
    assert done.returncode == 0
    assert "imported as study/00000: 1,116 parameters, from study.keras (zip of Keras 2.13.1" in done.stdout
    assert "0 to 500 GeV is assumed" in done.stderr
    shown = called("model-dump", "study/0", "--output_path", tmp_path / "runs")
    assert "1,116 parameters" in " ".join(shown.stdout.split())


def test_a_file_that_cannot_be_imported_ends_in_a_sentence_and_status_2(tmp_path: Path) -> None:
    file = written(tmp_path, b"nothing of the kind", "study.keras")
    done = called("import", file, "--output_path", tmp_path / "runs")
    assert done.returncode == 2
    assert "study.keras: is no network file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
