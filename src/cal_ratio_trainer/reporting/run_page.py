"""Page of a run, `index.html` in its folder: written while it trains, and afterwards from what the folder holds."""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError, harmless
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.style import output_title
from cal_ratio_trainer.reporting.page import NOT_KNOWN, ReportTable, as_markdown, page_html
from cal_ratio_trainer.reporting.run_charts import (
    Chart,
    chart_json,
    dependence_charts,
    epoch_histograms,
    front_chart,
    history_charts,
    importance_chart,
    ks_words,
    mass_chart,
    overtraining_charts,
    roc_chart,
    scan_chart,
    score_chart,
    score_frame,
)
from cal_ratio_trainer.reporting.run_tables import (
    data_table,
    file_table,
    members_table,
    merit_table,
    settings_table,
    state_table,
    validation_table,
)
from cal_ratio_trainer.reporting.training_details import run_commands, training_details
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.runs.figure_data import read_evaluation, read_importance
from cal_ratio_trainer.runs.figures import stored_references
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RUNNING

_SHARE = 0.02
"""Largest share of the training's time that writing its page may take."""

_MAX_EPOCHS = 200
"""Number of epochs up to which each has its figures on the page; of more every second, fourth, ... one has."""

_RELOAD_S = 15
"""Interval at which the page of a run in training loads itself again. [s]"""

_log = logging.getLogger(__name__)

Frames = dict[tuple[Path, int], str]
"""Contents of the figures of an epoch as JSON, by folder of the run and epoch."""


class RunPages:
    """Writes the pages of the runs of a training while it goes on; a page that cannot be written never ends it."""

    def __init__(self) -> None:
        self._frames: Frames = {}
        self._due = 0.0
        self._has_warned = False

    def __call__(self, run: Run, seconds_left: float | None) -> None:
        """Writes the page of a run and of the set that it belongs to, unless that took too long the last time.

        Args:
            run: the run.
            seconds_left: until its end; None where it has ended, and then the page is written in any case.
        """
        begin = time.perf_counter()
        if seconds_left is not None and begin < self._due and run.page_file.exists():
            return
        try:
            write_run_page(run, seconds_left, self._frames)
            if run.network_number is not None:
                write_run_page(Run(run.numbered_folder))
        except Exception as error:
            if not self._has_warned:
                _log.warning("the page of run %s could not be written; the training goes on: %s", run.name, error)
            self._has_warned = True
        end = time.perf_counter()
        self._due = end + (end - begin) * (1 / _SHARE - 1)


