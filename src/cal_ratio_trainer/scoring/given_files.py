"""Files of jets that a user gives to judge runs by that left no test jets: every network is scored on all of them."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.runs.networks import Networks
from cal_ratio_trainer.runs.overview import RunOverview
from cal_ratio_trainer.runs.test_sample import RunSample, known_settings
from cal_ratio_trainer.training.setup import training_files

_READ_WITH = (
    "weight_column",
    "bad_weights",
    "missing_t0",
    "pt_ranges",
    "seed",
    "mH_parametrization",
    "mS_parametrization",
    "include_low_mass",
    "include_high_mass",
    "low_masses",
    "high_masses",
)
"""Settings of a run that decide how jets are read and what its network is given: runs with the same share the jets."""


class GivenFiles:
    """A main training file and a control region; each way of reading them is read once."""

    def __init__(self, main: str, control: str, device: torch.device) -> None:
        """Finds the files.

        Args:
            main: a path, URL or 'demo'.
            control: likewise.
            device: device of the networks.

        Raises:
            InputFileError: one is missing or cannot be copied.
        """
        main_file, control_file = training_files(TrainSettings.make(main_training_file=main, cr_training_file=control))
        self._main, self._control = main_file.path, control_file.path
        self._device = device
        self._read: dict[str, RunSample] = {}

    def sample_for(self, run: RunOverview) -> RunSample:
        """All jets of the files, as a run's networks want them.

        Raises:
            UserError: a file is not what a training takes, or scaled otherwise than the networks read it.
        """
        settings = known_settings(run.run, run.settings)
        said = run.record.get("data", {}).get("main", {}).get("scaling")
        scaling = Scaling(**said) if said else LEGACY_SCALING
        key = json.dumps([[getattr(settings, name) for name in _READ_WITH], scaling.model_dump()])
        if key not in self._read:
            self._read[key] = RunSample.of_files(self._main, self._control, settings, scaling, self._device)
        return self._read[key]


def figures_to_choose_by(sample: RunSample, networks: Networks) -> Mapping[str, float]:
    """AUC and K-S of the networks of a run under the names that the history has for those of the validation part.

    Raises:
        RunError: the network reads another number of masses than the settings say.
    """
    main, control = sample.scored_by(networks)
    ks = ks_of_control_jets(control, sample.pt_ranges)
    return {"val_auc": roc_auc(main), **ks.to_dict()}


def without_validation(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of a history without AUC and K-S, which belong to jets that are not known."""
    return {name: value for name, value in row.items() if name != "val_auc" and not name.startswith("ks_")}
