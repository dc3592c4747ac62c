"""Page of a run, `index.html` in its folder: written while it trains, and afterwards from what the folder holds."""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cal_ratio_trainer.config.loading import read_profile
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.plotting.style import output_title
from cal_ratio_trainer.progress import duration
from cal_ratio_trainer.reporting.page import NOT_KNOWN, Markup, ReportTable, as_markdown, number, page_html
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
from cal_ratio_trainer.reporting.training_details import run_commands, training_details
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.runs.directory import IMPORTED, RUNNING, RunDirectory
from cal_ratio_trainer.runs.figure_data import EpochHistograms, ks_of_row, ranges_of, read_evaluation, read_importance
from cal_ratio_trainer.runs.figures import stored_references
from cal_ratio_trainer.runs.overview import RunOverview

_SHARE = 0.02
"""Largest share of the training's time that writing its page may take."""

_MAX_EPOCHS = 200
"""Number of epochs up to which each has its figures on the page; of more every second, fourth, ... one has."""

_RELOAD_S = 15
"""Interval at which the page of a run in training loads itself again. [s]"""

_NO_DIFFERENCE = ("profile", "output_path", "model_name", "cache_path", "tag", "note", "fold", "member")
"""Settings that are no part of the recipe."""

_MAX_CELL = 500
_OF_EPOCH = re.compile(r"\d{3,}_")

_FILES = {
    "training_details.txt": "figures of merit, settings, versions, data, as text",
    "training_params.yaml": "every setting; `cr_trainer train --config` on it repeats the run",
    "run.json": "versions, machine, data with checksums, timings",
    "history.json": "one row per epoch",
    "evaluation.json": "figures of merit of the newest evaluation",
    "importance.json": "permutation importance of the inputs",
    "events.parquet": "events that the run used",
    "test_sample.parquet": "test jets with weights and scores",
    "control_test_sample.parquet": "control-region test jets likewise",
    "judged_test_sample.parquet": "test jets of regions that are judged only",
    "keras/final_model.keras": "newest network for Keras",
    "keras/final_model.safetensors": "newest network as this program reads it",
}

_log = logging.getLogger(__name__)

Frames = dict[tuple[Path, int], str]
"""Contents of the figures of an epoch as JSON, by folder of the run and epoch."""


class RunPages:
    """Writes the pages of the runs of a training while it goes on; a page that cannot be written never ends it."""

    def __init__(self) -> None:
        self._frames: Frames = {}
        self._due = 0.0
        self._has_warned = False

    def __call__(self, run: RunDirectory, seconds_left: float | None) -> None:
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
                write_run_page(RunDirectory(run.numbered_folder))
        except Exception as error:
            if not self._has_warned:
                _log.warning("the page of run %s could not be written; the training goes on: %s", run.name, error)
            self._has_warned = True
        end = time.perf_counter()
        self._due = end + (end - begin) * (1 / _SHARE - 1)


def write_run_page(run: RunDirectory, seconds_left: float | None = None, frames: Frames | None = None) -> Path:
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
    overview = RunOverview.of(run)
    text = "\n\n".join(_blocks(overview, seconds_left, {} if frames is None else frames))
    html = page_html(f"Run {run.name}", text, run.path, with_charts=True)
    if run.path.is_dir():
        # It can be made again: no need to wait for the disk.
        with replacing(run.page_file, durable=False) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return run.page_file


