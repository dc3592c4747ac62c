"""Results of a network at the end of a training: the same tables as text for a file and for the terminal."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule
from cal_ratio_trainer.evaluation.c2st import ControlRegionC2st
from cal_ratio_trainer.evaluation.efficiencies import ConfusionMatrix, FalsePositives, MassPointEfficiency, WorkingPoint
from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, Overtraining
from cal_ratio_trainer.evaluation.roc import Rejection, RocCurve
from cal_ratio_trainer.evaluation.sculpting import Sculpting
from cal_ratio_trainer.evaluation.significance import SignificanceScan
from cal_ratio_trainer.evaluation.summary import MemberFigure, RegionFigures, TestFigures
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.progress import duration, with_prefix
from cal_ratio_trainer.reporting.page import NOT_KNOWN, ReportTable, as_text, number, percentage
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.recommendation import ks_sums
from cal_ratio_trainer.runs.run import Run


def training_details_text(figures: TestFigures) -> str:
    """All tables as plain text, for training_details.txt."""
    return "\n".join(as_text(table) for table in training_details(figures))


def training_details(figures: TestFigures) -> tuple[ReportTable, ...]:
    """All tables: ROC curves, efficiencies, confusion, and the comparisons that there are jets for.

    K-S and C2ST of MC and data need control jets, train and test needs jets that were trained on.
    """
    tables = [
        _auc_table(figures.rocs),
        _rejection_table((*figures.rocs, *figures.qcd_rocs)),
        _working_point_table(figures.working_point),
        _significance_table(figures.scans),
        _efficiency_table(figures.signal, figures.efficiencies),
        _false_positive_table(figures.false_positives),
        _confusion_table(figures.confusion),
    ]
    if figures.overtraining is not None:
        tables.append(_overtraining_table(figures.overtraining))
    if figures.ks is not None:
        tables.append(_ks_table(figures.ks))
    if figures.c2st is not None:
        tables.append(c2st_table(figures.c2st))
    if figures.regions:
        tables.append(region_table(figures.regions))
    if figures.members:
        tables.append(member_table(figures))
    return tuple(tables)


def training_summary(run: RunFolder, figures: TestFigures) -> str:
    """Ten lines for the end of a training: figures of merit, recommended epoch, page, next commands.

    Args:
        run: the run or set of networks.
        figures: of merit on its test part; training_details.txt has all of them.
    """
    run, found = Run(run.path), figures.numbers()
    best = run.best_epochs()
    rate = run.recorded_number("timings", "main_jets_per_second")
    took = "" if run.seconds is None else f" in {duration(run.seconds)}"
    rejections = ((100 * each.signal_efficiency, each) for each in figures.rocs[1].rejections)
    lines = {
        "test part": f"AUC {number(found['auc'], '.4f')}: against QCD {number(found['auc_qcd'], '.4f')}, BIB "
        f"{number(found['auc_bib'], '.4f')}; accuracy {percentage(found['accuracy'])} %",
        "QCD rejection": ", ".join(
            f"{rejection_words(each).partition(' [')[0]} at {percent:.0f} %" for percent, each in rejections
        )
        + " of signal",
        "working point": f"{percentage(found['signal_efficiency_at_mistag'])} % of signal, "
        f"{percentage(found['bib_mistag'])} % of BIB where {100 * found['mistag']:g} % of QCD pass; largest "
        f"ε(S)/√ε(B) {number(found['max_efficiency_ratio'], '.2f')}",
        "data and MC": _agreement_words(figures),
        "recommended": "no epoch"
        if best is None
        else f"epoch {best.words}, by the validation part: AUC {number(best.row.get('val_auc'), '.4f')}, K-S sum "
        f"{number(ks_sums([best.row])[0], '.3f')}; figures above are of the newest epoch",
        "page": str(run.page_file if run.page_file.is_file() else run.path),
        "all figures": str(run.path / "training_details.txt"),
    }
    if spread := {each.name: each for each in figures.members}.get("auc"):
        lines["members"] = (
            f"AUC {number(spread.mean, '.4f')} ± {number(spread.error, '.4f')} on average, standard deviation "
            f"{number(spread.std, '.4f')}; the figures above are of their mean scores"
        )
    commands = run_commands(run)
    after = [*zip(("next", ""), commands.values(), strict=False)]
    newest = run.known_history[-1] if run.known_history else {}
    if chance := _chance_words(newest if best is None else best.row):
        after = [("warning", chance), ("next", f"more epochs ({commands['trains on']}), or other settings")]
    head = f"run {run.name}: {run.epochs} epoch{'' if run.epochs == 1 else 's'}{took}"
    rows = [*lines.items(), *after]
    return "\n".join(
        [head + (f", {with_prefix(rate)} main jets/s in the steps" if rate else ""), *(f"{a:<14} {b}" for a, b in rows)]
    )


def _chance_words(row: Mapping[str, float]) -> str:
    """Sentence on a validation AUC that is below 0.5 or within two standard errors of it; empty for any other."""
    auc, error = (row.get(name, math.nan) for name in ("val_auc", "val_auc_error"))
    if not auc - 2 * (error if math.isfinite(error) else 0) <= 0.5:
        return ""
    return (
        f"the network does not tell signal from background: validation AUC {number(auc, '.4f')} ± "
        f"{number(error, '.4f')}, guessing gives 0.5"
    )


def _agreement_words(figures: TestFigures) -> str:
    """K-S of each output and C2ST in units of the spread of identical distributions."""
    if figures.ks is None:
        return "no control region"
    tests = [(f"{each.output.title} ", each.excess) for each in figures.ks.outputs]
    if figures.c2st is not None:
        overall = figures.c2st.overall
        tests.append((f"C2ST {number(overall.auc, '.3f')} ", overall.excess))
    words = [f"{name}{excess:+.1f}σ" if math.isfinite(excess) else f"{name}not known" for name, excess in tests]
    if all(not math.isfinite(excess) for _, excess in tests):
        return "too few jets in the test part of the control region"
    return f"above identical distributions: K-S {', '.join(words)}"


def run_commands(run: Run) -> dict[str, str]:
    """Commands to go on with a run, by what they do."""
    rule = run.known_rule
    models = run.numbered_folder.parent.parent
    place = ("", f" --output_path {shlex.quote(str(models))}")[models != TrainSettings.defaults()["output_path"]]
    model = run.numbered_folder.parent.name
    name = f"{model}/{run.number}" + ("" if run.network_number is None else f"/{run.path.name}")
    best, name, model = map(shlex.quote, (f"{name}/best", name, model))
    # A file of frugally-deep cannot hold the average of an ensemble, or another encoder than the LSTM.
    has_json = not isinstance(rule, EnsembleRule) and run.setting("encoder") in ("", DEFAULT_ENCODER)
    export = ("" if has_json else " --format onnx") + (" --folds" if isinstance(rule, FoldRule) else "")
    return {
        "scores jets of any files with the recommended epoch": f"cr_trainer score FILES... {best}{place}",
        "exports it for the experiment's C++ software": f"cr_trainer convert training {best}{export}{place}",
        "shortlists epochs with errors, on the test part": f"cr_trainer analyze {name}{place}",
        "trains on": f"cr_trainer train{place} --model_name {model} --continue {run.number}",
        "opens this page": f"cr_trainer watch {name}{place}",
    }


def member_table(figures: TestFigures, name: str = "") -> ReportTable:
    """Figures of merit of the mean scores of an ensemble beside mean and spread over its members.

    Args:
        figures: with `members`.
        name: of the ensemble, for the title; empty where it is clear.
    """
    of_mean = figures.numbers()
    return ReportTable(
        "The ensemble" + (f" {name}" if name else "") + f" and its {len(figures.members[0].values)} members",
        ("figure", "ensemble", "mean of members", "error of the mean", "standard deviation", "lowest", "highest"),
        tuple(
            (each.name, *(number(value, ".4g") for value in _of_members(each, of_mean.get(each.name))))
            for each in figures.members
            if each.std > 0
        ),
        "Ensemble: of the mean of the members' scores. The spread is that of the seeds alone: all members share "
        "training and test jets. Figures that do not differ or are not known are left out.",
    )


def _of_members(each: MemberFigure, of_mean: float | None) -> tuple[float | None, ...]:
    return of_mean, each.mean, each.error, each.std, min(each.values), max(each.values)


def _auc_table(curves: tuple[RocCurve, ...]) -> ReportTable:
    return ReportTable(
        "Area under the ROC curve of the signal output",
        ("signal", "against", "signal jets", "QCD jets", "BIB jets", "AUC"),
        tuple(
            (
                *_curve_names(curve),
                f"{curve.signal_jets}",
                f"{curve.qcd_jets}",
                f"{curve.bib_jets}",
                number(curve.auc, ".5f"),
            )
            for curve in curves
        ),
        "Each class's weights sum to its count: the mixture QCD + 0.1 BIB, and with it the AUC, depends on the counts.",
    )


def _rejection_table(curves: tuple[RocCurve, ...]) -> ReportTable:
    return ReportTable(
        "Rejection 1/fpr at given signal efficiencies",
        ("signal", "against", *(f"{100 * rejection.signal_efficiency:.0f} %" for rejection in curves[0].rejections)),
        tuple(
            (*_curve_names(curve), *(rejection_words(rejection) for rejection in curve.rejections)) for curve in curves
        ),
        "In brackets: 68 %, Clopper-Pearson at the background's effective number. The mixture QCD + 0.1 BIB depends on "
        "the counts.",
    )


def _working_point_table(point: WorkingPoint) -> ReportTable:
    return ReportTable(
        f"Jets that pass the cut at which {100 * point.mistag:g} % of QCD may pass",
        ("cut on the signal output", "signal [%]", "QCD [%]", "BIB [%]"),
        ((number(point.cut, ".6f"), *(per_cent(share, ".2f") for share in (point.signal, point.qcd, point.bib))),),
        "Signal by count, QCD and BIB by weight at effective numbers.",
    )


def _curve_names(curve: RocCurve) -> tuple[str, str]:
    return curve.name or "all", curve.background.name.removesuffix(" only")


def _significance_table(scans: Iterable[SignificanceScan]) -> ReportTable:
    return ReportTable(
        "S/sqrt(B), relative, this test sample",
        ("scan", "maximum", "at cut", "area", "eps_S/sqrt(eps_B)"),
        tuple(
            (
                scan.name or "all",
                number(scan.maximum, ".2f"),
                number(scan.cut_at_maximum, ".5f"),
                number(scan.area, ".3f"),
                number(scan.maximum_efficiency_ratio, ".3f"),
            )
            for scan in scans
        ),
        "S/sqrt(B) grows with the sample; eps_S/sqrt(eps_B) does not.",
    )


def _efficiency_table(total: Share, points: Iterable[MassPointEfficiency]) -> ReportTable:
    return ReportTable(
        "Signal jets whose largest output is signal",
        ("mH [GeV]", "mS [GeV]", "jets", "efficiency [%]"),
        (
            *(
                (
                    f"{point.higgs_mass:g}",
                    f"{point.scalar_mass:g}",
                    f"{point.efficiency.total:.0f}",
                    per_cent(point.efficiency),
                )
                for point in points
            ),
            ("all", "all", f"{total.total:.0f}", per_cent(total)),
        ),
        "Errors: 68 %, Clopper-Pearson.",
    )


def _false_positive_table(results: Iterable[FalsePositives]) -> ReportTable:
    return ReportTable(
        "Background jets whose largest output is signal",
        ("background", "jets", "by count [%]", "effective jets", "by weight [%]"),
        tuple(
            (
                result.label.title,
                f"{result.by_count.total:.0f}",
                per_cent(result.by_count),
                f"{result.by_weight.total:.1f}",
                per_cent(result.by_weight),
            )
            for result in results
        ),
    )


def _confusion_table(confusion: ConfusionMatrix) -> ReportTable:
    return ReportTable(
        "Jets by label and largest output",
        ("label", *(f"-> {label.title}" for label in Label)),
        tuple(
            (
                label.title,
                *(
                    f"{count} ({number(100 * share, '.1f')} %)"
                    for count, share in zip(confusion.counts[label], confusion.shares[label], strict=True)
                ),
            )
            for label in Label
        ),
        f"Accuracy: {number(100 * confusion.accuracy, '.2f')} % of all jets.",
    )


def _overtraining_table(found: Overtraining) -> ReportTable:
    rows = []
    for each in found.distances:
        comparison, reference = each.comparison, each.comparison.reference
        numbers = (comparison.distance, reference.mean, reference.spread, comparison.excess)
        rows.append(
            (
                each.output.title,
                each.label.title,
                *_ks_numbers(*numbers),
                number(reference.critical, ".4f"),
            )
        )
    return ReportTable(
        "K-S of train and test scores",
        ("output", "jets", "distance", "if identical", "excess [sigma]", "5 % exceed"),
        tuple(rows),
        "An excess means overtraining: the network recognises the jets it was trained on.",
    )


def _ks_table(ks: ControlRegionKs) -> ReportTable:
    rows = []
    for result in ks.outputs:
        name = result.output.title
        for pt_range, comparison in zip(ks.pt_ranges, result.ranges, strict=True):
            reference = comparison.reference
            numbers = (comparison.distance, reference.mean, reference.spread, comparison.excess)
            rows.append((name, pt_range.name, *_ks_numbers(*numbers), number(reference.critical, ".4f")))
        numbers = (result.total, result.expected, result.spread, result.excess)
        rows.append((name, "sum", *_ks_numbers(*numbers), NOT_KNOWN))
    counts = ", ".join(
        f"{pt_range.name} {mc:.1f} MC, {data:.1f} data"
        for pt_range, mc, data in zip(ks.pt_ranges, ks.effective_mc, ks.effective_data, strict=True)
    )
    return ReportTable(
        "K-S of MC and data in the control region",
        ("output", "pt range", "distance", "if identical", "excess [sigma]", "5 % exceed"),
        tuple(rows),
        f"Effective jets: {counts}.",
    )


def c2st_table(c2st: ControlRegionC2st) -> ReportTable:
    """AUC of the classifier two-sample test, overall and by pt range."""
    names = ("all", *(pt_range.name for pt_range in c2st.pt_ranges))
    rows = []
    for name, figure in zip(names, (c2st.overall, *c2st.ranges), strict=True):
        auc = f"{figure.auc:.4f} ± {figure.error:.4f}" if math.isfinite(figure.auc) else NOT_KNOWN
        rows.append((name, auc, *_ks_numbers(figure.auc, figure.expected, figure.spread, figure.excess)[1:]))
    return ReportTable(
        "C2ST: AUC of a classifier that tells data from MC in the control region",
        ("pt range", "AUC", "if identical", "excess [sigma]"),
        tuple(rows),
        f"It reads the log-odds of the three outputs and pt; 5 folds by event, {c2st.jets} jets.",
    )


def region_table(regions: Iterable[RegionFigures], title: str = "MC and data in each control region") -> ReportTable:
    """K-S sums and C2ST of each of several control regions, and of those that are judged only."""
    rows = []
    for region in regions:
        sums = [f"{number(ks.total, '.3f')} ({number(ks.excess, '+.1f')})" for ks in region.ks.outputs]
        c2st = NOT_KNOWN
        if region.c2st is not None and math.isfinite(region.c2st.overall.auc):
            found = region.c2st.overall
            c2st = f"{found.auc:.4f} ± {found.error:.4f} ({number(found.excess, '+.1f')})"
        jets = f"{sum(region.ks.effective_mc):.0f} + {sum(region.ks.effective_data):.0f}"
        rows.append((region.name, "judged only" if region.is_judged_only else "of the training", jets, *sums, c2st))
    return ReportTable(
        title,
        ("region", "", "effective jets, MC + data", *(f"K-S {label.title}" for label in Label), "C2ST"),
        tuple(rows),
        "K-S: sums of three pt ranges. Brackets: excess over identical distributions in standard deviations.",
    )


def sculpting_table(networks: Mapping[str, Sequence[Sculpting]]) -> ReportTable:
    """Mistag of each network at its working points, and how far passing QCD jets differ from the rejected ones."""
    points = [(name, point) for name, each in networks.items() for point in each]
    quantities = dict.fromkeys(quantity for _, point in points for quantity in point.shapes)
    rows = []
    for name, point in points:
        shapes = [point.shapes.get(quantity) for quantity in quantities]
        cells = [
            NOT_KNOWN if each is None else f"{number(each.distance, '.3f')} ({number(each.excess, '+.1f')})"
            for each in shapes
        ]
        mistags = (per_cent(share, ".2f") for share in (point.qcd, point.bib))
        rows.append((name, f"{100 * point.efficiency:g}", number(point.cut, ".6f"), *mistags, *cells))
    words = {"pt": "pt", "cluster_mass": "mass of clusters", "cluster_width": "width of clusters"}
    return ReportTable(
        "Mistag at fixed signal efficiency, and the shape of QCD that passes",
        (
            *("network", "signal efficiency [%]", "cut", "QCD [%]", "BIB [%]"),
            *(f"K-S in {words[quantity]}" for quantity in quantities),
        ),
        tuple(rows),
        "K-S: distance of QCD jets that pass from those that do not. Brackets show the excess over identical "
        "distributions, which sculpt nothing, in standard deviations. Backgrounds by weight, at effective numbers.",
    )


def _ks_numbers(distance: float, expected: float, spread: float, excess: float) -> tuple[str, str, str]:
    identical = f"{expected:.4f} ± {spread:.4f}" if math.isfinite(expected) else NOT_KNOWN
    return number(distance, ".4f"), identical, number(excess, "+.2f")


def rejection_words(rejection: Rejection) -> str:
    """A rejection with the ends of its interval; a lower end alone where no background passes.

    >>> rejection_words(Rejection(0.5, 0.01, 100.0, 81.3, 122.0))
    '100 [81.3, 122]'
    >>> rejection_words(Rejection(0.5, 0.0, math.inf, 55.0, math.inf))
    '> 55'
    """
    if math.isinf(rejection.value):
        return f"> {_rounded(rejection.low)}"
    if math.isnan(rejection.value):
        return NOT_KNOWN
    return f"{_rounded(rejection.value)} [{_rounded(rejection.low)}, {_rounded(rejection.high)}]"


def _rounded(value: float) -> str:
    return f"{value:.3g}" if value < 1000 or math.isinf(value) else f"{value:.0f}"


def per_cent(share: Share, form: str = ".1f") -> str:
    """A share in per cent with its errors, e.g. '97.1 +0.3 -0.4'; '-' where it is not known."""
    if math.isnan(share.value):
        return NOT_KNOWN
    value, up, down = (format(100 * part, form) for part in (share.value, share.error_up, share.error_down))
    return f"{value} +{up} -{down}"
