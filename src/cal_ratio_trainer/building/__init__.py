"""Training files from files of jets, in three steps that `build` calls in turn.

`scan` filters and samples; `weighing` weighs, by `samples`, `normalisation` and `flattening`; `shuffle` scales
(`scaling`) and permutes the jets on disk. `checks` refuses what does not fit together, `summary` counts, `workers` runs
the steps, and `resample` takes a part of a file. Not here: ROOT (`ntuple`), selection and split for a training
(`datasets`).
"""

from cal_ratio_trainer.building.build import JET_ID, build_training_file
from cal_ratio_trainer.building.resample import ResampleSummary, resample_file
from cal_ratio_trainer.building.summary import BuildSummary

__all__ = ["JET_ID", "BuildSummary", "ResampleSummary", "build_training_file", "resample_file"]
