"""Scoring throughput of the network on jets in memory: `python -m benchmarks.score`."""

import argparse
import time

import numpy as np
import torch

from benchmarks.train import random_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.scoring import scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE


def main() -> None:
    """Print jets scored a second, for main and control-region occupancy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=50_000, help="jets of each kind")
    arguments = parser.parse_args()
    classifier = Classifier(DEFAULT_SHAPE)
    for sample in ("main", "control"):
        jets = random_jets(arguments.jets, sample, np.random.default_rng(1))
        tensors = JetTensors.from_jets([jets], torch.device("cpu"))
        scores_of(classifier, tensors, np.arange(1000))
        start = time.perf_counter()
        scores_of(classifier, tensors)
        seconds = time.perf_counter() - start
        print(f"{sample} jets: {arguments.jets / seconds:.0f} jets/s with {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
