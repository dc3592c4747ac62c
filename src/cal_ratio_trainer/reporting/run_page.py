"""Page of a run, `index.html` in its folder: written while it trains, and afterwards from what the folder holds.

Its figures are the PNG files of the folder. All are inside the page, except those of most epochs of a long training,
to which it refers.
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np

from cal_ratio_trainer.errors import InputFileError, harmless
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.plotting.catalogue import epoch_captions, final_drawings
from cal_ratio_trainer.plotting.roc import importance_drawings
from cal_ratio_trainer.reporting.page import NOT_KNOWN, ReportTable, as_markdown, is_png, page_html, picture
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
from cal_ratio_trainer.results import code, escaped
from cal_ratio_trainer.runs.figure_data import read_evaluation, read_importance
from cal_ratio_trainer.runs.figures import drawings_of_history, stored_references
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RUNNING

_SHARE = 0.02
"""Largest share of the training's time that writing its page may take."""

_MAX_EPOCHS, _MAX_EPOCHS_INSIDE = 200, 10
"""Number of epochs up to which all have their figures on the page, and inside it; more are thinned out evenly."""

_RELOAD_S = 15
"""Interval at which the page of a run in training loads itself again. [s]"""

_log = logging.getLogger(__name__)


class RunPages:
    """Writes the pages of the runs of a training while it goes on; a page that cannot be written never ends it."""

    def __init__(self) -> None:
        self._due = 0.0
        self._has_warned = False

    def __call__(self, run: RunFolder, seconds_left: float | None) -> None:
        """Writes the page of a run and of the set that it belongs to, unless that took too long the last time.

        Args:
            run: the run.
            seconds_left: until its end; None where it has ended, and then the page is written in any case.
        """
        begin = time.perf_counter()
        if seconds_left is not None and begin < self._due and run.page_file.exists():
            return
        try:
            write_run_page(run, seconds_left)
            if run.network_number is not None:
                write_run_page(Run(run.numbered_folder))
        except Exception as error:
            if not self._has_warned:
                _log.warning("the page of run %s could not be written; the training goes on: %s", run.name, error)
            self._has_warned = True
        end = time.perf_counter()
        self._due = end + (end - begin) * (1 / _SHARE - 1)


