"""Parametric simulation of DiVertAnalysis ntuples, to try everything on. Not a detector simulation.

A class of jets (`signal`, `multijet`, `bib`) is a recipe of counts and distributions measured on real jets
(`parameters.yaml`); events are drafted and cut to exactly the jets that were asked for (`events`), given constituents
(`clusters`, `tracks`, `muon_segments`, put together in `assembly`) and written (`ntuple_file`). docs/demo.md states
the limits of the model.
"""

from cal_ratio_trainer.simulation.ntuple_file import DemoFile
from cal_ratio_trainer.simulation.simulation import DemoSummary, OutputNotEmpty, simulate

__all__ = ["DemoFile", "DemoSummary", "OutputNotEmpty", "simulate"]
