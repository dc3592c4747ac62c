"""The tables of an analysis: epochs and runs beside each other, the best in bold."""

import math
from collections.abc import Callable, Sequence

from cal_ratio_trainer.evaluation.importance import REJECTION_EFFICIENCY, Decrease, Importances
from cal_ratio_trainer.evaluation.intervals import Interval, Share
from cal_ratio_trainer.evaluation.roc import BACKGROUNDS, REJECTION_AT
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.roc import by_auc
from cal_ratio_trainer.progress import duration
from cal_ratio_trainer.reporting.page import NOT_KNOWN, ReportTable, bold, number, unbroken, with_errors
from cal_ratio_trainer.reporting.training_details import per_cent, rejection_words
from cal_ratio_trainer.runs.stored import HISTORY_NAMES
from cal_ratio_trainer.scoring.analyzed_run import GIVEN_FILES, TEST_PART, AnalyzedRun
from cal_ratio_trainer.scoring.candidates import Candidate, TestResult

_EPOCH_COLUMNS = (
    "Sorted by the main loss. Losses and K-S sum are of the validation part; the sum is that of three outputs and "
    "three pt ranges. If identical: what two samples of one distribution give at these effective numbers of jets; the "
    "excess over it, in units of its spread, grows with the sample. The AUC is that of signal against QCD + 0.1 BIB: "
    "it depends on the numbers of jets."
)
_GIVEN_COLUMNS = (
    "AUC and K-S sum are of all jets of the given files, by which epochs are chosen here; losses are those of the "
    "training, as far as its history has them. The K-S sum is that of three outputs and three pt ranges. If identical: "
    "what two samples of one distribution give at these effective numbers of jets; the excess over it, in units of its "
    "spread, grows with the sample. The AUC is that of signal against QCD + 0.1 BIB: it depends on the numbers of jets."
)
_FROM_TEST = "68 % intervals from samples drawn anew, event by event."


def epoch_table(
    title: str, candidates: Sequence[Candidate], recommended: Candidate | None, is_explained: bool = True
) -> ReportTable:
    """Table of each epoch's figures on the validation part, and its AUC on the test part with the class counts.

    Where runs are judged on given files, AUC and K-S are of these.

    Args:
        title: of the table.
        candidates: the epochs, all of one group.
        recommended: entry in bold.
        is_explained: the note says what the columns are; otherwise that they are those of the table before.
    """
    losses: tuple[str, ...] = ("main loss", "K-S sum", "if identical", "excess [σ]", *_ADVERSARY)
    columns: tuple[str, ...] = (
        "epoch",
        "chosen for",
        *losses,
        "AUC (validation)",
        "AUC (test)",
        "signal/QCD/BIB test jets",
    )
    rows = [_epoch_row(each, each is recommended) for each in candidates]
    first, second = (columns.index(name) for name in _ADVERSARY)
    if all(row[first] == row[second] for row in rows):
        # Only the earlier program has a loss of the adversary's own update beside that of the network's.
        columns, rows = _without(columns, second), [_without(row, second) for row in rows]
        losses = losses[:-1]
    note = _EPOCH_COLUMNS
    if _tested_on(candidates) == GIVEN_FILES:
        # Both AUCs are of the same jets: the one with its error says all. Without a history there are no losses.
        columns = ("epoch", "chosen for", *losses, "", "AUC", "signal/QCD/BIB jets")
        shown = [i for i in range(len(columns)) if columns[i] and any(row[i] != NOT_KNOWN for row in rows)]
        columns, rows = tuple(columns[i] for i in shown), [tuple(row[i] for i in shown) for row in rows]
        note = _GIVEN_COLUMNS
    note = note if is_explained else "Columns as in the table above. (2.): the second best."
    return ReportTable(title, columns, tuple(rows), note)


_ADVERSARY = ("adversary loss", "discriminator loss")


def _without(cells: tuple[str, ...], position: int) -> tuple[str, ...]:
    return cells[:position] + cells[position + 1 :]


def auc_table(candidates: Sequence[Candidate], recommended: Candidate | None) -> ReportTable:
    """AUC against each background and K-S sum, with errors."""
    rows = []
    for each, result in _scored(candidates):
        aucs = (interval_words(auc.interval, 4) for auc in result.aucs)
        ks = (interval_words(result.ks_sum.interval, 2), number(result.ks_expected, ".2f"))
        c2st = result.c2st.overall
        told = (f"{c2st.auc:.3f} ± {c2st.error:.3f} ({c2st.excess:+.1f}σ)") if math.isfinite(c2st.excess) else NOT_KNOWN
        rows.append((_name(each, recommended), *aucs, *ks, unbroken(told), number(result.efficiency_ratio, ".2f")))
    return ReportTable(
        f"AUC and K-S sum on the {_tested_on(candidates)}",
        (
            "epoch",
            *(f"AUC, {background.name}" for background in BACKGROUNDS),
            "K-S sum",
            "if identical",
            "C2ST",
            "max eps_S/sqrt(eps_B)",
        ),
        tuple(rows),
        f"{_FROM_TEST} K-S sum: of the control region. C2ST: AUC of a classifier that tells its data from its MC, with "
        "the excess over that of identical distributions.",
    )


