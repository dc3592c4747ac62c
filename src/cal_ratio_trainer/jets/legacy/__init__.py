"""Flat frames of the earlier program, read and written."""

from cal_ratio_trainer.jets.legacy.frames import (
    SLOT_COLUMNS,
    FlatFile,
    FlatParquetFile,
    PickledFile,
    flat_names,
    name_of_today,
)
from cal_ratio_trainer.jets.legacy.pickles import FlatFrame, ForbiddenPickle, read_frame
from cal_ratio_trainer.jets.legacy.writer import flat_writing, is_pickle_name, write_flat

__all__ = [
    "SLOT_COLUMNS",
    "FlatFile",
    "FlatFrame",
    "FlatParquetFile",
    "ForbiddenPickle",
    "PickledFile",
    "flat_names",
    "flat_writing",
    "is_pickle_name",
    "name_of_today",
    "read_frame",
    "write_flat",
]
