"""The card beside a network file, as data and as a Markdown page.

It says where the network comes from, what its inputs must be, and what it can do.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cal_ratio_trainer.formats.input_table import InputArray, input_arrays
from cal_ratio_trainer.formats.onnx_graph import Preprocessing
from cal_ratio_trainer.formats.probe_jets import TOLERANCE
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.results import code, escaped

FORMAT_VERSION = 2
"""In version 2 files have `scores_agree_within`, the tolerance of their check, in place of `largest_difference`."""

_DIGITS = 4
"""Digits of figures of merit: further ones would depend on the machine, and the bytes of an ONNX file with them."""

_FIGURES = {
    "auc": "AUC, signal against QCD + 0.1 BIB; it depends on the numbers of jets above",
    "auc_qcd": "AUC, signal against QCD",
    "auc_bib": "AUC, signal against BIB",
    "rejection_50": "rejection of QCD + 0.1 BIB at 50 % signal efficiency",
    "rejection_70": "at 70 %",
    "rejection_80": "at 80 %",
    "rejection_90": "at 90 %",
    "signal_efficiency": "share of signal jets whose largest output is signal",
    "accuracy": "share of all jets whose largest output is their class",
}
"""Figures of the page, with their titles; the JSON card has all."""

_KS_COLUMNS = ("output", "K-S distance", "expected for identical distributions", "excess in units of its spread")


@dataclass(frozen=True)
class FoldFacts:
    """Assignment of events to the networks of a fold set.

    Attributes:
        set_name: name of the set.
        expression: fold of an event, as C++ writes it: 'eventNumber % 3'.
        count: number of networks.
        fold: number of this fold; None for all.
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
        """Entry of the card."""
        return {
            "set": self.set_name,
            "count": self.count,
            "fold": self.fold,
            "rule": f"{self.expression} == fold",
            "meaning": self.sentence,
        }


@dataclass(frozen=True)
class NetworkFacts:
    """Facts about a network besides its weights.

    Attributes:
        name: name for the reader: 'model/00003/12', or the name of a file.
        shape: shape of the network.
        preprocessing: preprocessing of converted jets.
        mass_names: masses that it reads, 'llp_mH' or 'llp_mS'.
        training: run, epoch, commit, versions, seed and the like, if they are known.
        data: training files by name: 'main', 'control'.
        figures: figures of merit on the test part; empty if there is none.
        notes: notes for the reader, one sentence each.
        folds: events on which a network of a fold set may be used; None for all events.
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
        """The inputs of its files; with `converted`, of a file that scales jets itself."""
        return input_arrays(self.shape, self.preprocessing, self.mass_names, converted)


@dataclass(frozen=True)
class WrittenFile:
    """A network file that was written and passed its check.

    Attributes:
        file: name of the file.
        format: name of its format, e.g. 'fdeep'.
        size_bytes: size of the file.
        sha256: checksum of the file.
        jets_checked: number of jets of the check.
        largest_difference: largest difference between its scores and the network's, on this machine.
        details: further entries on the card: opset and so on.
        converted: it takes jets as `convert` writes them.
    """

    file: str
    format: str
    size_bytes: int
    sha256: str
    jets_checked: int
    largest_difference: float
    details: Mapping[str, Any] = field(default_factory=dict)
    converted: bool = False


def card_json(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card as JSON."""
    content = {"format_version": FORMAT_VERSION, **_described(facts)}
    if not all(file.converted for file in files):
        content["inputs"] = [array.to_dict() for array in facts.inputs()]
    if any(file.converted for file in files):
        content["inputs_of_converted_jets"] = [array.to_dict() for array in facts.inputs(converted=True)]
    # Without the difference itself, which depends on the processor.
    known = ({name: value for name, value in vars(file).items() if name != "largest_difference"} for file in files)
    content["files"] = [{**each, "scores_agree_within": TOLERANCE} for each in known]
    return json.dumps(content, indent=1, allow_nan=False, default=_plain) + "\n"


def files_on_card(card_file: Path) -> set[str]:
    """Names of the existing files beside a card that it describes; none if there is no such card."""
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