def write_run_page(run: RunFolder, seconds_left: float | None = None) -> Path:
    """Writes the page of a run or of a set of runs, complete or not at all.

    Args:
        run: its folder; nothing is written where it was removed.
        seconds_left: until the end of its training; None where that is not known.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    run = Run(run.path)
    text = "\n\n".join(_blocks(run, seconds_left))
    html = page_html(f"Run {run.name}", text, run.path, is_run=True)
    if run.path.is_dir():
        # It can be made again: no need to wait for the disk.
        with replacing(run.page_file, durable=False) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return run.page_file


def _blocks(run: Run, seconds_left: float | None) -> Iterator[str]:
    """Parts of the page in Markdown; blocks of code in the languages 'updated' and 'epochs' are for its script."""
    history = run.known_history
    epoch, figures = _evaluation(run)
    yield f"# Run {escaped(run.name)}"
    if run.status == RUNNING:
        yield _for_script("updated", {"updated": datetime.now(UTC).isoformat(timespec="seconds"), "every": _RELOAD_S})
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
        yield from _test_part(run, epoch, figures)
    yield from _importance(run)
    if run.known_rule is None:
        yield from _section("Outputs by epoch", _epochs(run, run.recommended_epoch))
    yield from _section("Files", [_table(file_table(run))])


def _validation_part(run: Run) -> Iterator[str]:
    """Figures by which epochs are chosen: of the recommended and the newest epoch, and of all epochs."""
    history, best = run.known_history, run.best_epochs()
    rows = {"recommended": best.row if best else None, "newest": history[-1]}
    names = {"recommended": best.words if best else NOT_KNOWN, "newest": str(len(history) - 1)}
    yield _table(validation_table(rows, names))
    drawings = drawings_of_history(history, stored_references(run.known_record), run.has_adversary)
    yield from _pictures(run, drawings)


def _section(title: str, blocks: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """A heading with the blocks below it; nothing if there are no blocks."""
    blocks = list(blocks)
    if blocks:
        yield from (f"## {title}", *blocks)


def _table(table: ReportTable) -> str:
    title = f"**{escaped(table.title)}**\n\n" if table.title else ""
    return f"{title}{as_markdown(table)}"


def _pictures(run: Run, drawings: Iterable[Drawing]) -> Iterator[str]:
    """The figures that are drawn, side by side, and a sentence on those that are not."""
    drawings = list(drawings)
    drawn = [each for each in drawings if is_png(run.path / f"{each.name}.png")]
    if drawn:
        yield "\n".join(picture(each.caption, f"{quote(each.name)}.png") for each in drawn)
    if len(drawn) < len(drawings):
        command = code(harmless(f"cr_trainer plot --run {run.name}", kept=""))
        yield f"{len(drawings) - len(drawn)} figures are not drawn; {command} draws all."


def _for_script(language: str, content: object) -> str:
    return f"~~~~ {language}\n{json.dumps(content)}\n~~~~"


def _evaluation(run: Run) -> tuple[int, TestFigures | None]:
    try:
        return read_evaluation(run.evaluation_file)
    except InputFileError:
        return 0, None


_TEST_SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("ROC curves, test part, epoch {epoch}", r"roc_curve_", ("Area", "Rejection")),
    ("S/√B", r"SoverB_", ("S/sqrt(B)",)),
    (
        "Efficiencies by mass, decay position and kinematics",
        r"signal_llp|bkg_false|signal_efficiency_|mistag_",
        ("Jets that pass", "Signal jets whose", "Background jets whose"),
    ),
    ("Confusion", r"confusion", ("Jets by label",)),
    ("Overtraining", r".*_train_and_test", ("K-S of train",)),
    ("Outputs, test part", r"(adv_)?(qcd|sig|bib)_predictions(?!_train)", ("K-S of MC", "C2ST")),
    ("Control regions, test part", r"cr_", ("MC and data in each",)),
)
"""Sections on the test part: heading, pattern of the names of the figures, beginnings of the titles of the tables."""


def _test_part(run: Run, epoch: int, figures: TestFigures) -> Iterator[str]:
    """Figures and tables on the test part."""
    tables = {table.title: _table(table) for table in training_details(figures)}

    def chosen(*beginnings: str) -> list[str]:
        return [text for title, text in tables.items() if title.startswith(beginnings)]

    yield from _section("Members of the ensemble, test part", chosen("The ensemble"))
    drawings = final_drawings(figures)
    for title, names, beginnings in _TEST_SECTIONS:
        its = [each for each in drawings if re.match(names, each.name)]
        yield from _section(title.format(epoch=epoch), [*_pictures(run, its), *chosen(*beginnings)])


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
    pictures = _pictures(run, importance_drawings("importance", found))
    yield from _section("Importance of the inputs", [*pictures, _table(importance_table(network, found))])


def _epochs(run: Run, recommended: int | None) -> Iterator[str]:
    """The figures of every epoch that has some, under a heading each."""
    count, folder = len(run.known_history), run.path
    drawn = [epoch for epoch in range(count) if is_png(folder / f"{epoch_captions(epoch)[0][0]}.png")]
    shown = _thinned(drawn, _MAX_EPOCHS, recommended)
    if not shown:
        return
    inside = set(_thinned(shown, _MAX_EPOCHS_INSIDE, recommended))
    if len(inside) < len(shown):
        yield f"This file contains the figures of {len(inside)} epochs, and shows those of others from beside it."
    yield _for_script("epochs", {"recommended": recommended})
    for epoch in shown:
        yield f"#### Epoch {epoch}"
        names = [(name, said) for name, said in epoch_captions(epoch) if is_png(folder / f"{name}.png")]
        yield "\n".join(picture(said, f"{name}.png", is_beside=epoch not in inside) for name, said in names)


def _thinned(epochs: Sequence[int], most: int, recommended: int | None) -> list[int]:
    """At most so many of some epochs, spread evenly, the first, the newest and the recommended one among them."""
    if len(epochs) <= most:
        return list(epochs)
    is_chosen = recommended in epochs
    places = np.linspace(0, len(epochs) - 1, most - is_chosen).round().astype(int)
    return sorted({*(epochs[place] for place in places), *([recommended] if recommended in epochs else [])})


def _commands(run: Run) -> str:
    """Commands ready to be copied, with what each does."""
    # A line break in a folder's name would end the block.
    commands = {said: harmless(words, kept="") for said, words in run_commands(run).items()}
    width = max(map(len, commands.values()))
    return "```\n" + "\n".join(f"{words:{width}}  # {said}" for said, words in commands.items()) + "\n```"
