"""Scoring: the network alone on jets in memory, then whole files from disk to scores: `python -m benchmarks.score`.

FILES are scored as by `cr_trainer score`, each in a separate process, whose peak memory and processor time (without
loading the network) are printed. `--file_jets N` first makes a training file of N random jets and scores it.
`--times N` also scores a file of jets that is N times as long as the first one: memory must not grow.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.train import random_jets
from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, JetsWriter, RaggedFile, read_metadata
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE

_ONE = "--one"


def main() -> None:
    """Prints jets scored per second, and peak memory for files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of jets or ntuples")
    parser.add_argument("--jets", type=int, default=50_000, help="jets of each kind, for the network alone")
    parser.add_argument("--file_jets", type=int, help="make a training file of so many random jets and score it, too")
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
        files = [*arguments.files, *([_random_file(arguments.file_jets, Path(folder))] if arguments.file_jets else [])]
        if arguments.times:
            files.append(str(_repeated(Path(files[0]), arguments.times, Path(folder))))
        for file in files:
            words = [sys.executable, "-m", "benchmarks.score", _ONE, file, "--network", network]
            words += ["--threads", str(arguments.threads)] if arguments.threads else []
            # As the command line sets it; otherwise waiting threads of PyTorch spin.
            subprocess.run(words, check=True, env={"GOMP_SPINCOUNT": "10000", **os.environ})


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
        _load(network, Path(folder))
        before = time.process_time()
        (scored,) = score_files(settings).files
    cpu = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rates = f"{scored.jets / scored.seconds:,.0f} jets/s; {scored.jets / cpu:,.0f} jets/s of processor time"
    print(f"{Path(file).name}: {scored.jets:,} jets in {scored.seconds:.2f} s, {rates}, peak memory {peak:,.0f} MiB")


def _load(network: str, folder: Path) -> None:
    """Scores one jet, so that the loops are compiled."""
    from cal_ratio_trainer.scoring.score import score_files

    few = str(_random_file(1, folder))
    words = {"training": network, "output_report": folder / "few" / "report.md", "output_path": folder}
    score_files(ScoreSettings.make(input_files=[few], **words))


def _random_file(jets: int, folder: Path) -> str:
    """Writes a training file of random jets in pieces, so that its row groups have the usual size."""
    file, random = folder / f"{jets}_random.parquet", np.random.default_rng(2)
    with writing(file, JetsWriter) as writer:
        for start in range(0, jets, ROWS_A_GROUP):
            writer.write(random_jets(min(ROWS_A_GROUP, jets - start), "main", random))
        writer.finish(JetMetadata(stage="built", kind="main", scaling=LEGACY_SCALING))
    return str(file)


def _untrained(folder: Path) -> Path:
    file = folder / "untrained.keras"
    write_keras(file, DEFAULT_SHAPE, Classifier(DEFAULT_SHAPE).weights())
    return file


def _repeated(file: Path, times: int, folder: Path) -> Path:
    longer = folder / f"{times}_times.parquet"
    with writing(longer, JetsWriter) as writer:
        for _ in range(times):
            for jets in RaggedFile(file).batches():
                writer.write(jets)
        writer.finish(read_metadata(file))
    return longer


if __name__ == "__main__":
    main()
