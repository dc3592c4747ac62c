"""All file readers that the fuzz campaigns test."""

from pathlib import Path

from cal_ratio_trainer.config.loading import read_config
from tests.faults.campaign import Loader
from tests.faults.damage import damaged_text
from tests.faults.files_loaders import FILES_LOADERS
from tests.faults.jet_loaders import LOADERS as JET_LOADERS
from tests.faults.network_loaders import NETWORK_LOADERS
from tests.faults.ntuple_loaders import NTUPLE_LOADERS
from tests.faults.run_loaders import RUN_LOADERS


def _config(folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text("epochs: 3\nmodel_name: fuzz\nfrac_list: 0.5\nadversary_weight: 10\ntag: a tag\n", "utf-8")
    return file


def _read_config(file: Path) -> None:
    read_config(file)


LOADERS: dict[str, Loader] = {
    "yaml config": Loader(_config, _read_config, damaged_text),
    **NTUPLE_LOADERS,
    **RUN_LOADERS,
    **NETWORK_LOADERS,
    **JET_LOADERS,
    **FILES_LOADERS,
}
