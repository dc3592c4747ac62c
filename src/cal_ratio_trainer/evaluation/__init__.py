"""Figures of merit: arrays in, frozen dataclasses out. Nothing is drawn, printed or written here."""

from cal_ratio_trainer.evaluation.scored import (
    JetKinematics,
    NonFiniteInput,
    ScoredControlJets,
    ScoredJets,
    WeightedSample,
)

__all__ = ["JetKinematics", "NonFiniteInput", "ScoredControlJets", "ScoredJets", "WeightedSample"]
