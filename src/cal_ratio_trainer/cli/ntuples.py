"""Commands on ntuples: `demo` and `convert divertanalysis`."""

import glob
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS, EXIT_IN_PROGRESS
from cal_ratio_trainer.cli.options import Argument, command
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.jets.labels import DataType

if TYPE_CHECKING:
    from rich.table import Table

    from cal_ratio_trainer.ntuple import ConversionSummary
    from cal_ratio_trainer.ntuple.summary import ConversionRow

_WIDTH_WITHOUT_TERMINAL = 200
_MAX_ROWS = 1000

_KINDS = {"main": (DataType.SIGNAL, DataType.QCD, DataType.BIB), "control": (DataType.QCD, DataType.DATA)}
"""Data types from which `build` makes a training file of each kind."""

_MAX_NAMED = 8
"""Maximum number of files and patterns that a suggested command names."""


@command(
    "demo",
    DemoSettings,
    help="Simulate DiVertAnalysis ntuples: signal on a grid of masses, multijet MC in slices of pt, beam-induced "
    "background and a control region of simulation and data. The model is parametric and tuned on real jets; it is no "
    "detector simulation. Settings files beside the ntuples convert and build them.",
)
def demo(settings: DemoSettings) -> None:
    """Simulates, then prints the files and the commands that use them."""
    summary = crt.demo(settings)
    for role in ("main", "control"):
        jets = Counter[str]()
        for file in summary.files:
            if file.role == role:
                jets[file.data_type.value] += file.jets
        print(f"{role} jets: " + ", ".join(f"{count} {kind}" for kind, count in jets.items()))
    events = sum(file.events for file in summary.files)
    print(f"{len(summary.files)} ntuples with {events} events in {summary.output_path}")
    print("A parametric model tuned on some hundred real jets, not a detector simulation: no physics conclusions.")
    print(f"Next:\n  cd {summary.output_path}\n  cr_trainer convert divertanalysis --config convert.yaml")
    print("  cr_trainer build --config build_main.yaml\n  cr_trainer build --config build_control.yaml")


@command(
    "divertanalysis",
    ConvertSettings,
    help="Convert DiVertAnalysis ntuples to files of jets, one for each ntuple.\n\n"
    "FILES are paths, URLs or patterns of either. Files that are already converted are skipped, and several such "
    "commands can share one list. The exit status is 1 if a file cannot be converted; it is named at the end. The exit "
    "status is 3 if another command still converts a file of the list, so that the set is not complete yet.",
    common=(
        *("data_type", "llp_mH", "llp_mS", "min_jet_pt", "max_jet_pt", "output_path", "layout", "keep_branches"),
        *("schema_file", "max_events", "overwrite", "workers"),
    ),
    arguments=[Argument("input_files")],
    extra_names={"schema_file": ("--schema",)},
)
def convert(settings: ConvertSettings) -> int:
    """Converts, then prints the outcome of each file; returns 1 if any failed, 3 if others still work on some."""
    summary = crt.convert(settings)
    _print(summary)
    if summary.failed:
        print("Next: see the reasons above; the same command does only what is missing", file=sys.stderr)
        return EXIT_FAILED_PARTS
    if summary.in_progress:
        print("Next: the same command, when the others have ended, does what they leave", file=sys.stderr)
        return EXIT_IN_PROGRESS
    print(_next_commands(summary), file=sys.stderr)
    return 0


def _next_commands(summary: "ConversionSummary") -> str:
    """Suggested commands that build training files of the converted jets; a control-region file needs QCD and data."""
    rows = [row for row in summary.rows if row.is_converted]
    types = {row.data_type for row in rows if row.data_type is not None}
    # QCD jets are for both kinds; files of QCD alone are more often for a main file.
    kinds = [kind for kind, own in _KINDS.items() if types & {*own} - {DataType.QCD}] or ["main"] * bool(types)
    commands, placeholders = [], dict[str, str]()
    for kind in kinds:
        files = _files_of(rows, _KINDS[kind])
        if len(files) > _MAX_NAMED:
            there = ", ".join(each for each in _KINDS[kind] if each in types)
            files, placeholders[f"{kind.upper()}..."] = [f"{kind.upper()}..."], f"the files of {there}"
        if kind == "control" and DataType.QCD not in types:
            files, placeholders["MULTIJETS..."] = [*files, "MULTIJETS..."], "converted files of qcd"
        commands.append(f"cr_trainer build {' '.join(files)} --kind {kind} --output {kind}.parquet")
    if not commands:
        return "Next: convert other files or use wider cuts: there are no jets for a training file"
    meant = f" ({'; '.join(f'{word} are {words}' for word, words in placeholders.items())})" if placeholders else ""
    return f"Next{meant}: {commands[0]}" if len(commands) == 1 else "\n  ".join([f"Next{meant}:", *commands])


