"""Labels of jets in the table, and types of the ntuples they come from."""

from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError

CLASS_NAMES = {
    "qcd": "QCD",
    "sig": "signal",
    "bib": "BIB",
    "mc": "multijet MC",
    "data": "data",
    "jets": "all jets",
}
"""Names of classes of jets in texts and tables, by their keys in files; 'jets' are jets without labels."""

_NAMED = 5


class Label(IntEnum):
    """The label column of a main file, and the order of the network's outputs.

    In a control-region file QCD means multijet simulation and BIB means multijet data.
    """

    QCD = 0
    SIGNAL = 1
    BIB = 2

    @property
    def output(self) -> str:
        """The short name of the network output, as in file and column names."""
        return ("qcd", "sig", "bib")[self]

    @property
    def title(self) -> str:
        """Name of main jets of this label, and of the output, in texts and tables."""
        return CLASS_NAMES[self.output]


CONTROL_MC = Label.QCD
CONTROL_DATA = Label.BIB

CLASS_OF_LABEL: dict[str, dict[Label, str]] = {
    "main": {label: label.output for label in Label},
    "control": {Label.QCD: "mc", Label.SIGNAL: "sig", Label.BIB: "data"},
}
"""Keys of the classes of main and control-region jets by label."""


def checked_labels(path: Path, values: NDArray[Any]) -> NDArray[np.int8]:
    """The label column of a file, [jets]; a null has become NaN.

    Raises:
        InputFileError: labels are unknown; names them, with their numbers of jets.
    """
    good = np.isin(values, [int(label) for label in Label])
    if not good.all():
        found, counts = np.unique(values[~good].astype(np.float64), return_counts=True)
        named = [
            f"label {value:g}{' (or null)' if np.isnan(value) else ''} in {count} row{'s' if count > 1 else ''}"
            for value, count in zip(found, counts, strict=True)
        ]
        more = f" and {len(named) - _NAMED} more values" if len(named) > _NAMED else ""
        raise InputFileError(
            path, f"column label has {', '.join(named[:_NAMED])}{more}; labels are 0 (QCD), 1 (signal) and 2 (BIB)"
        )
    return values.astype(np.int8)


class DataType(StrEnum):
    """Type of an ntuple, which decides the jets that `convert` keeps, and their label."""

    SIGNAL = "sig"
    QCD = "qcd"
    BIB = "bib"
    DATA = "data"

    @property
    def label(self) -> Label:
        """The label of the jets kept from such a file; control-region data share BIB's number (see `Label`)."""
        return {"sig": Label.SIGNAL, "qcd": Label.QCD}.get(self, Label.BIB)

    @property
    def is_simulation(self) -> bool:
        """True if the file has generator weights."""
        return self in (DataType.SIGNAL, DataType.QCD)
