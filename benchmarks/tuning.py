"""Does `cr_trainer tune` find better settings than the profile best? Both with other seeds on an independent sample.

`python -m benchmarks.tuning FOLDER` makes two demo data sets of different seeds in FOLDER, tunes on the first for
`--minutes` with `--workers` processes of one thread, trains the recommended settings and the profile with three seeds
that the study has not seen, at the length of its trials, and judges the last epochs on the second data set. The study
is FOLDER/runs/tuned; a second call goes on with it, for as long again.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import cal_ratio_trainer as crt
from benchmarks.learning import TEST_SEED, TRAINING_SEED, settings_of, table, train_job
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.simulation.demo_data import make_demo_files
from cal_ratio_trainer.tuning.study import study_folder

CASE, STUDY = "best/distance/6", "tuned"


def main() -> None:
    """Prints the trials on the front, and the table of the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jets", type=int, default=6000, help="jets of each kind to train on, main and control")
    parser.add_argument("--test_jets", type=int, default=10_000, help="jets of each kind in the independent sample")
    parser.add_argument("--train_fraction", type=float, default=0.5, help="low, so that trials are well judged")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--num_splits", type=int, default=25)
    parser.add_argument("--random_trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any other settings")
    arguments = parser.parse_args()
    files = {}
    for seed, jets in ((TRAINING_SEED, arguments.jets), (TEST_SEED, arguments.test_jets)):
        data = arguments.folder / f"data{seed}"
        files[seed] = DemoFiles(data, seed)
        if not data.is_dir():
            make_demo_files(data, jets, jets, 1, seed=seed)
    length = {name: getattr(arguments, name) for name in ("train_fraction", "epochs", "num_splits")}
    base = settings_of(CASE, files[TRAINING_SEED], arguments, c2st_every=arguments.epochs, **length)
    given = {name: getattr(base, name) for name in base.model_fields_set if getattr(base, name) is not None}
    searched = {name: given.pop(name) for name in ("learning_rate", "agreement_strength", "dropout", "schedule")}
    result = crt.tune(
        study=STUDY,
        hours=arguments.minutes / 60,
        random_trials=arguments.random_trials,
        workers=arguments.workers,
        resume=study_folder(base.output_path, STUDY).is_dir(),
        progress=False,
        **given,
    )
    print(f"{result!r}\nprofile best: {searched}\n")
    if result.best_config is None:
        return
    tuned = load_settings(TrainSettings, result.best_config)
    names, results = [], []
    for case, settings in ((CASE, base), ("tuned", tuned)):
        for seed in arguments.seeds:
            name = f"{case.replace('/', '_')}_{seed}"
            changed = settings.model_copy(update={"seed": seed, "model_name": name})
            names.append(f"{case} | {seed}")
            results.append(train_job(("ieee", changed, files[TEST_SEED])))
    print(table(names, results, len(arguments.seeds)))


if __name__ == "__main__":
    main()