def difference_table(candidates: Sequence[Candidate], recommended: Candidate | None) -> ReportTable | None:
    """Differences to the recommended epoch of those with the same test jets; None where there is no such epoch."""
    if recommended is None or recommended.result is None or recommended.run.sample is None:
        return None
    rows = []
    for each, result in _scored(candidates):
        sample = each.run.sample
        if each is recommended or sample is None or sample.checksum != recommended.run.sample.checksum:
            continue
        auc = result.aucs[0].minus(recommended.result.aucs[0])
        ks = result.ks_sum.minus(recommended.result.ks_sum)
        rows.append((each.name, interval_words(auc, 4, "+"), interval_words(ks, 2, "+")))
    if not rows:
        return None
    return ReportTable(
        f"Differences to {recommended.name} on the same jets ({_short(candidates)})",
        ("epoch", "AUC", "K-S sum"),
        tuple(rows),
        f"{_FROM_TEST} The jets are the same, so differences are better known than the figures themselves.",
    )


def rejection_tables(candidates: Sequence[Candidate], recommended: Candidate | None) -> list[ReportTable]:
    """Rejection at fixed signal efficiencies against QCD and against BIB alone."""
    return [
        ReportTable(
            f"Rejection 1/fpr of {background.name.removesuffix(' only')} alone at given signal efficiencies "
            f"({_short(candidates)})",
            ("epoch", *(f"at {100 * at:.0f} %" for at in REJECTION_AT)),
            tuple(
                (
                    _name(each, recommended),
                    *(rejection_words(result.rocs[position].rejection_at(at)) for at in REJECTION_AT),
                )
                for each, result in _scored(candidates)
            ),
            "In brackets: 68 %, Clopper-Pearson at the background's effective number.",
        )
        for position, background in enumerate(BACKGROUNDS)
        if background.qcd == 0 or background.bib == 0
    ]


def efficiency_table(candidates: Sequence[Candidate]) -> ReportTable | None:
    """Share of signal taken for signal by (mH, mS), one column per epoch, best in bold; None without scored epochs.

    An epoch that does not classify is never the best: one that takes every jet for signal has the whole signal.
    """
    scored = _scored(candidates)
    if not scored:
        return None
    judged = [each.classifies for each, _ in scored]
    by_epoch = [
        {(point.higgs_mass, point.scalar_mass): point.efficiency for point in result.efficiencies}
        for _, result in scored
    ]
    rows: list[tuple[str, ...]] = []
    for masses in sorted({masses for points in by_epoch for masses in points}):
        shares = [points.get(masses) for points in by_epoch]
        rows.append((f"{masses[0]:g}", f"{masses[1]:g}", *_best_in_bold(shares, judged, max)))
    rows.append(("all signal", "", *_best_in_bold([result.signal for _, result in scored], judged, max)))
    for position, label in enumerate(("QCD", "BIB")):
        shares = [result.false_positives[position].by_count for _, result in scored]
        rows.append((label, "", *_best_in_bold(shares, judged, min)))
    return ReportTable(
        f"Share of jets whose largest output is signal [%]: signal by mass, and backgrounds ({_short(candidates)})",
        ("mH [GeV]", "mS [GeV]", *(each.name for each, _ in scored)),
        tuple(rows),
        "Errors: 68 %, Clopper-Pearson. Bold: the highest of its row, for backgrounds the lowest, among epochs that "
        "classify; a difference within the errors says nothing.",
    )


def history_table(candidates: Sequence[Candidate]) -> ReportTable | None:
    """Losses, accuracies, K-S sums and AUC of each epoch, as the history names them; None without a history."""
    rows = {each.name: each.history_row for each in candidates}
    names = [
        name
        for name in (*HISTORY_NAMES, "val_auc", "c2st_auc", "c2st_excess")
        if any(name in row for row in rows.values())
    ]
    if not names:
        return None
    return ReportTable(
        "Losses and accuracies",
        ("name", *rows),
        tuple((name, *(number(row.get(name, math.nan), ".4f") for row in rows.values())) for name in sorted(names)),
        "original: the network; adv: the adversary; val: the validation part.",
    )


def importance_table(network: str, found: Importances) -> ReportTable:
    """Every kind and every input, the most important first."""
    rows = [
        (
            bold(each.name) if each in found.kinds else each.name,
            "all" if each in found.kinds else each.kind.replace("_", " "),
            _decrease(each.auc, 4),
            _decrease(each.rejection, 1, 100),
        )
        for each in (*by_auc(found.kinds), *by_auc(found.inputs))
    ]
    return ReportTable(
        f"Decrease of AUC and rejection of {network} if an input is permuted",
        ("input", "kind", "decrease of AUC", f"loss of rejection at {100 * REJECTION_EFFICIENCY:.0f} % signal [%]"),
        tuple(rows),
        "Errors: of the test jets, event by event; in brackets the part of it that comes from the permutations.",
    )


