"""Parametric simulation of DiVertAnalysis ntuples, to try everything on. Not a detector simulation.

A class of jets is a recipe of counts and distributions measured on real jets (`parameters.yaml`); events are drafted
(`*_events`), cut to exactly the jets that were asked for (`quota`), given constituents (`assembly`) and written
(`ntuple_file`). docs/demo.md says what the model is worth.
"""

from cal_ratio_trainer.simulation.simulation import DemoFile, DemoSummary, OutputNotEmpty, simulate

__all__ = ["DemoFile", "DemoSummary", "OutputNotEmpty", "simulate"]
