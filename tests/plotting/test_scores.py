import math
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.evaluation import ScoredControlJets, ScoredJets
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, control_histograms, main_histograms
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, KsComparison, KsReference, OutputKs, ks_of_control_jets
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, Drawing, canvas, write_all
from cal_ratio_trainer.plotting.scores import (
    LINEAR_AXES,
    control_score_drawings,
    draw_scores,
    final_score_drawings,
    ks_text,
    logarithmic_axes,
)

from .recording import legend_texts, recorded


@pytest.fixture(scope="module")
def jets() -> ScoredJets:
    random = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [300, 200, 100])
    outputs = random.dirichlet((0.5, 0.5, 0.5), 600)
    outputs[np.arange(600), labels] += 0.5
    return ScoredJets(outputs / outputs.sum(axis=1, keepdims=True), labels, random.lognormal(0, 1, 600))


@pytest.fixture(scope="module")
def control() -> tuple[ScoreHistograms, ControlRegionKs]:
    random = np.random.default_rng(5)
    jets = ScoredControlJets(
        random.dirichlet((3, 1, 1), 200), random.random(200) < 0.5, np.ones(200), random.random(200)
    )
    return control_histograms(jets), ks_of_control_jets(jets)


def test_the_final_plots_have_the_manuals_names(jets: ScoredJets, tmp_path: Path) -> None:
    written = write_all(final_score_drawings(main_histograms(jets)), tmp_path, DEMO)
    expected = {
        f"{output}_predictions{suffix}.png"
        for output in ("qcd", "sig", "bib")
        for suffix in ("", "_linear", "_half_linear")
    }
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} == expected
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_control_plots_have_the_manuals_names(control: tuple[ScoreHistograms, ControlRegionKs], tmp_path: Path) -> None:
    written = write_all(control_score_drawings(*control), tmp_path, DEMO)
    assert [path.name for path in written] == [f"adv_{output}_predictions.png" for output in ("qcd", "sig", "bib")]
    assert all(path.exists() for path in written)


def test_saved_histograms_redraw_the_same_figures(jets: ScoredJets, tmp_path: Path) -> None:
    histograms = main_histograms(jets)
    first = write_all(final_score_drawings(histograms), tmp_path / "first", DEMO)
    again = ScoreHistograms.from_dict(histograms.to_dict())
    second = write_all(final_score_drawings(again), tmp_path / "second", DEMO)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_figure_does_not_depend_on_those_drawn_before_it(jets: ScoredJets, tmp_path: Path) -> None:
    histogram = main_histograms(jets).log[Label.BIB]
    figures = [Drawing(name, draw_scores, (histogram, logarithmic_axes("bib"))) for name in ("new", "used")]
    between = Drawing("between", draw_scores, (histogram, LINEAR_AXES, "text"))
    canvas._canvas.cache_clear()
    (new,) = figures[0].write(tmp_path, DEMO)
    between.write(tmp_path, ATLAS_INTERNAL)
    (used,) = figures[1].write(tmp_path, DEMO)
    assert new.read_bytes() == used.read_bytes()


def test_axes_are_those_of_the_earlier_program(jets: ScoredJets) -> None:
    drawn = recorded(final_score_drawings(main_histograms(jets)))
    for output in ("qcd", "sig", "bib"):
        log, linear, half = (drawn[f"{output}_predictions{suffix}"] for suffix in ("", "_linear", "_half_linear"))
        assert (log.get_xscale(), log.get_yscale()) == ("log" if output == "bib" else "linear", "log")
        assert log.get_xlim() == (2e-5, 1)
        assert log.get_ylim()[1] == 2
        assert (linear.get_xscale(), linear.get_yscale(), linear.get_ylim()) == ("linear", "linear", (0, 1.2))
        assert (half.get_xscale(), half.get_yscale()) == ("linear", "log")
        assert half.get_ylim()[1] == (200 if output == "bib" else 50)


def test_every_class_is_drawn_normalised_to_one(jets: ScoredJets) -> None:
    drawn = recorded(final_score_drawings(main_histograms(jets)))
    axes = drawn["sig_predictions_linear"]
    area = axes.patches[0].get_data().values  # type: ignore[attr-defined]
    assert area.sum() == pytest.approx(1)
    points = [container.lines[0] for container in axes.containers]  # type: ignore[attr-defined]
    assert [np.asarray(line.get_ydata()).sum() for line in points] == pytest.approx([1, 1])
    assert legend_texts(axes) == ["Signal (200 jets)", "QCD (300 jets)", "BIB (100 jets)"]


def test_empty_bins_have_no_point_and_no_content_is_below_the_frame(jets: ScoredJets) -> None:
    histograms = main_histograms(jets)
    drawn = recorded(final_score_drawings(histograms))
    contents, _ = histograms.log[Label.QCD].normalised("qcd")
    axes = drawn["qcd_predictions"]
    line = axes.containers[0].lines[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(line.get_ydata(), contents[contents > 0])
    assert axes.get_ylim()[0] < contents[contents > 0].min()


def test_a_class_without_jets_is_named_and_not_drawn() -> None:
    only_signal = ScoredJets(np.array([[0.2, 0.6, 0.2]]), np.array([1]), np.ones(1))
    drawn = recorded(final_score_drawings(main_histograms(only_signal)))
    assert legend_texts(drawn["bib_predictions"])[1:] == ["QCD (0 jets)", "BIB (0 jets)"]


def test_a_sample_without_jets_is_drawn_empty(tmp_path: Path) -> None:
    nothing = ScoredJets(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0))
    assert len(write_all(final_score_drawings(main_histograms(nothing)), tmp_path, DEMO)) == 9


def test_control_plots_name_data_and_mc_and_show_the_distances(
    control: tuple[ScoreHistograms, ControlRegionKs],
) -> None:
    histograms, ks = control
    drawn = recorded(control_score_drawings(histograms, ks))
    axes = drawn["adv_bib_predictions"]
    assert {text.split(" (")[0] for text in legend_texts(axes)} == {"Data", "Multijet MC"}
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == ks_text(ks[Label.BIB], ["low", "mid", "high"])


def test_the_distances_stand_beside_what_identical_distributions_give() -> None:
    reference = KsReference(mean=0.031, spread=0.009, critical=0.05)
    missing = KsReference(math.nan, math.nan, math.nan)
    known = KsComparison(0.055, reference)
    lines = ks_text(OutputKs(Label.BIB, (known, known)), ["low", "mid"]).splitlines()
    assert lines[1:] == [
        "low $p_T$: 0.055 (0.031 ± 0.009)",
        "mid $p_T$: 0.055 (0.031 ± 0.009)",
        "sum: 0.110 (0.062 ± 0.013)",
    ]
    lines = ks_text(OutputKs(Label.BIB, (known, KsComparison(math.nan, missing))), ["low", "mid"]).splitlines()
    assert lines[2:] == ["mid $p_T$: unknown", "sum: unknown"]


def test_without_distances_there_is_no_text(control: tuple[ScoreHistograms, ControlRegionKs]) -> None:
    drawn = recorded(control_score_drawings(control[0], None))
    legend = drawn["adv_sig_predictions"].get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == ""