def _decrease(each: Decrease, digits: int, factor: float = 1.0) -> str:
    value, error, permutation = (f"{factor * x:.{digits}f}" for x in (each.value, each.error, each.permutation_error))
    if not math.isfinite(each.value):
        return NOT_KNOWN
    return unbroken(f"{value} ± {error}" + (f" ({permutation})" if math.isfinite(each.permutation_error) else ""))


def setting_tables(runs: Sequence[AnalyzedRun]) -> list[ReportTable]:
    """Settings that differ between runs, and those that are the same."""
    names = list(dict.fromkeys(name for run in runs for name in run.run.known_settings))
    values = {name: [run.run.known_settings.get(name, NOT_KNOWN) for run in runs] for name in names}
    values = {name: ["null" if each is None else str(each) for each in row] for name, row in values.items()}
    differing = [name for name in names if len(set(values[name])) > 1]
    same = [name for name in names if name not in differing]
    tables = []
    if differing:
        rows = tuple((run.name, *(values[name][i] for name in differing)) for i, run in enumerate(runs))
        tables.append(ReportTable("Settings that differ", ("run", *differing), rows))
    if same:
        title = "Settings that are the same" if len(runs) > 1 else "Settings"
        tables.append(ReportTable(title, ("setting", "value"), tuple((name, values[name][0]) for name in same)))
    return tables


def version_table(runs: Sequence[AnalyzedRun]) -> ReportTable:
    """State, program, machine and time of each run."""
    columns = ("run", "status", "epochs", "program", "commit", "python", "torch", "host", "started (UTC)", "took")
    rows = []
    for run in runs:
        it = run.run
        versions = [it.recorded_text("versions", name) or NOT_KNOWN for name in ("python", "torch")]
        rows.append(
            (
                run.name,
                it.status,
                f"{it.epochs}/{it.planned_epochs or '?'}",
                it.recorded_text("versions", "cal_ratio_trainer") or NOT_KNOWN,
                it.commit or NOT_KNOWN,
                *versions,
                it.recorded_text("machine", "host") or NOT_KNOWN,
                (it.recorded_text("started") or NOT_KNOWN)[:16].replace("T", " "),
                NOT_KNOWN if it.seconds is None else duration(it.seconds),
            )
        )
    return ReportTable("Runs", columns, tuple(rows))


def interval_words(interval: Interval, digits: int, sign: str = "") -> str:
    """A metric with its errors, as far as they are known.

    >>> interval_words(Interval(0.99, 0.97, 1.0), 2).split()
    ['0.99', '+0.01', '-0.02']
    """
    form = f"{sign}.{digits}f"
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return number(interval.value, form)
    return with_errors(interval.value, interval.error_down, interval.error_up, form)


def _epoch_row(each: Candidate, is_recommended: bool) -> tuple[str, ...]:
    row, best, jets = each.row, each.validation, each.run.class_counts
    counts = "/".join(str(jets[label]) for label in (Label.SIGNAL, Label.QCD, Label.BIB)) if jets else NOT_KNOWN
    test = each.missing if each.result is None else interval_words(each.result.aucs[0].interval, 4)
    return (
        bold(each.name) if is_recommended else each.name,
        ", ".join(each.reasons),
        number(row.get("val_original_lossf", math.nan), ".4f"),
        number(best.ks_sum, ".3f"),
        with_errors(best.ks_expected, best.ks_spread, best.ks_spread, ".3f"),
        number(best.ks_excess, "+.1f"),
        number(row.get("val_original_adv_lossf", math.nan), ".4f"),
        number(row.get("val_adv_loss", math.nan), ".4f"),
        number(best.auc, ".4f"),
        test,
        counts,
    )


def _tested_on(candidates: Sequence[Candidate]) -> str:
    return candidates[0].run.tested_on if candidates else TEST_PART


def _short(candidates: Sequence[Candidate]) -> str:
    return _tested_on(candidates).removesuffix(" part")


def _scored(candidates: Sequence[Candidate]) -> list[tuple[Candidate, TestResult]]:
    return [(each, each.result) for each in candidates if each.result is not None]


def _name(each: Candidate, recommended: Candidate | None) -> str:
    return bold(each.name) if each is recommended else each.name


def _best_in_bold(
    shares: Sequence[Share | None], judged: Sequence[bool], best_of: Callable[[list[float]], float]
) -> list[str]:
    known = [
        share.value
        for share, counts in zip(shares, judged, strict=True)
        if counts and share is not None and math.isfinite(share.value)
    ]
    best = best_of(known) if len(known) > 1 else math.nan
    return [
        _share(share, is_best=counts and share is not None and share.value == best)
        for share, counts in zip(shares, judged, strict=True)
    ]


def _share(share: Share | None, is_best: bool) -> str:
    if share is None or math.isnan(share.value):
        return NOT_KNOWN
    text = unbroken(per_cent(share))
    return bold(text) if is_best else text
