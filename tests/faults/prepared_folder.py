"""Folder with the inputs of all commands, and the files that each command writes there."""

import shutil
from pathlib import Path

from benchmarks.golden import sums_of
from tests.faults.commands import run_expecting

TRAIN = (
    "train --main_training_file main.parquet --cr_training_file control.parquet --epochs 2 --num_splits 3 "
    "--sample_fraction 1 --train_fraction 0.8 --keep_weights all --threads 1 --no-epoch_plots --plot_processes 1"
)
COMMANDS = {
    "convert": "convert divertanalysis */*.root --data_type qcd --output_path again",
    "build": "build converted/*/*.parquet --normalise none --output_file again.parquet --overwrite",
    "resample": "resample main.parquet half.parquet 0.5 --overwrite",
    "score": "score main.parquet default/0/last --threads 1",
    "compare": "compare default/0/0 default/0/1 --threads 1 --replicas 5",
    "analyze": "analyze default/0 --replicas 10 --plotted_epochs 1",
    "plot": "plot control.parquet --common_plots jet_pt",
    "export": "convert training default/0/last --format all",
}

_NEEDED = ("converted", "qcd_JZ1", "qcd_JZ6", "main.parquet", "control.parquet", "training_results")

STATUSES = {"analyze": 1}
"""Exit status of undisturbed commands, if it is not 0: with so few jets no epoch is recommended."""

_MOMENTARY = {"run.json", "training_details.txt", "output.txt"}
"""Files whose content depends on the time and the number of calls."""


def make(folder: Path) -> None:
    """Fills an empty folder with the inputs of the commands: jets, training files and a run."""
    run_expecting(["demo", "--output_path", ".", "--jets", 30], folder)
    run_expecting(["convert", "divertanalysis", "--config", "convert.yaml"], folder)
    for kind in ("main", "control"):
        run_expecting(["build", "--config", f"build_{kind}.yaml"], folder)
    run_expecting(TRAIN.split(), folder)
    # Each test copies the folder, and all of it is checked after each kill, so files that no command needs are removed.
    for path in folder.iterdir():
        if path.name not in _NEEDED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (folder / "converted").iterdir():
        if path.name not in ("signal_mH125_mS5_lt1", "qcd_JZ6", "bib"):
            shutil.rmtree(path)


def sums(folder: Path) -> dict[str, str]:
    """Digests of the files below a folder, except those that depend on the time and the number of calls."""
    return {name: value for name, value in sums_of(folder).items() if Path(name).name not in _MOMENTARY}