def _blocks(overview: RunOverview, seconds_left: float | None, frames: Frames) -> Iterator[str]:
    """Parts of the page in Markdown; a chart is a block of code in the language 'chart'."""
    run, history = overview.run, overview.history
    best = overview.best_epochs() if history else None
    epoch, figures = _evaluation(run)
    yield f"# Run {escaped(run.name)}"
    if overview.status == RUNNING:
        yield _chart({"updated": datetime.now(UTC).isoformat(timespec="seconds"), "every": _RELOAD_S})
    yield _table(_state_table(overview, seconds_left))
    recommended = None if best is None or len(best.epochs) > 1 else best.epochs[0]
    if history:
        rows = {"recommended": best.row if best else None, "newest": history[-1]}
        names = {"recommended": best.words if best else NOT_KNOWN, "newest": str(len(history) - 1)}
        yield _table(_validation_table(rows, names))
    if figures is not None:
        yield _table(_merit_table(epoch, figures))
    yield from _members(overview)
    yield from _section("Commands", [_commands(overview)])
    settings = _settings_table(overview)
    yield from _section("Settings", [_table(settings), "All settings: [training_params.yaml](training_params.yaml)."])
    yield from _section("Data", [_table(_data_table(overview, figures))])
    if history:
        with_adversary = overview.settings.get("agreement", "adversary") == "adversary"
        front = front_chart(history, recommended)
        yield from _section("Choice of the epoch", [_chart(front)] if front else [])
        charts = history_charts(history, stored_references(overview.record), with_adversary)
        yield from _section("Histories", map(_chart, charts))
    if figures is not None:
        yield from _test_part(epoch, figures)
    yield from _importance(run)
    if overview.set_rule is None:
        yield from _section("Outputs by epoch", _epochs(overview, recommended, frames))
    yield from _section("Files", [_file_table(run)])


def _section(title: str, blocks: Sequence[str] | Iterator[str], level: int = 2) -> Iterator[str]:
    """A heading and what stands below it; nothing without that."""
    blocks = list(blocks)
    if blocks:
        yield from (f"{'#' * level} {title}", *blocks)


def _table(table: ReportTable) -> str:
    title = f"**{escaped(table.title)}**\n\n" if table.title else ""
    return f"{title}{as_markdown(table)}"


def _chart(content: Chart) -> str:
    return f"~~~~ chart\n{chart_json(content)}\n~~~~"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _evaluation(run: RunDirectory) -> tuple[int, TestFigures | None]:
    try:
        return read_evaluation(run)
    except InputFileError:
        return 0, None


def _state_table(overview: RunOverview, seconds_left: float | None) -> ReportTable:
    now = datetime.now(UTC)
    rows = [("state", overview.status)]
    planned = overview.planned_epochs
    if overview.status != IMPORTED:
        rows.append(("epochs done", f"{overview.epochs} of {NOT_KNOWN if planned is None else planned}"))
    if overview.status == RUNNING and seconds_left is not None:
        end = now + timedelta(seconds=seconds_left)
        rows.append(("time left", f"{duration(seconds_left)}, until {end:%Y-%m-%d %H:%M} UTC"))
    rows.append(("started", (overview.word("started") or NOT_KNOWN)[:16].replace("T", " ") + " UTC"))
    if overview.seconds is not None:
        rows.append(("took" if overview.word("ended") else "has taken", duration(overview.seconds)))
    rows += [(name, str(overview.record[name])) for name in ("tag", "note", "reason") if overview.record.get(name)]
    rows += [("note", str(note)) for note in overview.record.get("notes", [])]
    if overview.trouble:
        rows.append(("cannot be read", overview.trouble))
    by = overview.record.get("computed_by", {})
    machine = overview.record.get("machine", {})
    where = [machine.get("gpu") or machine.get("processor"), by.get("engine") and f"engine {by['engine']}"]
    rows.append(("computed on", ", ".join(filter(None, where)) or NOT_KNOWN))
    version = overview.word("versions", "cal_ratio_trainer") or NOT_KNOWN
    rows.append(("program", " ".join(filter(None, (version, overview.commit)))))
    rows.append(("page written", f"{now:%Y-%m-%d %H:%M:%S} UTC"))
    return ReportTable("", ("", ""), tuple((name, _cut(text)) for name, text in rows))


def _validation_table(rows: Mapping[str, Mapping[str, float] | None], names: Mapping[str, str]) -> ReportTable:
    shown = []
    for title, row in rows.items():
        if row is None:
            continue
        ks, excess = (
            [number(row.get(f"ks_{label.output}_{figure}"), form) for label in Label]
            for figure, form in (("hist", ".3f"), ("excess", "+.1f"))
        )
        both = (f"{total} ({sigma}σ)" if sigma != NOT_KNOWN else total for total, sigma in zip(ks, excess, strict=True))
        error = number(row.get("val_auc_error"), ".4f")
        auc = number(row.get("val_auc"), ".4f") + (f" ± {error}" if error != NOT_KNOWN else "")
        c2st = number(row.get("c2st_auc"), ".3f")
        shown.append((f"{title}: {names[title]}", auc, number(row.get("val_original_lossf"), ".4f"), *both, c2st))
    columns = ("epoch", "AUC", "loss", *(f"K-S sum, {label.title}" for label in Label), "C2ST")
    note = "σ: excess over identical distributions in units of its spread."
    return ReportTable("Validation part, by which epochs are chosen", columns, tuple(shown), note)


