"""Writes jets as text for the C++ example, with the scores of the network.

python examples/cpp/write_jets.py NETWORK FILE FOLDER [--jets 50] [--output_path training_results]

NETWORK is NAME/RUN/EPOCH or a .keras file, FILE a file of jets from `cr_trainer build`. The script writes
FOLDER/jets.txt (one line per jet: clusters slot by slot, tracks, muon segments, then the jet itself) and
FOLDER/scores.txt.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.cleaning import clean_for_training, is_built
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.schema import JET_INPUTS
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.runs.finding import find_network


def text_rows(jets: Jets) -> np.ndarray:
    """Returns the inputs of a network without masses, [jets, 743]."""
    padded = [jets.constituents[kind.name].padded(kind.limit)[:, :, list(kind.inputs)] for kind in CONSTITUENTS]
    own = np.stack([jets[name] for name in JET_INPUTS], axis=1)
    return np.concatenate([*(values.reshape(len(jets), -1) for values in padded), own], axis=1)


def write(network: str, file: Path, folder: Path, count: int, output_path: Path) -> int:
    """Writes both files; returns the number of jets."""
    classifier = find_network(network, output_path).load()
    if classifier.shape.masses:
        raise UserError(f"{network} reads masses, which this example does not write")
    loaded = open_jets(file)
    if not is_built(loaded.metadata, loaded.load()):
        raise UserError(f"{file} is not scaled; cr_trainer build does that")
    jets, _ = clean_for_training(loaded.load().take(np.arange(min(count, len(loaded.load())))))
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "jets.txt", text_rows(jets), fmt="%.9g")
    np.savetxt(
        folder / "scores.txt", scores_of(classifier, JetTensors.from_jets([jets], torch.device("cpu"))), fmt="%.9g"
    )
    return len(jets)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jets", type=int, default=50)
    parser.add_argument("--output_path", type=Path, default=Path("training_results"))
    given = parser.parse_args()
    try:
        written = write(given.network, given.file, given.folder, given.jets, given.output_path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{written} jets in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
