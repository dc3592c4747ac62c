"""All file readers that the fuzz campaigns test."""

from pathlib import Path

from cal_ratio_trainer.config.loading import read_config
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import search_space
from cal_ratio_trainer.tuning.plan import Plan
from cal_ratio_trainer.tuning.study import POINT, RUN, SECONDS, make_study, open_study, study_folder
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


def _journal(folder: Path) -> Path:
    settings = TrainSettings.make()
    search = search_space({"dropout": {"low": 0.0, "high": 0.5}, "lstm_layers": [1, 2]}, settings, "space", set())
    opened = make_study(study_folder(folder, "first"), Plan(settings, search, "auc", "ks", 3, 1))
    for number in range(2):
        with opened.next_trial(None, None) as trial:
            assert trial is not None
            trial.set_user_attr(RUN, f"{number:05d}")
            trial.set_user_attr(POINT, [0.9, 0.01, 1.0, 3])
            trial.set_user_attr(SECONDS, 1.0)
            opened.study.tell(trial, (0.9, 1.0))
    return opened.folder / "journal.log"


def _read_journal(file: Path) -> None:
    table = open_study(file.parent).table()
    for trial in table.trials:
        assert trial.run is None or trial.run.path.parent == file.parents[1]
    assert len(table.front) <= len(table.trials)


LOADERS: dict[str, Loader] = {
    "yaml config": Loader(_config, _read_config, damaged_text),
    "journal of a study": Loader(_journal, _read_journal, damaged_text),
    **NTUPLE_LOADERS,
    **RUN_LOADERS,
    **NETWORK_LOADERS,
    **JET_LOADERS,
    **FILES_LOADERS,
}
