"""Figures of a run's page as plain data: axes and series, which the script of the page draws as SVG (`charts.js`).

A chart has `title`, `text` (a line below it), `x` and one or two `panels` above each other. An axis has `title`, `log`,
`low`, `high`; a panel has `series` besides. A series has `kind` (line, step, points, band, rule), `colour`, `name` (in
the legend), `y`, and `x` or `edges`; points have a `marker` and may be `hollow`; null is a gap. A chart of scores has
`edges`, `classes` and a frame of contents, one of bars `bars` with `names`, `y` and `error`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.efficiencies import Dependence, MassPointEfficiency, WorkingPoint
from cal_ratio_trainer.evaluation.histograms import LOGIT_EDGES, ScoreHistogram, ScoreHistograms
from cal_ratio_trainer.evaluation.importance import Importance
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, KsComparison, KsReference, Overtraining
from cal_ratio_trainer.evaluation.roc import RocCurve
from cal_ratio_trainer.evaluation.significance import SignificanceScan
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.histories import HistoryReferences, carried_over_gaps
from cal_ratio_trainer.plotting.roc import MAX_BARS, by_auc
from cal_ratio_trainer.plotting.scores import LOGIT_TICKS, logit_positions
from cal_ratio_trainer.plotting.style import CLASS_STYLES, output_title
from cal_ratio_trainer.runs.figures import drawings_of_history
from cal_ratio_trainer.runs.recommendation import BestEpoch, ks_beyond_identical, ks_sums, pareto_front

Chart = dict[str, Any]

_LOWEST_ON_LOG_AXIS = 1e-4
_PALETTE = ("one", "two", "three", "four", "five", "six", "seven")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "8 3 2 3 2 3", "1 6")
_QUANTITIES = {
    "Lxy": "Lxy of the long-lived particle [mm]",
    "Lz": "|Lz| of the long-lived particle [mm]",
    "pt": "jet pT [GeV]",
    "eta": "jet η",
    "phi": "jet φ [rad]",
}


def chart_json(content: Any) -> str:
    """A chart as compact JSON on one line."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def numbers(values: Iterable[float] | NDArray[Any], digits: int = 4) -> list[float | None]:
    """Values rounded to `digits` significant digits; None for NaN and infinity."""
    rounded = [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in map(float, values)]
    return [int(value) if value is not None and value == int(value) else value for value in rounded]


def front_chart(history: Sequence[Mapping[str, float]], recommended: int | None) -> Chart | None:
    """1 - AUC against the K-S sum of every epoch on the validation part, with the Pareto front; None without both."""
    missed, sums = [1 - row.get("val_auc", math.nan) for row in history], ks_sums(history)
    points = [(row.get("val_auc", math.nan), ks_beyond_identical(row)) for row in history]
    front = pareto_front(points)
    if not front:
        return None
    best = min(missed[epoch] for epoch in front)
    # Epochs that have learned nothing would leave no room for those that one chooses from.
    high = max(value for value in missed if value <= max(20 * best, best + 1e-6))
    names = [
        f"epoch {epoch}: AUC {1 - value:.4f}, K-S sum {total:.3f}"
        for epoch, (value, total) in enumerate(zip(missed, sums, strict=True))
    ]
    first = BestEpoch.of(front[0], history[front[0]])
    expected, spread = first.ks_expected, first.ks_spread
    x = {"title": "1 − AUC, signal against QCD + 0.1 BIB", "log": True, "low": best / 1.1, "high": high * 1.1}
    series: list[Chart] = []
    if math.isfinite(expected):
        ends = {"low": [expected - spread] * 2, "high": [expected + spread] * 2}
        band = {"kind": "band", "colour": "grey", "name": "identical distributions ± 1σ"}
        series.append(band | {"x": [x["low"], x["high"]]} | ends)
    line = {"x": numbers(missed[epoch] for epoch in front), "y": numbers(sums[epoch] for epoch in front)}
    series.append({"kind": "line", "colour": "grey", "name": "Pareto front", "joins": True} | line)
    if recommended is not None:
        # Below the epochs, because a ring makes paler what it lies on.
        place = {"x": numbers([missed[recommended]]), "y": numbers([sums[recommended]]), "names": [names[recommended]]}
        name = {"name": f"recommended: epoch {recommended}", "hollow": True, "radius": 9}
        series.append({"kind": "points", "colour": "sig"} | place | name)
    epochs = {"x": numbers(missed), "y": numbers(sums), "names": names, "fades": True, "radius": 4}
    series.append({"kind": "points", "colour": "one", "name": "epochs, pale to dark"} | epochs)
    title = "AUC and agreement of data and MC, validation part"
    text = "Best at the lower left. No other epoch beats one on the front in both figures."
    panels = [{"title": "K-S sum of three outputs and pT ranges", "low": 0, "series": series}]
    return {"title": title, "text": text, "x": x, "panels": panels}


