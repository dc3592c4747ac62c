"""Figures of AUC against K-S sum: content and look."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.pareto import (
    MAX_RUNS,
    MeasuredEpoch,
    ParetoPlot,
    RunEpochs,
    ShortlistPlot,
    draw_pareto,
    draw_shortlist,
)
from tests.plotting.recording import legend_texts, recorded
from tests.plotting.test_images import at_half_size

TITLE = "K-S sum of MC and data"


def epochs_of(name: str, best: float, ks: float, recommended: int | None) -> RunEpochs:
    age = np.arange(12)
    return RunEpochs(name, best - 0.3 * np.exp(-age / 2), ks + np.exp(-age / 3) + 0.05 * np.sin(age), recommended)


def three_runs() -> ParetoPlot:
    runs = (epochs_of("a/00000", 0.993, 0.6, 11), epochs_of("a/00001", 0.97, 0.5, 9), epochs_of("b/00000", 0.6, 0.1, 5))
    front = ((0, 11), (0, 10), (1, 11), (2, 11))
    return ParetoPlot(runs, front, (0, 11), ((0.45, 0.08),), TITLE)


def measured(run: int, epoch: int, auc: float, ks: float, is_recommended: bool = False) -> MeasuredEpoch:
    return MeasuredEpoch(
        run, epoch, Interval(auc, auc - 0.002, auc + 0.001), Interval(ks, ks - 0.08, ks + 0.1), is_recommended
    )


def short_list() -> ShortlistPlot:
    epochs = (measured(0, 11, 0.991, 0.62, True), measured(0, 9, 0.9905, 0.63), measured(1, 11, 0.97, 0.5))
    return ShortlistPlot(("a/00000", "a/00001", "b/00000"), epochs, ((0.45, 0.08),), outside=2)


def test_every_run_the_front_the_band_and_the_recommended_epoch_are_named() -> None:
    axes = recorded([Drawing("auc_ks", draw_pareto, (three_runs(),))])["auc_ks"]
    named = ["a/00000", "a/00001", "b/00000", "Pareto front", "Identical distributions ± 1σ", "Recommended: a/00000/11"]
    assert legend_texts(axes) == named
    assert axes.get_ylabel() == TITLE


def test_the_axis_reads_the_auc_which_is_drawn_by_the_logarithm_of_what_is_missed() -> None:
    axes = recorded([Drawing("auc_ks", draw_pareto, (three_runs(),))])["auc_ks"]
    ticks = dict(zip(axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()], strict=True))
    assert all(float(text) == pytest.approx(1 - place) for place, text in ticks.items())
    assert {"0.5", "0.9", "0.99"} <= set(ticks.values())
    left, right = axes.get_xlim()
    assert left > right, "the better AUC stands at the right"


def test_all_epochs_lie_within_the_axes() -> None:
    plot = three_runs()
    axes = recorded([Drawing("auc_ks", draw_pareto, (plot,))])["auc_ks"]
    points = np.concatenate([collection.get_offsets() for collection in axes.collections])
    assert len(points) == sum(len(run.auc) for run in plot.runs)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert ((points[:, 0] <= left) & (points[:, 0] >= right)).all()
    assert ((points[:, 1] >= bottom) & (points[:, 1] <= top)).all()


def test_more_runs_than_markers_share_one_and_are_counted() -> None:
    runs = tuple(epochs_of(f"run{i}", 0.9, 0.5, None) for i in range(MAX_RUNS + 3))
    axes = recorded([Drawing("auc_ks", draw_pareto, (ParetoPlot(runs, (), None, (), TITLE),))])["auc_ks"]
    assert legend_texts(axes) == [*(f"run{i}" for i in range(MAX_RUNS)), "3 other runs"]


def test_epochs_of_which_nothing_is_known_and_a_perfect_auc_can_be_drawn() -> None:
    run = RunEpochs("odd", np.array([math.nan, 1.0, 0.3]), np.array([0.5, math.nan, 0.0]))
    nothing = RunEpochs("none", np.array([math.nan]), np.array([math.nan]))
    for runs in ((run,), (nothing,)):
        axes = recorded([Drawing("auc_ks", draw_pareto, (ParetoPlot(runs, (), None, ((math.nan, 0.1),), TITLE),))])[
            "auc_ks"
        ]
        assert all(math.isfinite(limit) for limit in (*axes.get_xlim(), *axes.get_ylim()))


def test_the_shortlist_has_errors_on_both_axes_and_says_what_is_not_shown() -> None:
    axes = recorded([Drawing("test", draw_shortlist, (short_list(),))])["test"]
    assert sorted(text.get_text() for text in axes.texts) == ["11", "11", "9"]
    assert "2 with far lower AUC not shown" in legend_texts(axes)
    (container, *_) = axes.containers
    assert isinstance(container, ErrorbarContainer)
    segments = container.lines[2]
    horizontal = segments[0].get_segments()[0]
    # 1 - AUC of the interval's ends: the better one has less.
    assert sorted(horizontal[:, 0]) == pytest.approx([1 - 0.992, 1 - 0.989])
    assert segments[1].get_segments()[0][:, 1] == pytest.approx([0.54, 0.72])


def test_an_epoch_without_interval_is_a_point() -> None:
    bare = MeasuredEpoch(0, 1, Interval(0.9, math.nan, math.nan), Interval(0.5, math.nan, math.nan), False)
    axes = recorded([Drawing("test", draw_shortlist, (ShortlistPlot(("a",), (bare,), ()),))])["test"]
    assert legend_texts(axes) == ["a"]
    assert math.isfinite(axes.get_ylim()[1])


@pytest.mark.parametrize(
    "drawing",
    [Drawing("auc_ks", draw_pareto, (three_runs(),)), Drawing("auc_ks_test", draw_shortlist, (short_list(),))],
    ids=lambda d: d.name,
)
@pytest.mark.mpl_image_compare(tolerance=2.8, style="default", savefig_kwargs={"dpi": 100})
def test_looks_as_it_did(drawing: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    # Letters differ between versions of the font library.
    monkeypatch.setattr(Text, "draw", lambda self, renderer: None)
    (path,) = drawing.write(tmp_path, DEMO)
    return at_half_size(path)
