"""The one data model: a table of jets, each with variable-length lists of clusters, tracks and muon segments."""

from cal_ratio_trainer.jets.labels import DataType, Label
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.schema import CONSTITUENTS, Constituent
from cal_ratio_trainer.jets.table import Jets, JetScalars

__all__ = ["CONSTITUENTS", "Constituent", "DataType", "JetScalars", "Jets", "Label", "Ragged"]
