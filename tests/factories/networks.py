"""Untrained networks."""

from pathlib import Path

import numpy as np

from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape


def write_network(path: Path, seed: int = 1, shape: NetworkShape = DEFAULT_SHAPE) -> Path:
    """An untrained network whose scores depend visibly on every input."""
    weights = Classifier(shape, seed).weights()
    write_keras(path, shape, {name: values * np.float32(2.0) for name, values in weights.items()})
    return path
