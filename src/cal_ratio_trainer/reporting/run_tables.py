"""Tables of a run's page: state, figures of merit, networks of a set, settings, data and files."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cal_ratio_trainer.config.loading import read_packaged
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.progress import duration
from cal_ratio_trainer.reporting.page import NOT_KNOWN, Markup, ReportTable, number, percentage
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import IMPORTED, RUNNING, without_query

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


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def state_table(run: Run, seconds_left: float | None) -> ReportTable:
    """State, time left, machine and program.

    Args:
        run: of the run.
        seconds_left: until the end of its training; None where that is not known.
    """
    now = datetime.now(UTC)
    rows = [("jets of", _jets(run)), ("state", run.status)]
    planned = run.planned_epochs
    if run.status != IMPORTED:
        rows.append(("epochs done", f"{run.epochs} of {NOT_KNOWN if planned is None else planned}"))
    if run.status == RUNNING and seconds_left is not None:
        end = now + timedelta(seconds=seconds_left)
        rows.append(("time left", f"{duration(seconds_left)}, until {end:%Y-%m-%d %H:%M} UTC"))
    rows.append(("started", (run.recorded_text("started") or NOT_KNOWN)[:16].replace("T", " ") + " UTC"))
    if run.seconds is not None:
        rows.append(("took" if run.recorded_text("ended") else "has taken", duration(run.seconds)))
    rows += [(name, str(run.known_record[name])) for name in ("tag", "note", "reason") if run.known_record.get(name)]
    rows += [("note", str(note)) for note in run.known_record.get("notes", [])]
    if run.trouble:
        rows.append(("cannot be read", run.trouble))
    by = run.known_record.get("computed_by", {})
    machine = run.known_record.get("machine", {})
    where = [machine.get("gpu") or machine.get("processor"), by.get("engine") and f"engine {by['engine']}"]
    rows.append(("computed on", ", ".join(map(str, filter(None, where))) or NOT_KNOWN))
    version = run.recorded_text("versions", "cal_ratio_trainer") or NOT_KNOWN
    rows.append(("program", " ".join(filter(None, (version, run.commit)))))
    rows.append(("page written", f"{now:%Y-%m-%d %H:%M:%S} UTC"))
    return ReportTable("", ("", ""), tuple((name, _cut(text)) for name, text in rows))


def _jets(run: Run) -> str:
    """The heading over the run's plots as plain text."""
    try:
        labels = run.figure_labels()
    except (UserError, ValueError):
        return NOT_KNOWN
    words = " ".join(filter(None, (labels.experiment, labels.qualifiers, labels.conditions)))
    return words.replace("$s$", "s").replace("$^{-1}$", "⁻¹")


def validation_table(rows: Mapping[str, Mapping[str, float] | None], names: Mapping[str, str]) -> ReportTable:
    """Figures of some epochs on the validation part.

    Args:
        rows: of the history, by what the epochs are: 'recommended', 'newest'; None leaves one out.
        names: numbers of the epochs likewise.
    """
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


def merit_table(epoch: int, figures: TestFigures) -> ReportTable:
    """Main figures of merit on the test part, after an epoch."""
    found = figures.numbers()
    rows = (
        ("AUC against QCD + 0.1 BIB", number(found["auc"], ".4f")),
        ("AUC against QCD", number(found["auc_qcd"], ".4f")),
        ("AUC against BIB", number(found["auc_bib"], ".4f")),
        ("QCD rejection at 80 % of signal", number(found.get("rejection_qcd_80"), ".4g")),
        (f"signal where {100 * found['mistag']:g} % of QCD pass [%]", percentage(found["signal_efficiency_at_mistag"])),
        (f"BIB where {100 * found['mistag']:g} % of QCD pass [%]", percentage(found["bib_mistag"])),
        ("largest ε(S)/√ε(B)", number(found["max_efficiency_ratio"], ".2f")),
        ("accuracy [%]", percentage(found["accuracy"])),
    )
    return ReportTable(f"Test part, epoch {epoch}", ("figure of merit", "value"), rows)


def members_table(run: Run) -> ReportTable:
    """The networks of a set, with links to their pages; no rows for a run with one network."""
    rows = []
    for member in run.begun_networks:
        best, folder = member.best(), member.path.name
        auc, ks = (NOT_KNOWN, NOT_KNOWN) if best is None else (number(best.auc, ".4f"), number(best.ks_sum, ".3f"))
        epochs = f"{member.epochs} of {member.planned_epochs or NOT_KNOWN}"
        chosen = NOT_KNOWN if best is None else str(best.epoch)
        link = Markup(f"[{escaped(folder)}]({quote(folder)}/index.html)")
        rows.append(
            (link, member.status, epochs, chosen, auc, ks, number(member.recorded_number("test", "auc"), ".4f"))
        )
    columns = ("network", "state", "epochs", "recommended", "its validation AUC", "its K-S sum", "test AUC, newest")
    return ReportTable("", columns, tuple(rows))


def settings_table(run: Run) -> ReportTable:
    """Settings that differ from the profile's; all others are as the profile or the defaults have them."""
    name = str(run.known_settings.get("profile", "manual"))
    try:
        profile = read_packaged(name, "profiles")
    except (UserError, OSError, ValueError):
        name, profile = "manual", read_packaged("manual", "profiles")
    base = TrainSettings.make(**profile).model_dump(mode="json")
    rows = tuple(
        (key, _cut(str(value)), _cut(str(base[key])))
        for key, value in run.known_settings.items()
        if key in base and key not in _NO_DIFFERENCE and value != base[key]
    )
    title = f"Settings that differ from the profile '{name}'" if rows else f"All settings are those of profile '{name}'"
    return ReportTable(title, ("setting", "here", "profile"), rows)


def data_table(run: Run, figures: TestFigures | None) -> ReportTable:
    """Training files, with the numbers of test jets where these are known."""
    rows = []
    described = [
        (f"{kind}: {file['name']}" if "name" in file else kind, file)
        for kind, of_kind in (run.known_record.get("data") or {}).items()
        for file in of_kind.get("regions", [of_kind])
    ]
    for kind, file in described:
        notes = "; ".join(file.get("notes") or ())
        made = file.get("simulation") or "as the file says"
        row = (
            kind,
            without_query(str(file.get("file"))),
            f"{file.get('jets_used', 0):,}",
            made,
            str(file.get("sha256"))[:10],
            notes,
        )
        rows.append(row)
    note = ""
    if figures is not None:
        roc = figures.rocs[0]
        note = f"Main test part: {roc.signal_jets:,} signal, {roc.qcd_jets:,} QCD, {roc.bib_jets:,} BIB jets."
    columns = ("file of", "name", "jets used", "simulation", "SHA-256", "notes")
    return ReportTable("", columns, tuple(rows), note)


def file_table(run: Run) -> ReportTable:
    """The existing files of a run, with links."""
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
            links = " · ".join(f"[{escaped(name)}]({prefix}{quote(os.fsencode(name))})" for name in names)
            rows.append((title, Markup(links)))
    return ReportTable("", ("file", "content"), tuple(rows))
