"""The demo data set: simulated, converted and built once, then kept in the cache folder."""

import hashlib
import logging
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.convert import DemoSettings
from cal_ratio_trainer.errors import NOTICE, UserError
from cal_ratio_trainer.files.cache import DemoFiles, default_cache_path
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.ntuple import convert_files
from cal_ratio_trainer.simulation import simulate

VERSION = 2
"""Raised whenever simulation, conversion or building give other jets than before from the same parameters."""

MAIN_JETS, CONTROL_JETS, SEED = 20_000, 10_000, 1

_log = logging.getLogger(__name__)


def demo_training_files(cache_path: Path | None = None) -> DemoFiles:
    """The demo's training files; made when they are first asked for, which takes about a minute on two cores.

    Several processes can ask at once: one makes them, the others wait. Files of a killed process are never
    taken for the data; the next process that makes them removes these.

    Args:
        cache_path: folder of the data; None for the user's cache folder.
    """
    # Other parameters of the model give other jets, so they need another folder.
    parameters = resources.files("cal_ratio_trainer.simulation").joinpath("parameters.yaml").read_bytes()
    name = f"demo-v{VERSION}-{hashlib.sha256(parameters).hexdigest()[:8]}"
    folder = (cache_path or default_cache_path()).expanduser() / name
    if not folder.is_dir():
        with held_in_turn(folder, "another process is making the demo data set; waiting for it"):
            if not folder.is_dir():
                # The lease is held here, so the process that made these folders was killed.
                for remains in folder.parent.glob(f".{folder.name}-*"):
                    shutil.rmtree(remains, ignore_errors=True)
                make_demo_files(folder, MAIN_JETS, CONTROL_JETS, workers=2)
    return DemoFiles(folder, SEED, VERSION)


def make_demo_files(
    folder: Path, main_jets: int, control_jets: int, workers: int, *, mismodelling: float = 1.0, seed: int = SEED
) -> None:
    """Simulates, converts and builds; `folder` appears with main.parquet and control.parquet when all is done.

    Args:
        folder: must not be there; the folder above it must.
        main_jets: jets of each class in the main file.
        control_jets: jets of MC and of data in the control-region file.
        workers: processes that simulate and convert.
        mismodelling: factor on the difference between data and MC in the control-region file.
        seed: seed of the simulation.

    Raises:
        UserError: a file could not be converted.
    """
    _log.log(NOTICE, "making the demo data set in %s; this is done once", folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        ntuples, built = Path(name) / "ntuples", Path(name) / "built"
        built.mkdir()
        demo = simulate(
            DemoSettings(
                output_path=ntuples,
                jets=main_jets,
                control_jets=control_jets,
                seed=seed,
                workers=workers,
                mismodelling=mismodelling,
            )
        )
        conversion = convert_files(demo.convert_settings(workers=workers))
        if conversion.failed:
            raise UserError(f"the demo could not be converted: {conversion.headline}")
        build_training_file(demo.build_settings("main", output_file=built / "main.parquet"))
        build_training_file(demo.build_settings("control", output_file=built / "control.parquet"))
        built.rename(folder)
