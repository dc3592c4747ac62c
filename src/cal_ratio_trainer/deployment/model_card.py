"""The card beside a network file: where the network comes from, what its inputs must be, and what it can do."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cal_ratio_trainer.deployment.input_table import InputArray, input_arrays
from cal_ratio_trainer.deployment.onnx_preprocessing import Preprocessing
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.network.shape import NetworkShape

FORMAT_VERSION = 1

_OUTPUTS = {Label.QCD: "QCD", Label.SIGNAL: "signal", Label.BIB: "BIB"}
_DIGITS = 6


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
    """

    name: str
    shape: NetworkShape
    preprocessing: Preprocessing
    mass_names: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        largest_difference: between its scores and the network's.
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
    content["files"] = [{**vars(file), "largest_difference": _rounded(file.largest_difference, 1)} for file in files]
    return content


def card_json(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card as JSON."""
    return json.dumps(card(facts, files), indent=1, allow_nan=False, default=_plain) + "\n"


def card_properties(facts: NetworkFacts, converted: bool) -> dict[str, str]:
    """The card as text by name, for the metadata of an ONNX file; what is no text already is JSON."""
    content = {**_described(facts), "inputs": [array.to_dict() for array in facts.inputs(converted)]}
    return {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False, default=_plain)
        for name, value in content.items()
        if value not in ({}, [])
    }


def card_markdown(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card for a person."""
    sections = [
        [f"# {facts.name}", "", *(f"{note}." for note in facts.notes)],
        _table("Files", ("file", "format", "bytes", "SHA-256", "largest difference of a score"), _file_rows(files)),
        *(_input_section(facts, converted) for converted in sorted({file.converted for file in files})),
        _outputs_section(),
        _table("Training", ("", ""), _pairs(facts.training)),
        *(_table(f"{name} training file", ("", ""), _pairs(about)) for name, about in facts.data.items()),
        _table("On the test part", ("", ""), _pairs(facts.figures)) if facts.figures else [],
    ]
    return "\n\n".join("\n".join(lines).strip() for lines in sections if lines) + "\n"


def _described(facts: NetworkFacts) -> dict[str, Any]:
    scaling = facts.preprocessing.scaling
    return {
        "network": facts.name,
        "training": facts.training,
        "data": facts.data,
        "outputs": [_OUTPUTS[label] for label in Label],
        "scaling": {
            "min_jet_pt_gev": scaling.min_jet_pt,
            "max_jet_pt_gev": scaling.max_jet_pt,
            "missing_t0_ns": facts.preprocessing.missing_t0,
        },
        "test_figures": {name: _rounded(value, _DIGITS) for name, value in facts.figures.items()},
        "notes": list(facts.notes),
    }


def _input_section(facts: NetworkFacts, converted: bool) -> list[str]:
    arrays = facts.inputs(converted)
    said = (
        "This file scales jets itself: it takes them as `cr_trainer convert divertanalysis` gives them."
        if converted
        else "What C++ must hand over, in this order. Angles are relative as the units say, differences of phi in "
        "[-pi, pi); the formulas start from these."
    )
    lines = [f"## Inputs{' of converted jets' if converted else ''}", "", said]
    for i, array in enumerate(arrays):
        size = " x ".join(map(str, array.shape))
        lines += ["", f"### {i + 1}. `{array.name}`: {array.holds.replace('_', ' ')}, {size}", ""]
        if array.empty_slot is not None:
            row = "zeros" if not any(array.empty_slot) else ", ".join(f"{value:.9g}" for value in array.empty_slot)
            lines += [f"Sorted: {array.order}. At most {array.shape[0]}; empty slots behind them hold {row}.", ""]
        rows = [(str(k), f"`{each.name}`", each.unit, each.reads) for k, each in enumerate(array.numbers)]
        lines += _rows(("", "column", "unit there", "the network reads"), rows)
    return lines


def _outputs_section() -> list[str]:
    rows = [(str(int(label)), _OUTPUTS[label]) for label in Label]
    return ["## Outputs", "", "A softmax: each from 0 to 1, the sum is 1.", "", *_rows(("", "class"), rows)]


def _file_rows(files: Sequence[WrittenFile]) -> list[tuple[str, ...]]:
    return [
        (
            f"`{file.file}`",
            ", ".join([file.format, *(f"{name} {value}" for name, value in file.details.items())]),
            str(file.size_bytes),
            f"`{file.sha256}`",
            f"{file.largest_difference:.1g} on {file.jets_checked} jets",
        )
        for file in files
    ]


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(name.replace("_", " "), _shown(value)) for name, value in _flat(values) if value not in (None, "")]


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", each) for inner, each in _flat(value))
        else:
            yield name, value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"## {title[0].upper()}{title[1:]}", "", *_rows(columns, rows)] if rows else []


def _rows(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows)]


def _rounded(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