def _described(facts: NetworkFacts) -> dict[str, Any]:
    scaling = facts.preprocessing.scaling
    return {
        "network": facts.name,
        **({"encoder": facts.shape.encoder} if facts.shape.encoder != DEFAULT_ENCODER else {}),
        **({"folds": facts.folds.to_dict()} if facts.folds is not None else {}),
        "training": facts.training,
        "data": facts.data,
        "outputs": [label.title for label in Label],
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


def card_markdown(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card for a person.

    Args:
        facts: facts about the network.
        files: written files.
    """
    classes = [(str(int(label)), label.title) for label in Label]
    shape = facts.shape
    encoder = [f"Encoder: {code(shape.encoder)}."] if shape.encoder != DEFAULT_ENCODER else []
    sections = [
        [f"# {escaped(facts.name)}", "", *encoder, *(f"{escaped(note)}." for note in facts.notes)],
        *([_folds(facts.folds, files)] if facts.folds is not None else []),
        _section("Files", _rows(("file", "format", "bytes", "SHA-256", "scores"), _files(files))),
        *(_inputs(facts, converted) for converted in sorted({file.converted for file in files})),
        _section("Outputs", ["Each from 0 to 1, their sum is 1.", "", *_rows(("", "class"), classes)]),
        *([_test_part(facts.figures)] if facts.figures else []),
        _section("Training", _pairs(facts.training)),
        *(_section(f"{escaped(name.capitalize())} training file", _pairs(about)) for name, about in facts.data.items()),
    ]
    return "\n\n".join("\n".join(lines).strip() for lines in sections if lines) + "\n"


def _folds(folds: FoldFacts, files: Sequence[WrittenFile]) -> list[str]:
    names: dict[int, list[str]] = {}
    for file in files:
        if "fold" in file.details:
            names.setdefault(file.details["fold"], []).append(code(file.file))
    rows = [(f"`{folds.expression} == {fold}`", ", ".join(each)) for fold, each in names.items()]
    return _section("Which events", [f"{escaped(folds.sentence)}.", "", *_rows(("events", "network"), rows)])


def _files(files: Sequence[WrittenFile]) -> list[tuple[str, ...]]:
    return [
        (
            code(file.file),
            escaped(", ".join([file.format, *(f"{name} {value}" for name, value in file.details.items())])),
            str(file.size_bytes),
            f"`{file.sha256}`",
            f"within {TOLERANCE:g} of the network's on {file.jets_checked} jets",
        )
        for file in files
    ]


def _inputs(facts: NetworkFacts, converted: bool) -> list[str]:
    if converted:
        title = "Inputs of the file that scales jets itself"
        said = "It takes jets as `cr_trainer convert divertanalysis` gives them."
    else:
        title = "Inputs"
        said = (
            "What has to be handed over, in this order. The columns are those of `cr_trainer convert divertanalysis`: "
            "angles are relative as their units say, differences of phi in [-pi, pi). "
            "A number that is not finite becomes 0. Jets without clusters were not trained on."
        )
    arrays = [_input(number, array, converted) for number, array in enumerate(facts.inputs(converted), start=1)]
    return [f"## {title}", "", said, *(line for lines in arrays for line in lines)]


def _input(number: int, array: InputArray, converted: bool) -> list[str]:
    size = " x ".join(map(str, array.shape))
    lines = ["", f"### {number}. `{array.name}`: {array.holds.replace('_', ' ')}, {size}", ""]
    if array.empty_slot is not None:
        row = ", ".join(f"{value:.9g}" for value in array.empty_slot) if any(array.empty_slot) else "zeros"
        left_out = " and may be left out" if array.any_length else ""
        lines += [f"Sorted: {array.order}. At most {array.shape[0]}; empty slots behind them hold {row}{left_out}.", ""]
    columns = ("", "column", "unit there", "the network reads")[: 3 if converted else 4]
    rows = [(str(i), f"`{each.name}`", each.unit, each.reads) for i, each in enumerate(array.numbers)]
    return lines + _rows(columns, [row[: len(columns)] for row in rows])


def _test_part(figures: Mapping[str, float]) -> list[str]:
    counts = ", ".join(f"{figures[f'jets_{label.output}']:g} {label.title}" for label in Label)
    rows = [("jets", counts)]
    rows += [
        (said, _shown(figures[name])) for name, said in _FIGURES.items() if math.isfinite(figures.get(name, math.nan))
    ]
    distances = [
        (
            label.title,
            *(_shown(figures[f"ks_{label.output}_{part}"]) for part in ("hist", "expected", "excess")),
        )
        for label in Label
        if f"ks_{label.output}_hist" in figures
    ]
    lines = ["## On the test part", "", *_rows(("", ""), rows)]
    if distances:
        lines += ["", "Data against simulation in the control region, summed over three ranges of jet pt:", ""]
        lines += _rows(_KS_COLUMNS, distances)
    return lines


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines] if lines else []


def _pairs(values: Mapping[str, Any]) -> list[str]:
    rows = [
        # The name of a file stays as it is.
        (code(name) if "." in name else escaped(name.replace("_", " ")), _shown(value))
        for name, value in _flat(values)
        if value not in (None, "")
    ]
    return _rows(("", ""), rows)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _rows(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows)] if rows else []


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return escaped(text)
