"""DiVertAnalysis ROOT ntuples to files of jets.

`convert` takes many files, `file_conversion` one. `request` has what the user asked for, `reading` the branches,
`events` the events of a chunk, `chunk` their jets, `association` the constituents of these, and `summary` the counts.
Not here: scaling, weights and mixing (`building`), files of jets (`jets`).
"""

from cal_ratio_trainer.ntuple.convert import convert_files
from cal_ratio_trainer.ntuple.summary import ConversionRow, ConversionSummary, Status

__all__ = ["ConversionRow", "ConversionSummary", "Status", "convert_files"]