def _files_of(rows: Sequence["ConversionRow"], types: Sequence[DataType]) -> list[str]:
    """Outputs of some data types, quoted for a shell: a pattern per folder, or names in a folder with other types."""
    outputs = {row.output: row.data_type in types for row in rows if row.output is not None}
    mixed = {output.parent for output, is_one in outputs.items() if not is_one}
    words = {
        str(output) if output.parent in mixed else f"{glob.escape(str(output.parent))}/*{output.suffix}": None
        for output, is_one in outputs.items()
        if is_one
    }
    return [shlex.quote(word) for word in words]


def _print(summary: "ConversionSummary") -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    for table in (*_cutflows(summary), _files(summary, console.is_terminal)):
        console.print(table)
    for note in summary.notes():
        console.print(note)
    console.print(summary.headline)


def _files(summary: "ConversionSummary", is_narrow: bool) -> "Table":
    """One row per file; of very many files, only the files that are not converted.

    Args:
        summary: summary of the conversion.
        is_narrow: the folder of all files is in the title, so that rows fit a terminal.
    """
    is_long = len(summary.rows) > _MAX_ROWS
    rows = [row for row in summary.rows if not (is_long and row.is_converted)]
    with_reasons = any(row.reason for row in rows)
    shared = ""
    if is_narrow and len(rows) > 1:
        # Letter by letter, since a file may be a URL.
        shared = os.path.commonprefix([row.file for row in rows]).rpartition("/")[0]  # noqa: RUF071
    title = f"Files{' that are not converted' if is_long else ''}{f' in {harmless(shared)}' if shared else ''}"
    cells = (
        [
            *(row.file.removeprefix(f"{shared}/" if shared else ""), row.status.value),
            *([row.reason] if with_reasons else []),
            *(str(row.events), str(row.jets), f"{row.seconds:.1f}"),
        ]
        for row in rows
    )
    words = ["file", "status", *(["reason"] if with_reasons else [])]
    # Numbers are never broken; names of files are.
    return _table(title, words, ["events", "jets", "seconds"], cells, no_wrap=True)


def _cutflows(summary: "ConversionSummary") -> Iterator["Table"]:
    for data_type, steps in summary.cutflows().items():
        weighted = any(step.sum_of_weights is not None for step in steps)
        numbers = ["events", "jets", *(["sum of event weights"] if weighted else [])]
        rows = (
            [step.step, str(step.events), str(step.jets)]
            + ([f"{step.sum_of_weights:.6g}"] if step.sum_of_weights is not None else [])
            for step in steps
        )
        yield _table(f"Cutflow of {data_type.value}", ["step"], numbers, rows)
    for data_type, samples in summary.cutflows_by_sample().items():
        names = [step.step for step in next(iter(samples.values()))]
        jets = ([name, *(str(step.jets) for step in steps)] for name, steps in samples.items())
        yield _table(f"Jets of {data_type.value} by sample", ["sample"], names, jets, overflow="fold")
        if data_type.is_simulation:
            weights = (
                [name, *(f"{step.sum_of_weights or 0.0:.6g}" for step in steps)] for name, steps in samples.items()
            )
            title = f"Sums of event weights of {data_type.value} by sample"
            yield _table(title, ["sample"], names, weights, overflow="fold")


def _table(
    title: str, words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]], **of_numbers: Any
) -> "Table":
    """A table with columns of words, then columns of numbers, to which `of_numbers` applies."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in words:
        table.add_column(harmless(name), overflow="fold")
    for name in numbers:
        table.add_column(harmless(name), justify="right", **of_numbers)
    for row in rows:
        table.add_row(*map(harmless, row))
    return table
