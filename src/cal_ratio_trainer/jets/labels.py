"""What a jet is: the label in the table, and the kind of ntuple it came from."""

from enum import IntEnum, StrEnum


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


CONTROL_MC = Label.QCD
CONTROL_DATA = Label.BIB


class DataType(StrEnum):
    """What an ntuple holds; decides which jets `convert` keeps and how it labels them."""

    SIGNAL = "sig"
    QCD = "qcd"
    BIB = "bib"
    DATA = "data"

    @property
    def label(self) -> Label:
        """The label of the jets kept from such a file; control-region data share BIB's number (see `Label`)."""
        return _LABELS[self]

    @property
    def is_simulation(self) -> bool:
        """True where the file carries generator weights."""
        return self in (DataType.SIGNAL, DataType.QCD)


_LABELS = {
    DataType.SIGNAL: Label.SIGNAL,
    DataType.QCD: Label.QCD,
    DataType.BIB: Label.BIB,
    DataType.DATA: CONTROL_DATA,
}