def _merit_table(epoch: int, figures: TestFigures) -> ReportTable:
    found = figures.numbers()
    rows = (
        ("AUC against QCD + 0.1 BIB", number(found["auc"], ".4f")),
        ("AUC against QCD", number(found["auc_qcd"], ".4f")),
        ("AUC against BIB", number(found["auc_bib"], ".4f")),
        ("QCD rejection at 80 % of signal", number(found.get("rejection_qcd_80"), ".4g")),
        (f"signal where {100 * found['mistag']:g} % of QCD pass [%]", _percent(found["signal_efficiency_at_mistag"])),
        (f"BIB where {100 * found['mistag']:g} % of QCD pass [%]", _percent(found["bib_mistag"])),
        ("largest ε(S)/√ε(B)", number(found["max_efficiency_ratio"], ".2f")),
        ("accuracy [%]", _percent(found["accuracy"])),
    )
    return ReportTable(f"Test part, epoch {epoch}", ("figure of merit", "value"), rows)


def _percent(share: float) -> str:
    return number(100 * share, ".1f")


def _members(overview: RunOverview) -> Iterator[str]:
    """Table of the networks of a set, with links to their pages."""
    rows = []
    for member in overview.networks:
        best, folder = member.best(), member.run.path.name
        auc, ks = (NOT_KNOWN, NOT_KNOWN) if best is None else (number(best.auc, ".4f"), number(best.ks_sum, ".3f"))
        epochs = f"{member.epochs} of {member.planned_epochs or NOT_KNOWN}"
        chosen = NOT_KNOWN if best is None else str(best.epoch)
        link = Markup(f"[{escaped(folder)}]({quote(folder)}/index.html)")
        rows.append((link, member.status, epochs, chosen, auc, ks, number(member.number("test", "auc"), ".4f")))
    columns = ("network", "state", "epochs", "recommended", "its validation AUC", "its K-S sum", "test AUC, newest")
    yield from _section("Networks", [_table(ReportTable("", columns, tuple(rows)))] if rows else [])


def _settings_table(overview: RunOverview) -> ReportTable:
    """Settings that differ from the profile's; all others are as the profile or the defaults have them."""
    name = str(overview.settings.get("profile", "manual"))
    try:
        profile = read_profile(name)
    except (UserError, OSError, ValueError):
        name, profile = "manual", read_profile("manual")
    base = TrainSettings.make(**profile).model_dump(mode="json")
    rows = tuple(
        (key, _cut(str(value)), _cut(str(base[key])))
        for key, value in overview.settings.items()
        if key in base and key not in _NO_DIFFERENCE and value != base[key]
    )
    title = f"Settings that differ from the profile '{name}'" if rows else f"All settings are those of profile '{name}'"
    return ReportTable(title, ("setting", "here", "profile"), rows)


def _data_table(overview: RunOverview, figures: TestFigures | None) -> ReportTable:
    rows = []
    described = [
        (f"{kind}: {file['name']}" if "name" in file else kind, file)
        for kind, of_kind in (overview.record.get("data") or {}).items()
        for file in of_kind.get("regions", [of_kind])
    ]
    for kind, file in described:
        notes = "; ".join(file.get("notes") or ())
        made = file.get("simulation") or "as the file says"
        row = (kind, str(file.get("file")), f"{file.get('jets_used', 0):,}", made, str(file.get("sha256"))[:10], notes)
        rows.append(row)
    note = ""
    if figures is not None:
        roc = figures.rocs[0]
        note = f"Main test part: {roc.signal_jets:,} signal, {roc.qcd_jets:,} QCD, {roc.bib_jets:,} BIB jets."
    columns = ("file of", "name", "jets used", "simulation", "SHA-256", "notes")
    return ReportTable("", columns, tuple(rows), note)


