"""What jets of a label are called in a training file."""

from cal_ratio_trainer.building.inputs import Kind
from cal_ratio_trainer.jets.labels import Label

_LABEL_NAMES: dict[Kind, dict[int, str]] = {
    "main": {Label.QCD: "QCD", Label.SIGNAL: "signal", Label.BIB: "BIB"},
    "control": {Label.QCD: "multijet MC", Label.BIB: "multijet data"},
}


def label_name(label: int, kind: Kind) -> str:
    """What jets of a label are in such a file."""
    return _LABEL_NAMES[kind].get(label, f"label {label}")
