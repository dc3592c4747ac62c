"""Scoring: the network alone on jets in memory, then whole files from disk to scores: `python -m benchmarks.score`.

FILES are scored as `cr_trainer score` does, each in a process of its own, whose peak memory is told. `--times N` scores
a file of jets N times as long as the first one too: memory must not grow.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.train import random_jets
from cal_ratio_trainer.config.score import ScoreSettings
from cal_ratio_trainer.deployment.keras_file import write_keras
from cal_ratio_trainer.jets.store import iterate_jets, read_metadata, writing
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.scoring import scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE

_ONE = "--one"


def main() -> None:
    """Print jets scored a second, and peak memory for files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of jets or ntuples")
    parser.add_argument("--jets", type=int, default=50_000, help="jets of each kind, for the network alone")
    parser.add_argument("--times", type=int, help="score a file N times as long as the first, too")
    parser.add_argument("--threads", type=int, help="CPU threads of the network; all cores if not given")
    parser.add_argument("--network", help="a .keras file; an untrained network if not given")
    parser.add_argument(_ONE, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _score_file(arguments.one, arguments.network, arguments.threads)
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for sample in ("main", "control"):
        _score_in_memory(sample, arguments.jets)
    with tempfile.TemporaryDirectory() as folder:
        network = arguments.network or str(_untrained(Path(folder)))
        files = [*arguments.files]
        if arguments.times:
            files.append(str(_repeated(Path(arguments.files[0]), arguments.times, Path(folder))))
        for file in files:
            words = [sys.executable, "-m", "benchmarks.score", _ONE, file, "--network", network]
            words += ["--threads", str(arguments.threads)] if arguments.threads else []
            subprocess.run(words, check=True)


def _score_in_memory(sample: str, count: int) -> None:
    classifier = Classifier(DEFAULT_SHAPE)
    jets = random_jets(count, sample, np.random.default_rng(1))
    tensors = JetTensors.from_jets([jets], torch.device("cpu"))
    scores_of(classifier, tensors, np.arange(1000))
    start = time.perf_counter()
    scores_of(classifier, tensors)
    seconds = time.perf_counter() - start
    print(f"network alone, {sample} jets: {count / seconds:,.0f} jets/s with {torch.get_num_threads()} threads")


def _score_file(file: str, network: str, threads: int | None) -> None:
    from cal_ratio_trainer.scoring.score import score_files

    with tempfile.TemporaryDirectory() as folder:
        settings = ScoreSettings.make(
            input_files=[file],
            training=network,
            threads=threads,
            output_report=Path(folder) / "report.md",
            output_path=Path(folder),
        )
        (scored,) = score_files(settings).files
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = f"{scored.jets / scored.seconds:,.0f} jets/s"
    print(f"{Path(file).name}: {scored.jets:,} jets in {scored.seconds:.2f} s, {rate}, peak memory {peak:,.0f} MiB")


def _untrained(folder: Path) -> Path:
    file = folder / "untrained.keras"
    write_keras(file, DEFAULT_SHAPE, Classifier(DEFAULT_SHAPE).weights())
    return file


def _repeated(file: Path, times: int, folder: Path) -> Path:
    longer = folder / f"{times}_times.parquet"
    with writing(longer) as writer:
        for _ in range(times):
            for jets in iterate_jets(file):
                writer.write(jets)
        writer.finish(read_metadata(file))
    return longer


if __name__ == "__main__":
    main()