def history_charts(
    history: Sequence[Mapping[str, float]], references: HistoryReferences, with_adversary: bool
) -> list[Chart]:
    """Every history of the run's plots, under the same names."""
    charts = []
    for drawing in drawings_of_history(history, references, with_adversary):
        figure, values, _ = drawing.content
        series: list[Chart] = []
        stem = figure.lines[0][0].removesuffix("_hist").removesuffix("_auc")
        expected, spread = (
            np.array(values.get(f"{stem}_{name}", [math.nan] * len(history))) for name in ("expected", "spread")
        )
        if np.isfinite(expected + spread).any():
            if figure.joins_gaps:
                expected, spread = carried_over_gaps(expected), carried_over_gaps(spread)
            # As wide as the axis, so that a single epoch has a band too.
            low, high = (np.pad(expected + sign * spread, 1, mode="edge") for sign in (-1, 1))
            ends = {"low": numbers(low), "high": numbers(high)}
            x = {"x": [-0.5, *range(len(history)), len(history) - 0.5]}
            series.append({"kind": "band", "colour": "grey", "name": "identical distributions ± 1σ"} | x | ends)
        for (key, title, _), colour, dash in zip(figure.lines, _PALETTE, _DASHES, strict=False):
            line = {"x": list(range(len(history))), "y": numbers(values.get(key, ()), 5), "joins": figure.joins_gaps}
            name = title.replace("$p_T$", "pT").lower().replace("pt ranges", "pT ranges")
            series.append(
                {"kind": "line", "colour": colour, "dash": dash, "marked": len(history) <= 40, "name": name} | line
            )
        reference = None if figure.reference is None else getattr(references, figure.reference)
        if reference is not None:
            rule = {"kind": "rule", "colour": "grey", "dash": "2 3", "y": reference}
            series.append(rule | {"name": f"reference: {figure.reference.replace('_', ' ')} ({reference:.3g})"})
        finite = [value for each in series if each["kind"] == "line" for value in each["y"] if value is not None]
        is_log = bool(finite) and min(finite) > 0 and max(finite) > 30 * min(finite)
        short = figure.y_title.rpartition(": ")[2].partition(", ")[0]
        panel = {"title": short, "log": is_log, "min_height": figure.min_height, "series": series}
        axis = {"title": "epoch", "low": -0.5, "high": len(history) - 0.5, **_epoch_ticks(len(history))}
        charts.append({"title": figure.y_title, "x": axis, "panels": [panel]})
    return charts


def _epoch_ticks(epochs: int) -> Chart:
    """Ticks at whole numbers, at most some eight."""
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if epochs <= 8 * step)
    return {"ticks": [[epoch, str(epoch)] for epoch in range(0, epochs, step)]}


def _signal_words(name: str) -> str:
    """Name of results in words, as 'mH 125 GeV' for 'mH125.0'."""
    return f"mH {float(name.removeprefix('mH')):g} GeV" if name.startswith("mH") else name or "all"


def roc_chart(title: str, curves: Sequence[RocCurve], names: Sequence[str]) -> Chart:
    """Rejection against signal efficiency with the 68 % interval of the background."""
    series: list[Chart] = []
    for position, (curve, name) in enumerate(zip(curves, names, strict=True)):
        colour = _PALETTE[position % len(_PALETTE)]
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (1 / each for each in curve.background_interval[::-1])
            rejection = 1 / curve.background_efficiency
            low, high = (np.where(np.isfinite(rejection * high), each, np.nan) for each in (low, high))
        x: Chart = {"x": numbers(curve.signal_efficiency), "colour": colour}
        if len(curves) <= 3:
            ends = {"low": numbers(low), "high": numbers(high)}
            series.append({"kind": "band", **x, **ends})
        line = {"y": numbers(rejection), "dash": _DASHES[position % len(_DASHES)], "joins": True}
        series.append({"kind": "line", "name": f"{_signal_words(name)}, AUC {curve.auc:.4f}", **x, **line})
    panels = [{"title": "background rejection 1/fpr", "log": True, "decades": True, "low": 1, "series": series}]
    return {"title": title, "x": {"title": "signal efficiency", "low": 0, "high": 1}, "panels": panels}


