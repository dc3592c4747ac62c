"""Scores by Keras 3 itself for `.keras` files; the tests run it in a separate process.

python keras_scores.py FOLDER: for every NAME.keras with inputs in NAME.npz writes NAME.npy (scores) and NAME.json (the
names of the layers in Keras' order), and saves the model again as saved_again/NAME.keras.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "torch"

import keras


def main(folder: Path) -> None:
    """Writes the scores of all files of a folder."""
    (folder / "saved_again").mkdir()
    for file in sorted(folder.glob("*.keras")):
        model = keras.models.load_model(file)
        with np.load(file.with_suffix(".npz")) as stored:
            inputs = [stored[f"arr_{i}"] for i in range(len(stored.files))]
        np.save(file.with_suffix(".npy"), model.predict(inputs, verbose=0))
        file.with_suffix(".json").write_text(json.dumps([layer.name for layer in model.layers]))
        model.save(folder / "saved_again" / file.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
