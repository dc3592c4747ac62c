"""Training files from files of jets: filtering, sampling, scaling, mixing, shuffling."""

from cal_ratio_trainer.building.build import JET_ID, build_training_file
from cal_ratio_trainer.building.resample import ResampleSummary, resample_file
from cal_ratio_trainer.building.summary import BuildSummary

__all__ = ["JET_ID", "BuildSummary", "ResampleSummary", "build_training_file", "resample_file"]
