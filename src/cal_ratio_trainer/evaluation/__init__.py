"""Figures of merit: arrays in, frozen dataclasses out. Nothing is drawn, printed or written here."""

from cal_ratio_trainer.evaluation.scored import (
    NonFiniteInput,
    ScoredJets,
    WeightedSample,
)

__all__ = ["NonFiniteInput", "ScoredJets", "WeightedSample"]