def scan_chart(title: str, scans: Sequence[SignificanceScan]) -> Chart:
    """eps_S/sqrt(eps_B) against the cut on the signal output."""
    series = [
        {
            "kind": "line",
            "colour": _PALETTE[position % len(_PALETTE)],
            "dash": _DASHES[position % len(_DASHES)],
            "joins": True,
            "name": f"{_signal_words(scan.name)}, maximum {scan.maximum_efficiency_ratio:.2f} "
            f"at {scan.cut_at_maximum:.4f}",
            "x": numbers(scan.cuts, 6),
            "y": numbers(scan.efficiency_ratio),
        }
        for position, scan in enumerate(scans)
    ]
    panels = [{"title": "ε(S) / √ε(B)", "low": 0, "series": series}]
    return {"title": title, "x": {"title": "cut on the signal output", "low": 0, "high": 1}, "panels": panels}


def mass_chart(points: Sequence[MassPointEfficiency]) -> Chart:
    """Share of signal whose largest output is signal, by (mH, mS)."""
    found = [point.efficiency for point in points]
    values = {name: numbers(getattr(each, name) for each in found) for name in ("low", "high")}
    series = [
        {
            "kind": "points",
            "colour": "sig",
            "x": list(range(len(points))),
            "y": numbers(each.value for each in found),
            "names": [f"mH {point.higgs_mass:g}, mS {point.scalar_mass:g} GeV" for point in points],
            **values,
        }
    ]
    every = math.ceil(len(points) / 6)
    ticks = [[i, f"{points[i].higgs_mass:g}/{points[i].scalar_mass:g}"] for i in range(0, len(points), every)]
    x = {"title": "mH/mS [GeV]", "low": -0.5, "high": len(points) - 0.5, "ticks": ticks}
    panels = [{"title": "efficiency, 68 % intervals", "min_height": 0.1, "series": series}]
    return {"title": "Signal jets whose largest output is signal, by mass", "x": x, "panels": panels}


def _points(name: str) -> Chart:
    """Points of a class of jets, with its marker in all figures."""
    style = CLASS_STYLES[name]
    return {"kind": "points", "colour": name, "marker": style.marker, "hollow": style.is_open}


def dependence_charts(dependences: Sequence[Dependence], point: WorkingPoint) -> list[Chart]:
    """Efficiency of signal, and mistag rates of QCD and BIB, above the cut of the working point."""
    charts = []
    for is_signal in (True, False):
        chosen = [each for each in dependences if (each.label == Label.SIGNAL) == is_signal]
        for quantity in dict.fromkeys(each.quantity for each in chosen):
            series: list[Chart] = []
            for each in (each for each in chosen if each.quantity == quantity):
                low, high = each.interval
                style = _points(each.label.output) | {"name": each.label.title}
                ends = {"edges": numbers(each.edges), "low": numbers(low), "high": numbers(high)}
                series.append(style | {"y": numbers(each.value)} | ends)
            edges = [edge for each in series for edge in each["edges"]]
            name = "Efficiency" if is_signal else "Mistag rate"
            charts.append(
                {
                    "title": f"{name} where {100 * point.mistag:g} % of QCD may pass, by {quantity}",
                    "x": {"title": _QUANTITIES.get(quantity, quantity), "low": min(edges), "high": max(edges)},
                    "panels": [{"title": name.lower(), "low": 0, "series": series}],
                }
            )
    return charts


def importance_chart(title: str, some: Sequence[Importance]) -> Chart:
    """Bars with errors, the largest decrease of the AUC first."""
    known = [each for each in by_auc(some) if math.isfinite(each.auc.value)][:MAX_BARS]
    bars = {
        "names": [each.name for each in known],
        "y": numbers(each.auc.value for each in known),
        "error": numbers((each.auc.error for each in known), 2),
    }
    return {"title": f"{title}: decrease of the AUC if permuted", "bars": bars}


def score_chart(title: str, histogram: ScoreHistogram, is_log: bool, frame: Sequence[Any] | None = None) -> Chart:
    """Axes and classes of an output's histogram; `frame` has its contents, or comes from elsewhere."""
    x: Chart = {"title": output_title(histogram.output), "log": is_log, "low": float(histogram.edges[0]), "high": 1}
    edges = histogram.edges
    if np.array_equal(edges, LOGIT_EDGES):
        edges = logit_positions(edges)
        ticks = [[math.log(tick / (1 - tick)), f"{tick:g}"] for tick in LOGIT_TICKS]
        x |= {"log": False, "low": float(edges[0]), "high": float(edges[-1]), "ticks": ticks}
    elif is_log:
        x["low"] = max(x["low"], _LOWEST_ON_LOG_AXIS)
    classes = [
        [name, f"{CLASS_STYLES[name].title} ({int(jets):,} jets)"]
        for name, jets in zip(histogram.classes, histogram.jets, strict=True)
    ]
    chart = {"title": title, "edges": numbers(edges, 5), "x": x, "classes": classes, "log_y": is_log}
    return chart if frame is None else chart | {"frame": frame}


