"""Metrics of scored jets: arrays in, frozen dataclasses out. Nothing is drawn, printed, read or written here.

`scored` has the table of jets that all metrics are computed from, `summary` the record of all metrics of a network; the
other files compute one kind of metric each. Runs and files of jets are not known here, see `runs` and `scoring`.
"""

from cal_ratio_trainer.evaluation.scored import NonFiniteInput, ScoredJets, WeightedSample

__all__ = ["NonFiniteInput", "ScoredJets", "WeightedSample"]
