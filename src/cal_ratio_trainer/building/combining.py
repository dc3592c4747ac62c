"""Training files, our own or preprocessed frames of the earlier program, put together as they are."""

from collections.abc import Sequence

import numpy as np

from cal_ratio_trainer.building.inputs import AlreadyBuilt
from cal_ratio_trainer.building.samples import SampleError
from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling

COMBINED = "the inputs were training files already and were put together as they are: nothing was scaled again"


def are_training_files(files: Sequence[ScannedFile], settings: BuildSettings) -> bool:
    """True where all inputs are training files of one scaling, False where none is.

    Raises:
        AlreadyBuilt: a training file stands alone, or beside converted files.
        InputFileError: one is scaled otherwise than the settings say.
        SampleError: multijets of some were weighed by cross section, and of others not.
        ConfigError: the settings weigh what only converted files can be weighed by.
    """
    built = [file for file in files if file.rows and file.is_built]
    converted = [file for file in files if file.rows and not file.is_built]
    if not built:
        return False
    if converted or len(built) == 1:
        beside = f", and {converted[0].source.given_as} is none" if converted else ""
        raise AlreadyBuilt(
            built[0].source.path,
            f"is a training file already (its pt and layer energies are scaled){beside}; build takes converted files, "
            "for scaling them again would spoil them, or two and more training files, which it puts together",
        )
    wanted = Scaling(min_jet_pt=settings.min_jet_pt, max_jet_pt=settings.max_jet_pt)
    for file in built:
        found = file.metadata.scaling or LEGACY_SCALING
        if found != wanted:
            raise InputFileError(
                file.source.path,
                f"is scaled with {found}, and min_jet_pt and max_jet_pt of the settings say {wanted}",
            )
    if settings.samples is not None or settings.pileup_weight:
        raise ConfigError(["samples and pileup_weight weigh converted files; training files keep their weights"])
    _check_weights(built, settings)
    return True


def _check_weights(files: Sequence[ScannedFile], settings: BuildSettings) -> None:
    names: dict[bool, str] = {}
    for file in files:
        if np.any(file.columns.column("label").to_numpy() == Label.QCD):
            names[bool(file.metadata.details.get("weights", {}).get("samples"))] = file.source.given_as
    if len(names) == 2 and settings.normalise == "samples":
        raise SampleError(
            f"multijets of {names[True]} were weighed by cross section, those of {names[False]} were not; "
            "normalise: none takes their weights as they stand"
        )
