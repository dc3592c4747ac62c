"""Seconds that `cr_trainer analyze` takes for runs of random jets, by stage."""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from benchmarks.epoch import write_files
from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.reporting.analysis import analyze_runs
from cal_ratio_trainer.training import train as training
from cal_ratio_trainer.training.start import Start


def train_runs(folder: Path, arguments: argparse.Namespace) -> None:
    """Runs short and small trainings on random jets, of which only the files matter."""
    main_file, control_file = write_files(folder, arguments.main_jets, arguments.control_jets)
    for seed in range(arguments.runs):
        settings = TrainSettings.make(
            main_training_file=str(main_file),
            cr_training_file=str(control_file),
            output_path=folder / "runs",
            model_name=f"run{seed}",
            seed=seed,
            sample_fraction=1.0,
            train_fraction=0.2,
            num_splits=2,
            epochs=arguments.epochs,
            epoch_plots=False,
        )
        training.train(Start(settings), say=lambda _: None, details=lambda _: "")


def main() -> None:
    """Prints seconds of the whole analysis, of one without errors, and of one without score plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--main_jets", type=int, default=15_000)
    parser.add_argument("--control_jets", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_runs(folder, arguments)
        variants = {"analyze": {}, "without errors": {"replicas": 0}, "few score plots": {"plotted_epochs": 1}}
        for variant, changes in variants.items():
            settings = AnalyzeSettings.make(
                output_path=folder / "runs", output_report=folder / variant / "analyze.md", **changes
            )
            begin = time.perf_counter()
            analyze_runs(settings)
            print(f"{variant:<18}{time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
