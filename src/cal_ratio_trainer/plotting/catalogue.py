"""Catalogue of a training's figures: those of every epoch and the final ones, under the names of the manual.

One entry in a list adds a figure. Histories, one value by epoch, have their own list: `histories.HISTORY_FIGURES`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cal_ratio_trainer.evaluation.histograms import MAIN_CLASSES, ScoreHistograms
from cal_ratio_trainer.evaluation.ks import ControlRegionKs
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.efficiencies import (
    draw_confusion,
    draw_false_positives,
    draw_mass_points,
    draw_mistags,
    draw_signal_efficiency,
)
from cal_ratio_trainer.plotting.roc import draw_curve, draw_pure_curves, draw_scan
from cal_ratio_trainer.plotting.scores import (
    control_text,
    draw_data_and_simulation,
    draw_scores,
    draw_train_and_test,
)
from cal_ratio_trainer.plotting.style import CLASS_STYLES, output_title

Content = tuple[Any, ...]
"""Content of a figure: dataclasses of numbers and small arrays, as processes can send them."""

_MAIN, _CONTROL = "main", "val_adversary"


@dataclass(frozen=True)
class ScoredEpoch:
    """An epoch as its figures see it.

    Attributes:
        number: from 0.
        histograms: of main jets under 'main'; of control jets under 'val_adversary' and, for the pt ranges,
            'val_adversary_lowPt', '_midPt', '_highPt'.
        ks: data and MC of the same control jets; None where not known.
        main_jets: description of the main jets, e.g. 'test part'.
        control_jets: description of the control jets.
    """

    number: int
    histograms: Mapping[str, ScoreHistograms]
    ks: ControlRegionKs | None
    main_jets: str
    control_jets: str


@dataclass(frozen=True)
class EpochFigure:
    """Figure of every epoch.

    Attributes:
        name: name of the file after the number of the epoch: <nnn>_<name>.
        needs: the histograms, a key of `ScoredEpoch.histograms`; without them the figure is left out.
        content: selects what is drawn.
        draw: a function of a module's top level, called with the axes (main and ratio axes where there are two) and
            the content.
        with_ratio: see `Drawing`.
        caption: caption before the number of the epoch.
    """

    name: str
    needs: str
    content: Callable[[ScoredEpoch], Content]
    draw: Callable[..., None]
    with_ratio: bool = False
    caption: str = ""


@dataclass(frozen=True)
class FinalFigures:
    """Figures of one kind on the test part.

    Attributes:
        name: of the files, e.g. 'mistag_<quantity>'.
        cases: for each figure the text in place of <...>, and its content; none where the data give no basis for it.
        draw: a function of a module's top level, called with the axes (main and ratio axes where there are two) and
            the content.
        with_ratio: see `Drawing`.
        caption: description with the same <...> as the name.
    """

    name: str
    cases: Callable[[TestFigures], Iterable[tuple[str, Content]]]
    draw: Callable[..., None]
    with_ratio: bool = False
    caption: str = ""


def epoch_drawings(
    epoch: int,
    histograms: Mapping[str, ScoreHistograms],
    ks: ControlRegionKs | None,
    main_jets: str = "validation part",
    control_jets: str = "validation part",
) -> list[Drawing]:
    """All figures of an epoch; arguments as `ScoredEpoch`."""
    source = ScoredEpoch(epoch, histograms, ks, main_jets, control_jets)
    return [
        Drawing(
            f"{epoch:03d}_{each.name}",
            each.draw,
            each.content(source),
            each.with_ratio,
            f"{each.caption or each.name}, epoch {epoch}",
        )
        for each in EPOCH_FIGURES
        if each.needs in histograms
    ]


def epoch_plot_names(epoch: int, with_control: bool = True) -> list[str]:
    """Names of the figures of an epoch; without control region those of the main jets alone."""
    return [f"{epoch:03d}_{each.name}" for each in EPOCH_FIGURES if with_control or each.needs == _MAIN]


def epoch_captions(epoch: int) -> list[tuple[str, str]]:
    """Names and captions of the figures of an epoch."""
    return [(f"{epoch:03d}_{each.name}", f"{each.caption or each.name}, epoch {epoch}") for each in EPOCH_FIGURES]


def final_drawings(figures: TestFigures) -> list[Drawing]:
    """All final figures; those without a basis in the data are left out."""
    return [
        Drawing(
            re.sub("<.*>", case, each.name),
            each.draw,
            content,
            each.with_ratio,
            re.sub("<.*>", _case_words(case), each.caption),
        )
        for each in FINAL_FIGURES
        for case, content in each.cases(figures)
    ]


def _case_words(case: str) -> str:
    """'Signal' for 'sig', 'mH = 125 GeV' for 'mH125.0', 'A, Signal' for 'A_sig'."""
    if case.startswith("mH"):
        return f"mH = {float(case.removeprefix('mH')):g} GeV"
    region, _, output = case.rpartition("_")
    return ", ".join(filter(None, (region, CLASS_STYLES[output].title if output in CLASS_STYLES else case)))


def _main_linear(output: Label, epoch: ScoredEpoch) -> Content:
    return epoch.histograms[_MAIN].linear[output], False, f"Epoch {epoch.number}, {epoch.main_jets}"


def _main_logit(output: Label, epoch: ScoredEpoch) -> Content:
    return epoch.histograms[_MAIN].logit[output], True, f"Epoch {epoch.number}, {epoch.main_jets}"


def _control_logit(name: str, output: Label, epoch: ScoredEpoch) -> Content:
    pt_range = name.removeprefix(_CONTROL).removeprefix("_")
    return epoch.histograms[name].logit[output], control_text(
        f"Epoch {epoch.number}, {epoch.control_jets}", epoch.ks, output, pt_range
    )


EPOCH_FIGURES: list[EpochFigure] = [
    *(
        EpochFigure(
            f"main_{output.output}_predictions{suffix}",
            _MAIN,
            partial(content, output),
            draw_scores,
            caption=f"{output_title(output.output)}, main jets, {binning}",
        )
        for output in Label
        for suffix, content, binning in (("_linear", _main_linear, "linear"), ("", _main_logit, "log-odds"))
    ),
    *(
        EpochFigure(
            f"{name}_{output.output}_predictions",
            name,
            partial(_control_logit, name, output),
            draw_data_and_simulation,
            with_ratio=True,
            caption=f"{output_title(output.output)}, control region{pt_range}",
        )
        for name, pt_range in (
            (_CONTROL, ""),
            *((f"{_CONTROL}_{pt_range}Pt", f", {pt_range} pT") for pt_range in ("low", "mid", "high")),
        )
        for output in Label
    ),
]
"""The figures of every epoch, in the order of drawing."""


def _control_scores(figures: TestFigures) -> Iterator[tuple[str, Content]]:
    for output, each in zip(
        Label, figures.control_histograms.logit if figures.control_histograms else (), strict=False
    ):
        text = control_text("Test part", figures.ks, output)
        yield each.output, (each, text)


def _region_scores(figures: TestFigures) -> Iterator[tuple[str, Content]]:
    for region in figures.regions:
        for output, each in zip(Label, region.histograms.logit, strict=True):
            text = control_text(
                f"Test part, {region.name}{' (judged only)' * region.is_judged_only}", region.ks, output
            )
            yield f"{region.name}_{each.output}", (each, text)


def _train_and_test(figures: TestFigures) -> Iterator[tuple[str, Content]]:
    found = figures.overtraining
    if found is not None:
        for output, test, train in zip(Label, figures.histograms.linear, found.train.linear, strict=True):
            distances = tuple(found.distance(label, output) for label in MAIN_CLASSES)
            yield test.output, (test, train, distances)


def _dependences(is_signal: bool, figures: TestFigures) -> Iterator[tuple[str, Content]]:
    chosen = [each for each in figures.dependences if (each.label == Label.SIGNAL) == is_signal]
    for quantity in dict.fromkeys(each.quantity for each in chosen):
        yield quantity, (tuple(each for each in chosen if each.quantity == quantity), figures.working_point)


FINAL_FIGURES: list[FinalFigures] = [
    FinalFigures(
        "<output>_predictions",
        lambda figures: ((each.output, (each, True, "Test part")) for each in figures.histograms.logit),
        draw_scores,
        caption="<output> output, log-odds",
    ),
    FinalFigures(
        "<output>_predictions_linear",
        lambda figures: ((each.output, (each, False, "Test part")) for each in figures.histograms.linear),
        draw_scores,
        caption="<output> output, linear",
    ),
    FinalFigures(
        "<output>_predictions_half_linear",
        lambda figures: ((each.output, (each, True, "Test part")) for each in figures.histograms.linear),
        draw_scores,
        caption="<output> output, linear, logarithmic y axis",
    ),
    FinalFigures(
        "adv_<output>_predictions",
        _control_scores,
        draw_data_and_simulation,
        with_ratio=True,
        caption="<output> output, control region",
    ),
    FinalFigures(
        "cr_<region>_<output>_predictions",
        _region_scores,
        draw_data_and_simulation,
        with_ratio=True,
        caption="Control region <region> output",
    ),
    # The earlier program called the mixture BIB. It had a name for the figure of QCD too, but never wrote that.
    FinalFigures(
        "roc_curve_atlas_rej_bib",
        lambda figures: [("", (figures.rocs[0], None))],
        draw_curve,
        caption="ROC curve against QCD + 0.1 BIB",
    ),
    FinalFigures(
        "roc_curve_atlas_rej_bib_<mH>",
        lambda figures: ((curve.name, (curve, figures.rocs[0])) for curve in figures.rocs[3:]),
        draw_curve,
        caption="ROC curve against QCD + 0.1 BIB, <mH>",
    ),
    FinalFigures(
        "roc_curve_atlas_rej_qcd",
        lambda figures: [("", (figures.rocs[1], None))],
        draw_curve,
        caption="ROC curve against QCD",
    ),
    FinalFigures(
        "roc_curve_atlas_rej_qcd_<mH>",
        lambda figures: ((curve.name, (curve, figures.rocs[1])) for curve in figures.qcd_rocs),
        draw_curve,
        caption="ROC curve against QCD, <mH>",
    ),
    FinalFigures(
        "roc_curve_qcd_and_bib",
        lambda figures: [("", figures.rocs[1:3])],
        draw_pure_curves,
        caption="ROC curves against QCD alone and BIB alone",
    ),
    FinalFigures(
        "SoverB_scan",
        lambda figures: [("", (figures.scans[0],))],
        draw_scan,
        with_ratio=True,
        caption="S/√B against the cut on the signal output",
    ),
    FinalFigures(
        "SoverB_scan_<scan>",
        lambda figures: ((scan.name, (scan,)) for scan in figures.scans[1:]),
        draw_scan,
        with_ratio=True,
        caption="S/√B against the cut on the signal output, <scan>",
    ),
    FinalFigures(
        "signal_llp_efficiencies",
        lambda figures: [("", (figures.efficiencies,))] if figures.efficiencies else [],
        draw_mass_points,
        caption="Signal jets whose largest output is signal, by mass",
    ),
    FinalFigures(
        "bkg_falsePositives",
        lambda figures: [("", (figures.false_positives,))],
        draw_false_positives,
        caption="Background jets whose largest output is signal",
    ),
    FinalFigures(
        "signal_efficiency_<quantity>",
        partial(_dependences, True),
        draw_signal_efficiency,
        caption="Efficiency of signal by <quantity>",
    ),
    FinalFigures("mistag_<quantity>", partial(_dependences, False), draw_mistags, caption="Mistag rates by <quantity>"),
    FinalFigures(
        "confusion_matrix",
        lambda figures: [("", (figures.confusion,))],
        draw_confusion,
        caption="Jets by label and largest output",
    ),
    FinalFigures(
        "<output>_predictions_train_and_test",
        _train_and_test,
        draw_train_and_test,
        with_ratio=True,
        caption="<output> output of training and test jets",
    ),
]
"""The final figures, in the order of drawing."""
