"""Jets: the table in memory, its schema, and the files of jets.

`table` has the jets with lists of constituents (`ragged`), `schema` their features, `labels` their classes. Files:
`store` is this program's Parquet format with its `metadata`, `legacy` the flat frames of the earlier program,
`loading` opens, reads and writes any of them. `cleaning` makes inputs finite, `expressions` computes conditions on
columns, `filling` joins constituents in one array. Not here: ROOT ntuples (`ntuple`), scaling and weights
(`building`), the checksums of Parquet files (`files`).
"""

from cal_ratio_trainer.jets.labels import DataType, Label
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.schema import CONSTITUENTS, Constituent
from cal_ratio_trainer.jets.table import Jets, JetScalars

__all__ = ["CONSTITUENTS", "Constituent", "DataType", "JetScalars", "Jets", "Label", "Ragged"]
