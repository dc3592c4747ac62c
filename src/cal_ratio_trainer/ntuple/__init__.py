"""DiVertAnalysis ROOT ntuples to jets: read, select, match, associate, jet-relative coordinates."""

from cal_ratio_trainer.ntuple.convert import convert_files
from cal_ratio_trainer.ntuple.summary import ConversionRow, ConversionSummary, Status

__all__ = ["ConversionRow", "ConversionSummary", "Status", "convert_files"]
