"""What a build or resampling made: counts and sums of weights, for a person and for the file's metadata."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.inputs import Kind
from cal_ratio_trainer.jets.labels import Label

_LABEL_NAMES: dict[Kind, dict[int, str]] = {
    "main": {Label.QCD: "QCD", Label.SIGNAL: "signal", Label.BIB: "BIB"},
    "control": {Label.QCD: "multijet MC", Label.BIB: "multijet data"},
}


@dataclass(frozen=True)
class JetGroup:
    """How many jets of one label (and, where it is known, one simulated sample) there are.

    Attributes:
        sum_of_weights: of mcEventWeight; None where some of it is not known.
    """

    label: int
    name: str
    jets: int
    sum_of_weights: float | None
    mcChannelNumber: int | None = None


@dataclass(frozen=True)
class InputSummary:
    """What was taken of one input file."""

    path: str
    data_type: str | None
    jets: int
    passed_filter: int
    taken: int


@dataclass(frozen=True)
class BuildSummary:
    """What a build made and where."""

    output_file: Path
    kind: Kind
    jets: int
    classes: list[JetGroup]
    slices: list[JetGroup]
    inputs: list[InputSummary]
    notes: list[str] = field(default_factory=list)

    def as_details(self) -> dict[str, Any]:
        """The tables, for the metadata of the file."""
        return {
            "classes": [asdict(group) for group in self.classes],
            "slices": [asdict(group) for group in self.slices],
            "inputs": [asdict(each) for each in self.inputs],
        }

    def as_text(self) -> str:
        """The table that is printed."""
        lines = [f"{'class':<16}{'jets':>12}{'sum of weights':>18}"]
        lines += [_line(group.name, group) for group in self.classes]
        named = [group for group in self.slices if group.mcChannelNumber is not None]
        if len(named) > 1:
            lines += ["", f"{'sample':<16}{'jets':>12}{'sum of weights':>18}"]
            lines += [_line(f"{group.name} {group.mcChannelNumber}", group) for group in named]
        return "\n".join(lines)


def _line(name: str, group: JetGroup) -> str:
    weights = "unknown" if group.sum_of_weights is None else f"{group.sum_of_weights:.6g}"
    return f"{name:<16}{group.jets:>12}{weights:>18}"


def label_name(label: int, kind: Kind) -> str:
    """What jets of a label are in such a file."""
    return _LABEL_NAMES[kind].get(label, f"label {label}")


def classes_of(tables: Sequence[pa.Table], kind: Kind) -> list[JetGroup]:
    """Jets and sums of weights by label, of tables with the columns label and, where known, mcEventWeight."""
    labels = _joined(tables, "label", np.int64)
    weights = _joined(tables, "mcEventWeight", np.float64)
    return [_group(int(label), None, weights[labels == label], kind) for label in np.unique(labels)]


def slices_of(tables: Sequence[pa.Table], kind: Kind) -> list[JetGroup]:
    """Jets and sums of weights by label and simulated sample (mcChannelNumber; None where it is not known)."""
    labels, channels = _joined(tables, "label", np.int64), _joined(tables, "mcChannelNumber", np.float64)
    weights = _joined(tables, "mcEventWeight", np.float64)
    whole = np.where(np.isnan(channels), -1, channels).astype(np.int64)
    pairs, group = np.unique(np.stack([labels, whole]), axis=1, return_inverse=True)
    return [
        _group(int(label), None if channel < 0 else int(channel), weights[group == number], kind)
        for number, (label, channel) in enumerate(pairs.T)
    ]


def _group(label: int, channel: int | None, weights: NDArray[Any], kind: Kind) -> JetGroup:
    total = None if np.isnan(weights).any() else float(weights.sum())
    return JetGroup(label, label_name(label, kind), len(weights), total, channel)


def _joined(tables: Iterable[pa.Table], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    parts = [
        table.column(name).cast(pa.float64()).to_numpy().astype(dtype)
        if name in table.column_names
        else np.full(len(table), np.nan).astype(dtype)
        for table in tables
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