def _test_part(epoch: int, figures: TestFigures) -> Iterator[str]:
    """Figures and tables on the test part."""
    tables = {table.title: _table(table) for table in training_details(figures)}

    def chosen(*beginnings: str) -> list[str]:
        return [text for title, text in tables.items() if title.startswith(beginnings)]

    yield from _section("Members, test part", chosen("The ensemble"))
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
    yield from _section("Members of the ensemble, test part", chosen("The ensemble"))


def _importance(run: RunDirectory) -> Iterator[str]:
    """Permutation importance of the inputs, if `cr_trainer analyze --importance` has left it."""
    if not run.importance_file.is_file():
        return
    # It brings PyTorch along, which a page without this does not need.
    from cal_ratio_trainer.reporting.analysis_tables import importance_table

    try:
        network, found = read_importance(run)
    except InputFileError as error:
        yield from _section("Importance of the inputs", [f"It cannot be shown: {escaped(str(error))}."])
        return
    charts = [importance_chart(title, some) for title, some in (("Kinds", found.kinds), ("Inputs", found.inputs))]
    yield from _section("Importance of the inputs", [*map(_chart, charts), _table(importance_table(network, found))])


def _epochs(overview: RunOverview, recommended: int | None, frames: Frames) -> Iterator[str]:
    """The figures of every epoch with the axes of the newest; contents that an earlier page had are reused."""
    count = len(overview.history)
    step = 1
    while count > step * _MAX_EPOCHS:
        step *= 2
    chosen = sorted(
        {*range(0, count, step), count - 1, *([] if recommended is None else [recommended])} & {*range(count)}
    )
    shown, figures = [], list[Chart]()
    for epoch in reversed(chosen):
        key = (overview.run.path, epoch)
        if key not in frames or not figures:
            stored = _stored(overview, epoch)
            if stored is None:
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
        if path == overview.run.path and epoch not in chosen:
            del frames[path, epoch]
    if shown:
        shown.reverse()
        axes = chart_json({"epochs": shown, "recommended": recommended, "figures": figures})
        contents = ",".join(frames[overview.run.path, epoch] for epoch in shown)
        yield f'~~~~ chart\n{axes[:-1]},"frames":[{contents}]}}\n~~~~'


def _stored(overview: RunOverview, epoch: int) -> EpochHistograms | None:
    """Histograms of an epoch with the K-S; None where they cannot be read."""
    try:
        stored = EpochHistograms.read(overview.run.histograms_file(epoch))
    except InputFileError:
        return None
    if stored.ks is not None:
        return stored
    scaling = (overview.record.get("data") or {}).get("control", {}).get("scaling")
    edges = overview.settings.get("pt_ranges") or TrainSettings.defaults()["pt_ranges"]
    ks = ks_of_row(dict(overview.history[epoch]), ranges_of(edges, Scaling(**scaling) if scaling else None))
    return replace(stored, ks=ks)


def _commands(overview: RunOverview) -> str:
    """Commands ready to be copied, with what each does."""
    commands = run_commands(overview)
    width = max(map(len, commands.values()))
    return "```\n" + "\n".join(f"{words:{width}}  # {said}" for said, words in commands.items()) + "\n```"


def _file_table(run: RunDirectory) -> str:
    there = {name: said for name, said in _FILES.items() if (run.path / name).is_file()}
    rows: list[tuple[str, str]] = [(Markup(f"[{name}]({name})"), Markup(said)) for name, said in there.items()]
    plots = sorted(path.name for path in run.path.iterdir() if path.suffix in (".png", ".pdf"))
    of_epochs = [name for name in plots if _OF_EPOCH.match(name)]
    if of_epochs:
        rows.append(("plots of each epoch", f"{len(of_epochs)} files, {of_epochs[0]} to {of_epochs[-1]}"))
    plots = sorted(set(plots) - set(of_epochs))
    networks = sorted(path.name for path in (run.path / "keras").glob("final_model_weights_*.safetensors"))
    for title, prefix, names in (("kept networks", "keras/", networks), ("plots", "", plots)):
        if names:
            links = " · ".join(f"[{escaped(name)}]({prefix}{quote(name)})" for name in names)
            rows.append((title, Markup(links)))
    return _table(ReportTable("", ("file", "content"), tuple(rows)))
