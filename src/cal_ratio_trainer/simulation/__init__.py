"""Parametric simulation of DiVertAnalysis ntuples, to try everything on. Not a detector simulation.

`simulation` writes all samples (`samples`), one file at a time (`ntuple_file`). `events` draws the hard jets of
events until convert keeps exactly the jets that were asked for; `signal`, `multijet` and `bib` draw the jets of a
class and their constituents (`clusters` with energies in `layers`, `tracks`, `muon_segments`) from distributions
measured on real jets (`parameters.yaml`, `draws`); `assembly` completes the events. `grouped` has the arrays for all
of this, `demo_data` the converted and built demo in the cache. Not here: conversion (`ntuple`) and `building`.
docs/demo.md states the limits of the model.
"""

from cal_ratio_trainer.simulation.ntuple_file import DemoFile
from cal_ratio_trainer.simulation.simulation import DemoSummary, OutputNotEmpty, simulate

__all__ = ["DemoFile", "DemoSummary", "OutputNotEmpty", "simulate"]
