"""The card beside a network file as a Markdown page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cal_ratio_trainer.formats.input_table import InputArray
from cal_ratio_trainer.formats.model_card import OUTPUT_NAMES, FoldFacts, NetworkFacts, WrittenFile
from cal_ratio_trainer.formats.self_check import TOLERANCE
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.markdown import code, escaped

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
"""Which figures the page shows, and in which words; the JSON card has all."""

_KS_COLUMNS = ("output", "K-S distance", "expected for identical distributions", "excess in units of its spread")


def card_markdown(facts: NetworkFacts, files: Sequence[WrittenFile]) -> str:
    """The card for a person.

    Args:
        facts: what is known of the network.
        files: what was written of it.
    """
    sections = [
        [f"# {escaped(facts.name)}", "", *(f"{escaped(note)}." for note in facts.notes)],
        *([_folds(facts.folds, files)] if facts.folds is not None else []),
        _section("Files", _rows(("file", "format", "bytes", "SHA-256", "scores"), _files(files))),
        *(_inputs(facts, converted) for converted in sorted({file.converted for file in files})),
        _outputs(),
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
    return [
        "## Which events",
        "",
        f"{escaped(folds.sentence)}.",
        "",
        *(_rows(("events", "network"), rows) if rows else []),
    ]


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
        lines += [f"Sorted: {array.order}. At most {array.shape[0]}; empty slots behind them hold {row}.", ""]
    columns = ("", "column", "unit there", "the network reads")[: 3 if converted else 4]
    rows = [(str(i), f"`{each.name}`", each.unit, each.reads) for i, each in enumerate(array.numbers)]
    return lines + _rows(columns, [row[: len(columns)] for row in rows])


def _outputs() -> list[str]:
    rows = [(str(int(label)), OUTPUT_NAMES[label]) for label in Label]
    return ["## Outputs", "", "Each from 0 to 1, their sum is 1.", "", *_rows(("", "class"), rows)]


def _test_part(figures: Mapping[str, float]) -> list[str]:
    counts = ", ".join(f"{figures[f'jets_{label.output}']:g} {OUTPUT_NAMES[label]}" for label in Label)
    rows = [("jets", counts)]
    rows += [
        (said, _shown(figures[name])) for name, said in _FIGURES.items() if math.isfinite(figures.get(name, math.nan))
    ]
    distances = [
        (
            OUTPUT_NAMES[label],
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
    rows = [(_label(name), _shown(value)) for name, value in _flat(values) if value not in (None, "")]
    return _rows(("", ""), rows) if rows else []


def _label(name: str) -> str:
    """A fact's name in words; the name of a file stays as it is."""
    return code(name) if "." in name else escaped(name.replace("_", " "))


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _rows(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows)]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return escaped(text)
