"""The card beside a network file: where the network comes from, what its inputs must be, and what it can do.

As data; `card_page` makes a page of it for people.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cal_ratio_trainer.formats.input_table import InputArray, input_arrays
from cal_ratio_trainer.formats.onnx_preprocessing import Preprocessing
from cal_ratio_trainer.formats.self_check import TOLERANCE
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.network.shape import NetworkShape

FORMAT_VERSION = 2
"""In version 2 files have `scores_agree_within`, the tolerance of their check, in place of `largest_difference`."""

OUTPUT_NAMES = {Label.QCD: "QCD", Label.SIGNAL: "signal", Label.BIB: "BIB"}
"""What the outputs mean, in order."""

_DIGITS = 4
"""Of figures of merit: further ones would depend on the machine, and the bytes of an ONNX file with them."""


@dataclass(frozen=True)
class FoldFacts:
    """How the networks of a fold set share the events.

    Attributes:
        set_name: of the set.
        expression: the fold of an event, as C++ writes it: 'eventNumber % 3'.
        count: how many networks there are.
        fold: which of them this is; None for all.
    """

    set_name: str
    expression: str
    count: int
    fold: int | None = None

    @property
    def sentence(self) -> str:
        """The rule in words."""
        if self.fold is None:
            return (
                f"{self.count} networks: a jet gets the one whose number is {self.expression}, which was trained "
                "without its event (eventNumber is the 64-bit number without sign of the ntuple)"
            )
        return (
            f"This is network {self.fold} of the {self.count} of the fold set {self.set_name}. It was trained without "
            f"the events with {self.expression} == {self.fold} and is to be used on exactly these: all others it may "
            "have seen"
        )

    def to_dict(self) -> dict[str, Any]:
        """As it stands on the card."""
        return {
            "set": self.set_name,
            "count": self.count,
            "fold": self.fold,
            "rule": f"{self.expression} == fold",
            "meaning": self.sentence,
        }


@dataclass(frozen=True)
class NetworkFacts:
    """What is known of a network besides its weights.

    Attributes:
        name: for people: 'model/00003/12', or the name of a file.
        shape: its shape.
        preprocessing: what it wants done to converted jets.
        mass_names: the masses that it reads, 'llp_mH' or 'llp_mS'.
        training: run, epoch, commit, versions, seed and the like, as far as they are known.
        data: the training files by name: 'main', 'control'.
        figures: figures of merit on the test part; empty where there is none.
        notes: what a reader should know, a sentence each.
        folds: which events it may be used on, where it is of a fold set, or is one; None for all events.
    """

    name: str
    shape: NetworkShape
    preprocessing: Preprocessing
    mass_names: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folds: FoldFacts | None = None

    def inputs(self, converted: bool = False) -> tuple[InputArray, ...]:
        """The inputs of its files; `converted` for one that scales jets itself."""
        return input_arrays(self.shape, self.preprocessing, self.mass_names, converted)


@dataclass(frozen=True)
class WrittenFile:
    """A network file that was written and passed its check.

    Attributes:
        file: its name.
        format: fdeep, fdeep-keras3, keras or onnx.
        size_bytes: its size.
        sha256: its checksum.
        jets_checked: how many jets it was tried on.
        largest_difference: between its scores and the network's, on this machine.
        details: of this format: opset and so on.
        converted: whether it takes jets as `convert` writes them.
    """

    file: str
    format: str
    size_bytes: int
    sha256: str
    jets_checked: int
    largest_difference: float
    details: Mapping[str, Any] = field(default_factory=dict)
    converted: bool = False


def card(facts: NetworkFacts, files: Sequence[WrittenFile]) -> dict[str, Any]:
    """The whole card, ready for json.dumps."""
    converted = [file.converted for file in files]
    content = {"format_version": FORMAT_VERSION, **_described(facts)}
    if not all(converted):
        content["inputs"] = [array.to_dict() for array in facts.inputs()]
    if any(converted):
        content["inputs_of_converted_jets"] = [array.to_dict() for array in facts.inputs(converted=True)]
    content["files"] = [_file(file) for file in files]
    return content


def card_json(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card as JSON."""
    return json.dumps(card(facts, files), indent=1, allow_nan=False, default=_plain) + "\n"


def files_on_card(card_file: Path) -> set[str]:
    """Names of the files beside a card that it describes and that are there; none where there is no such card."""
    try:
        said = json.loads(card_file.read_bytes())
        names = {str(file["file"]) for file in said["files"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return set()
    return {path.name for path in card_file.parent.iterdir() if path.name in names}


def card_properties(facts: NetworkFacts, converted: bool) -> dict[str, str]:
    """The card as text by name, for the metadata of an ONNX file; what is no text already is JSON."""
    content = {**_described(facts), "inputs": [array.to_dict() for array in facts.inputs(converted)]}
    return {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False, default=_plain)
        for name, value in content.items()
        if value not in ({}, [])
    }


def _file(file: WrittenFile) -> dict[str, Any]:
    """Entry of a file on the card, without the difference itself, which depends on the processor."""
    known = {name: value for name, value in vars(file).items() if name != "largest_difference"}
    return {**known, "scores_agree_within": TOLERANCE}


def _described(facts: NetworkFacts) -> dict[str, Any]:
    scaling = facts.preprocessing.scaling
    return {
        "network": facts.name,
        **({"folds": facts.folds.to_dict()} if facts.folds is not None else {}),
        "training": facts.training,
        "data": facts.data,
        "outputs": [OUTPUT_NAMES[label] for label in Label],
        "scaling": {
            "min_jet_pt_gev": scaling.min_jet_pt,
            "max_jet_pt_gev": scaling.max_jet_pt,
            "missing_t0_ns": facts.preprocessing.missing_t0,
        },
        "test_figures": {
            name: float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
            for name, value in facts.figures.items()
        },
        "notes": list(facts.notes),
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
