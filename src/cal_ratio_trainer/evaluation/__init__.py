"""Figures of merit: arrays in, frozen dataclasses out. Nothing is drawn, printed or written here."""

from cal_ratio_trainer.evaluation.kinematics import JetKinematics
from cal_ratio_trainer.evaluation.sample import NonFiniteInput, Sample
from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets

__all__ = ["JetKinematics", "NonFiniteInput", "Sample", "ScoredControlJets", "ScoredJets"]