def score_frame(histogram: ScoreHistogram, text: str = "") -> list[Any]:
    """Contents of an output's histogram by class, normalised, with errors; and a line of text."""
    shares = [histogram[name].normalised() for name in histogram.classes]
    return [[[_filled(contents, 3), _filled(errors, 2)] for contents, errors in shares], text]


def _filled(values: NDArray[np.float64], digits: int) -> list[float | None]:
    return [value or 0 for value in numbers(values, digits)]


def epoch_histograms(histograms: Mapping[str, ScoreHistograms]) -> list[tuple[str, ScoreHistogram, bool, Label, str]]:
    """The figures of an epoch: title, histogram, whether its binning is in log-odds, output, name of the jets."""
    found = []
    for name, of_name in histograms.items():
        pt_range = name.removeprefix("val_adversary").removeprefix("_").removesuffix("Pt")
        jets = "main jets" if name == "main" else f"control region{', ' + pt_range + ' pT' if pt_range else ''}"
        for is_log in (False, True) if name == "main" else (True,):
            for output, histogram in zip(Label, of_name.logit if is_log else of_name.linear, strict=True):
                title = f"{output_title(histogram.output)}, {jets}{', log-odds' if name == 'main' and is_log else ''}"
                found.append((title, histogram, is_log, output, pt_range if name != "main" else ""))
    return found


def ks_words(ks: ControlRegionKs | None, output: Label, pt_range: str) -> str:
    """K-S of an output, in a pt range or summed over all, beside that of identical distributions."""
    if ks is None:
        return ""
    chosen = KsComparison(ks[output].total, KsReference(ks[output].expected, ks[output].spread, math.nan))
    for each, comparison in zip(ks.pt_ranges, ks[output].ranges, strict=True):
        chosen = comparison if each.name == pt_range else chosen
    return "" if math.isnan(chosen.distance) else f"K-S {_ks(chosen)}"


def _ks(each: KsComparison) -> str:
    return f"{each.distance:.3f} ({each.reference.mean:.3f} ± {each.reference.spread:.3f} if identical)"


def overtraining_charts(test: ScoreHistograms, found: Overtraining) -> list[Chart]:
    """Outputs of jets that were trained on (lines) and of test jets (points), and their difference below."""
    charts = []
    for output, of_test, of_train in zip(Label, test.linear, found.train.linear, strict=True):
        series, pulls = list[Chart](), list[Chart]()
        for name in of_test.classes:
            (y, dy), (trained, dt) = of_test[name].normalised(), of_train[name].normalised()
            style = CLASS_STYLES[name]
            edges, dash = numbers(of_test.edges, 5), {"sig": "", "qcd": "6 3", "bib": "2 3"}.get(name, "")
            line: Chart = {"kind": "step", "y": numbers(np.where(trained > 0, trained, np.nan)), "dash": dash}
            series.append({**line, "edges": edges, "colour": name, "name": f"{style.title}, training"})
            shown = np.where(y > 0, y, np.nan)
            ends = {"low": numbers(np.maximum(shown - dy, shown * 1e-3)), "high": numbers(shown + dy)}
            points = _points(name) | {"edges": edges}
            series.append({**points, "y": numbers(shown), **ends, "name": f"{style.title}, test"})
            spread = np.hypot(dy, dt)
            pull = np.divide(trained - y, spread, out=np.full_like(spread, np.nan), where=spread > 0)
            pulls.append({**points, "y": numbers(np.clip(pull, -4.9, 4.9), 3)})
        ks = "; ".join(
            f"{CLASS_STYLES[label.output].title} {_ks(found.distance(label, output))}"
            for label in (Label.SIGNAL, Label.QCD, Label.BIB)
        )
        zero = {"kind": "rule", "y": 0, "colour": "grey"}
        panels = [
            {"title": "fraction of jets / bin", "log": True, "decades": True, "series": series},
            {"title": "(train−test)/σ", "low": -5, "high": 5, "series": [zero, *pulls]},
        ]
        title = f"{output_title(of_test.output)}: training and test jets"
        x = {"title": output_title(of_test.output), "low": 0, "high": 1}
        charts.append({"title": title, "text": f"K-S: {ks}", "x": x, "panels": panels})
    return charts