def write_run_page(run: Run, seconds_left: float | None = None, frames: Frames | None = None) -> Path:
    """Writes the page of a run or of a set of runs, complete or not at all.

    Args:
        run: its folder; nothing is written where it was removed.
        seconds_left: until the end of its training; None where that is not known.
        frames: figures of epochs from an earlier call, which are not read again; those of this call are added.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    run = Run(run.path)
    text = "\n\n".join(_blocks(run, seconds_left, {} if frames is None else frames))
    html = page_html(f"Run {run.name}", text, run.path, with_charts=True)
    if run.path.is_dir():
        # It can be made again: no need to wait for the disk.
        with replacing(run.page_file, durable=False) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return run.page_file


def _blocks(run: Run, seconds_left: float | None, frames: Frames) -> Iterator[str]:
    """Parts of the page in Markdown; a chart is a block of code in the language 'chart'."""
    history = run.known_history
    epoch, figures = _evaluation(run)
    yield f"# Run {escaped(run.name)}"
    if run.status == RUNNING:
        yield _chart({"updated": datetime.now(UTC).isoformat(timespec="seconds"), "every": _RELOAD_S})
    yield _table(state_table(run, seconds_left))
    if figures is not None:
        yield _table(merit_table(epoch, figures))
    networks = members_table(run)
    yield from _section("Networks", [_table(networks)] if networks.rows else [])
    if history:
        yield from _section("Choice of the epoch, histories", _validation_part(run))
    yield from _section("Commands", [_commands(run)])
    settings = settings_table(run)
    yield from _section("Settings", [_table(settings), "All settings: [training_params.yaml](training_params.yaml)."])
    yield from _section("Data", [_table(data_table(run, figures))])
    if figures is not None:
        yield from _test_part(epoch, figures)
    yield from _importance(run)
    if run.known_rule is None:
        yield from _section("Outputs by epoch", _epochs(run, run.recommended_epoch, frames))
    yield from _section("Files", [_table(file_table(run))])


def _validation_part(run: Run) -> Iterator[str]:
    """Figures by which epochs are chosen: of the recommended and the newest epoch, and of all epochs."""
    history, best = run.known_history, run.best_epochs()
    rows = {"recommended": best.row if best else None, "newest": history[-1]}
    names = {"recommended": best.words if best else NOT_KNOWN, "newest": str(len(history) - 1)}
    yield _table(validation_table(rows, names))
    front = front_chart(history, run.recommended_epoch)
    charts = history_charts(history, stored_references(run.known_record), run.has_adversary)
    yield from map(_chart, [front, *charts] if front else charts)


def _section(title: str, blocks: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """A heading with the blocks below it; nothing if there are no blocks."""
    blocks = list(blocks)
    if blocks:
        yield from (f"## {title}", *blocks)


def _table(table: ReportTable) -> str:
    title = f"**{escaped(table.title)}**\n\n" if table.title else ""
    return f"{title}{as_markdown(table)}"


def _chart(content: Chart) -> str:
    return f"~~~~ chart\n{chart_json(content)}\n~~~~"


def _evaluation(run: Run) -> tuple[int, TestFigures | None]:
    try:
        return read_evaluation(run.evaluation_file)
    except InputFileError:
        return 0, None


def _test_part(epoch: int, figures: TestFigures) -> Iterator[str]:
    """Figures and tables on the test part."""
    tables = {table.title: _table(table) for table in training_details(figures)}

    def chosen(*beginnings: str) -> list[str]:
        return [text for title, text in tables.items() if title.startswith(beginnings)]

    yield from _section("Members of the ensemble, test part", chosen("The ensemble"))
    rocs, names = figures.rocs, [curve.background.name for curve in figures.rocs[:3]]
    charts = [roc_chart("All masses", rocs[:3], names)]
    by_mass = (("By mH, against QCD + 0.1 BIB", rocs[3:]), ("By mH, against QCD", figures.qcd_rocs))
    charts += [roc_chart(title, curves, [curve.name for curve in curves]) for title, curves in by_mass if curves]
    yield from _section(f"ROC curves, test part, epoch {epoch}", [*map(_chart, charts), *chosen("Area", "Rejection")])
    scans = [scan_chart("All masses", figures.scans[:3])]
    scans += [scan_chart("By mH", figures.scans[3:])] if figures.scans[3:] else []
    yield from _section("S/√B", [*map(_chart, scans), *chosen("S/sqrt(B)")])
    efficiencies = [mass_chart(figures.efficiencies)] if figures.efficiencies else []
    efficiencies += dependence_charts(figures.dependences, figures.working_point)
    tables_of = chosen("Jets that pass", "Signal jets whose", "Background jets whose")
    yield from _section("Efficiencies by mass, decay position and kinematics", [*map(_chart, efficiencies), *tables_of])
    yield from _section("Confusion", chosen("Jets by label"))
    if figures.overtraining is not None:
        training = overtraining_charts(figures.histograms, figures.overtraining)
        yield from _section("Overtraining", [*map(_chart, training), *chosen("K-S of train")])
    of_jets = {"main": figures.histograms}
    of_jets |= {"val_adversary": figures.control_histograms} if figures.control_histograms else {}
    outputs = [
        score_chart(title, histogram, is_log, score_frame(histogram, ks_words(figures.ks, output, "")))
        if title.endswith("region")
        else score_chart(title, histogram, is_log, score_frame(histogram))
        for title, histogram, is_log, output, _ in epoch_histograms(of_jets)
    ]
    yield from _section("Outputs, test part", [*map(_chart, outputs), *chosen("K-S of MC", "C2ST")])
    regions = [
        score_chart(
            f"{output_title(output.output)}, {region.name}{' (judged only)' * region.is_judged_only}",
            histogram,
            True,
            score_frame(histogram, ks_words(region.ks, output, "")),
        )
        for region in figures.regions
        for output, histogram in zip(Label, region.histograms.logit, strict=True)
    ]
    yield from _section("Control regions, test part", [*map(_chart, regions), *chosen("MC and data in each")])


def _importance(run: Run) -> Iterator[str]:
    """Permutation importance of the inputs, if `cr_trainer analyze --importance` has left it."""
    if not run.importance_file.is_file():
        return
    # It brings PyTorch along, which a page without this does not need.
    from cal_ratio_trainer.reporting.analysis_tables import importance_table

    try:
        network, found = read_importance(run.importance_file)
    except InputFileError as error:
        yield from _section("Importance of the inputs", [f"It cannot be shown: {escaped(str(error))}."])
        return
    charts = [importance_chart(title, some) for title, some in (("Kinds", found.kinds), ("Inputs", found.inputs))]
    yield from _section("Importance of the inputs", [*map(_chart, charts), _table(importance_table(network, found))])


def _epochs(run: Run, recommended: int | None, frames: Frames) -> Iterator[str]:
    """The figures of every epoch with the axes of the newest; contents that an earlier page had are reused."""
    count = len(run.known_history)
    step = 1
    while count > step * _MAX_EPOCHS:
        step *= 2
    chosen = sorted(
        {*range(0, count, step), count - 1, *([] if recommended is None else [recommended])} & {*range(count)}
    )
    shown, figures = [], list[Chart]()
    for epoch in reversed(chosen):
        key = (run.path, epoch)
        if key not in frames or not figures:
            try:
                stored = run.stored_histograms(epoch)
            except InputFileError:
                continue
            found = epoch_histograms(stored.histograms)
            fixed = [score_chart(title, each, is_log) for title, each, is_log, _, _ in found]
            if not figures:
                figures = fixed
                yield f"Main jets: {stored.main_part} part; control region: validation part."
            # An epoch of an earlier version can have other bins.
            if [each["edges"] for each in fixed] != [each["edges"] for each in figures]:
                continue
            content = [
                score_frame(each, ks_words(stored.ks, output, at)) if title.count("control") else score_frame(each)
                for title, each, _, output, at in found
            ]
            frames[key] = chart_json(content)
        shown.append(epoch)
    for path, epoch in list(frames):
        if path != run.path or epoch not in chosen:
            del frames[path, epoch]
    if shown:
        shown.reverse()
        axes = chart_json({"epochs": shown, "recommended": recommended, "figures": figures})
        contents = ",".join(frames[run.path, epoch] for epoch in shown)
        yield f'~~~~ chart\n{axes[:-1]},"frames":[{contents}]}}\n~~~~'


def _commands(run: Run) -> str:
    """Commands ready to be copied, with what each does."""
    # A line break in a folder's name would end the block.
    commands = {said: harmless(words, kept="") for said, words in run_commands(run).items()}
    width = max(map(len, commands.values()))
    return "```\n" + "\n".join(f"{words:{width}}  # {said}" for said, words in commands.items()) + "\n```"
