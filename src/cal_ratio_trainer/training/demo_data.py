"""The demo data set: simulated, converted and built once, then kept in the cache folder."""

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.config.demo import DemoSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.demo import simulate
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.cache import default_cache_path
from cal_ratio_trainer.ntuple import convert_files

VERSION = 1
"""Raised whenever the demo, its conversion or its building give other jets than before."""

MAIN_JETS, CONTROL_JETS, SEED = 20_000, 10_000, 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoFiles:
    """The two training files of the demo."""

    main: Path
    control: Path


def demo_training_files(cache_path: Path | None = None, workers: int = 2) -> DemoFiles:
    """The demo's training files; made when they are first asked for, which takes about a minute on two cores.

    Several processes can ask at once: one makes them, the others wait. A process that is killed leaves nothing half.

    Args:
        cache_path: where they are kept; None for the user's cache folder.
        workers: processes that simulate and convert.
    """
    folder = (cache_path or default_cache_path()) / f"demo-v{VERSION}"
    files = DemoFiles(folder / "main.parquet", folder / "control.parquet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _make(folder, workers)
    return files


def _make(folder: Path, workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        work = Path(name)
        built = work / "built"
        settings = DemoSettings.make(
            output_path=work / "ntuples", jets=MAIN_JETS, control_jets=CONTROL_JETS, seed=SEED, workers=workers
        )
        simulate(settings)
        convert = load_settings(
            ConvertSettings, work / "ntuples" / "convert.yaml", {"output_path": work / "converted", "workers": workers}
        )
        conversion = convert_files(convert)
        if conversion.failed:
            raise UserError(f"the demo could not be converted: {conversion}")
        for kind in ("main", "control"):
            build_training_file(
                load_settings(
                    BuildSettings,
                    work / "ntuples" / f"build_{kind}.yaml",
                    {"output_file": built / f"{kind}.parquet"},
                )
            )
        shutil.move(built, folder)
