"""Scores of jets that were trained on beside those of the test part, and their difference."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import ScoreHistogram
from cal_ratio_trainer.evaluation.ks import KsComparison
from cal_ratio_trainer.plotting.style import CLASS_STYLES, GREY, LEGEND_BOX, output_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST_PULL = 5.0


def draw_train_and_test(
    axes: "Axes",
    below: "Axes",
    test: ScoreHistogram,
    train: ScoreHistogram,
    distances: tuple[KsComparison, ...],
) -> None:
    """One output: both parts normalised to 1 in each class; below, their difference over its error.

    Args:
        axes: main panel.
        below: lower panel.
        test: contents of the test part by class.
        train: the same of jets that were trained on.
        distances: K-S of the two, in the order of the classes.
    """
    handles = []
    for name, distance in zip(test.classes, distances, strict=True):
        style = CLASS_STYLES[name]
        points_style = {**style.points, **({"marker": "^", "markersize": 5} if name == "sig" else {"markersize": 4})}
        (contents, errors), (trained, train_errors) = test[name].normalised(), train[name].normalised()
        # Gaps in place of lines down to nothing.
        line = axes.stairs(
            np.where(trained > 0, trained, np.nan),
            train.edges,
            baseline=None,
            linewidth=2,
            color=style.colour,
            linestyle=style.line,
        )
        points = _draw_points(axes, test.edges, (contents, errors), points_style)
        handles.append(((line, points), f"{style.title}: {_ks(distance)}"))
        spread = np.hypot(errors, train_errors)
        some = spread > 0
        pulls = (trained - contents)[some] / spread[some]
        centres = (test.edges[1:] + test.edges[:-1])[some] / 2
        below.plot(centres, np.clip(pulls, -_LARGEST_PULL, _LARGEST_PULL), linestyle="none", **points_style)
    below.axhspan(-1, 1, color="lightgrey", linewidth=0, zorder=0)
    below.axhline(0, color=GREY, linewidth=1, zorder=1)
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(_bottom(test, train), 500)
    axes.set_yticks([10.0**power for power in range(-5, 1) if 10.0**power >= _bottom(test, train)])
    below.set_ylim(-1.2 * _LARGEST_PULL, 1.2 * _LARGEST_PULL)
    below.set_yticks([-4, -2, 0, 2, 4])
    below.set_xlabel(output_title(test.output))
    below.set_ylabel("(train−test)/σ")
    axes.set_ylabel("Fraction of jets / bin")
    jets = f"lines: {int(train.jets.sum()):,} jets trained on; points: {int(test.jets.sum()):,} test jets"
    axes.legend(
        *zip(*handles, strict=True),
        loc="upper center",
        fontsize=13,
        title=f"{jets}\nK-S of the two (expected if identical):",
        title_fontsize=13,
        alignment="left",
        **LEGEND_BOX,
    )


def _draw_points(
    axes: "Axes",
    edges: NDArray[np.float64],
    contents: tuple[NDArray[np.float64], NDArray[np.float64]],
    style: dict[str, Any],
) -> Any:
    values, errors = contents
    filled = values > 0
    centres = (edges[1:] + edges[:-1]) / 2
    return axes.errorbar(centres[filled], values[filled], yerr=errors[filled], linestyle="none", elinewidth=1, **style)


def _bottom(*histograms: ScoreHistogram) -> float:
    contents = np.concatenate([each[name].normalised()[0] for each in histograms for name in each.classes])
    filled = contents[contents > 0]
    return 10.0 ** math.floor(math.log10(filled.min() / 2)) if len(filled) else 0.1


def _ks(comparison: KsComparison) -> str:
    if math.isnan(comparison.distance):
        return "unknown"
    reference = comparison.reference
    return f"{comparison.distance:.3f} ({reference.mean:.3f} ± {reference.spread:.3f})"
