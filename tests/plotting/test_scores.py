import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, control_histograms, main_histograms
from cal_ratio_trainer.evaluation.ks import (
    ControlRegionKs,
    KsComparison,
    KsReference,
    OutputKs,
    PtRange,
    ks_of_control_jets,
    overtraining,
)
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, Drawing, drawing, write_all
from cal_ratio_trainer.plotting.catalogue import epoch_drawings
from cal_ratio_trainer.plotting.scores import (
    draw_scores,
    draw_train_and_test,
    ks_text,
    pt_range_title,
)
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

from .recording import final, legend_texts, legend_title, recorded


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
    jets = ScoredJets.control(
        random.dirichlet((3, 1, 1), 200), random.random(200) < 0.5, np.ones(200), random.random(200)
    )
    return control_histograms(jets), ks_of_control_jets(jets)


def of_control(histograms: ScoreHistograms, ks: ControlRegionKs | None) -> list[Drawing]:
    """The final figures of the control region."""
    nothing = evaluate_test_sample(ScoredJets(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0)))
    return final(replace(nothing, control_histograms=histograms, ks=ks), "adv_")


def test_the_final_plots_have_the_manuals_names(jets: ScoredJets, tmp_path: Path) -> None:
    written = write_all(final(evaluate_test_sample(jets), "_predictions"), tmp_path, DEMO)
    expected = {
        f"{output}_predictions{suffix}.png"
        for output in ("qcd", "sig", "bib")
        for suffix in ("", "_linear", "_half_linear")
    }
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} == expected
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_control_plots_have_the_manuals_names(control: tuple[ScoreHistograms, ControlRegionKs], tmp_path: Path) -> None:
    written = write_all(of_control(*control), tmp_path, DEMO)
    assert [path.name for path in written] == [f"adv_{output}_predictions.png" for output in ("qcd", "sig", "bib")]
    assert all(path.exists() for path in written)


def test_saved_histograms_redraw_the_same_figures(jets: ScoredJets, tmp_path: Path) -> None:
    figures = evaluate_test_sample(jets)
    first = write_all(final(figures, "_predictions"), tmp_path / "first", DEMO)
    again = replace(figures, histograms=ScoreHistograms.from_dict(figures.histograms.to_dict()))
    second = write_all(final(again, "_predictions"), tmp_path / "second", DEMO)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_figure_does_not_depend_on_those_drawn_before_it(jets: ScoredJets, tmp_path: Path) -> None:
    histograms = main_histograms(jets)
    figures = [Drawing(name, draw_scores, (histograms.logit[Label.BIB], True)) for name in ("new", "used")]
    between = Drawing("between", draw_scores, (histograms.linear[Label.BIB], False, "two\nlines"))
    drawing._canvas.cache_clear()
    (new,) = figures[0].write(tmp_path, DEMO)
    between.write(tmp_path, ATLAS_INTERNAL)
    (used,) = figures[1].write(tmp_path, DEMO)
    assert new.read_bytes() == used.read_bytes()


def test_all_bins_are_equally_wide_on_their_axis(jets: ScoredJets) -> None:
    drawn = recorded(final(evaluate_test_sample(jets), "_predictions"))
    for output in ("qcd", "sig", "bib"):
        logit, linear, half = (drawn[f"{output}_predictions{suffix}"] for suffix in ("", "_linear", "_half_linear"))
        for axes in (logit, linear, half):
            edges = axes.patches[0].get_data().edges  # type: ignore[attr-defined]
            np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
            assert axes.get_xlim() == pytest.approx((edges[0], edges[-1]))
            assert axes.get_xscale() == "linear"
        assert [axes.get_yscale() for axes in (logit, linear, half)] == ["log", "linear", "log"]
        ticks = dict(zip(logit.get_xticks(), (text.get_text() for text in logit.get_xticklabels()), strict=True))
        assert ticks[0.0] == "0.5"
        assert ticks[min(ticks, key=lambda tick: abs(tick - math.log(99)))] == "0.99"


def test_histograms_of_earlier_versions_have_a_logarithmic_axis(jets: ScoredJets) -> None:
    edges = np.concatenate([np.linspace(0.0, 0.0007, 5), np.geomspace(0.001, 1.0, 50)])
    old = replace(
        main_histograms(jets).logit[0], edges=edges, sums=np.ones((3, 54)), squares=np.ones((3, 54)), classes=CLASSES
    )
    axes = recorded([Drawing("old", draw_scores, (old, True))])["old"]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((edges[1] / 2, 1))


def test_axes_fit_contents_and_errors(jets: ScoredJets) -> None:
    histograms = main_histograms(jets)
    drawn = recorded(final(evaluate_test_sample(jets), "_predictions"))
    for suffix, of_binning in (("_linear", histograms.linear), ("", histograms.logit)):
        shares = [of_binning[Label.SIGNAL][name].normalised() for name in CLASSES]
        highest = max(float((contents + errors).max()) for contents, errors in shares)
        assert highest < drawn[f"sig_predictions{suffix}"].get_ylim()[1] < 3 * highest


def test_every_class_is_drawn_normalised_to_one_data_alone_as_points(jets: ScoredJets) -> None:
    axes = recorded(final(evaluate_test_sample(jets), "_predictions"))["sig_predictions_linear"]
    labelled = [patch for patch in axes.patches if "jets)" in str(patch.get_label())]
    assert [str(patch.get_label()).split(" (")[0] for patch in labelled] == ["Signal", "QCD"]
    assert [patch.get_data().values.sum() for patch in labelled] == pytest.approx([1, 1])  # type: ignore[attr-defined]
    (points,) = [container.lines[0] for container in axes.containers]  # type: ignore[attr-defined]
    assert np.asarray(points.get_ydata()).sum() == pytest.approx(1)
    assert points.get_color() == "black"
    assert sorted(legend_texts(axes)) == ["BIB (100 jets)", "QCD (300 jets)", "Signal (200 jets)"]


def test_empty_bins_have_no_point_and_no_content_is_below_the_frame(jets: ScoredJets) -> None:
    contents, _ = main_histograms(jets).logit[Label.QCD]["bib"].normalised()
    axes = recorded(final(evaluate_test_sample(jets), "_predictions"))["qcd_predictions"]
    line = axes.containers[0].lines[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(line.get_ydata(), contents[contents > 0])
    assert axes.get_ylim()[0] < contents[contents > 0].min()


def test_the_ratio_is_data_over_simulation_with_the_band_of_its_errors(
    control: tuple[ScoreHistograms, ControlRegionKs],
) -> None:
    (drawing,) = (each for each in of_control(*control) if each.name == "adv_qcd_predictions")
    main, below = Figure().subplots(2)
    drawing.draw(main, below, *drawing.content)
    histogram = control[0].logit[Label.QCD]
    (data, _), (mc, spread) = (histogram[name].normalised() for name in ("data", "mc"))
    inside = (data > 0) & (mc > 0) & (data <= 2 * mc)
    points = below.containers[0].lines[0]
    np.testing.assert_allclose(points.get_ydata(), (data / np.where(mc > 0, mc, 1))[inside])
    low, high = below.patches[0].get_data().baseline, below.patches[0].get_data().values
    np.testing.assert_allclose((high - 1)[mc > 0], (spread / np.where(mc > 0, mc, 1))[mc > 0])
    assert (low >= 0).all()
    beyond = (mc > 0) & (data > 2 * mc)
    assert len(below.lines[-1].get_xdata()) == beyond.sum()


def test_a_class_without_jets_is_named_and_not_drawn() -> None:
    only_signal = ScoredJets(np.array([[0.2, 0.6, 0.2]]), np.array([1]), np.ones(1))
    drawn = recorded(final(evaluate_test_sample(only_signal), "_predictions"))
    assert {"QCD (0 jets)", "BIB (0 jets)"} < set(legend_texts(drawn["bib_predictions"]))


def test_a_sample_without_jets_is_drawn_empty(tmp_path: Path) -> None:
    nothing = ScoredJets(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0))
    assert len(write_all(final(evaluate_test_sample(nothing), "_predictions"), tmp_path, DEMO)) == 9


def test_control_plots_name_data_and_mc_and_show_the_distances(
    control: tuple[ScoreHistograms, ControlRegionKs],
) -> None:
    histograms, ks = control
    drawn = recorded(of_control(histograms, ks))
    axes = drawn["adv_bib_predictions"]
    assert {text.split(" (")[0] for text in legend_texts(axes)} == {"Data", "Multijet MC"}
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == f"Test part\n{ks_text(ks[Label.BIB])}"


def test_the_distances_stand_beside_what_identical_distributions_give() -> None:
    reference = KsReference(mean=0.031, spread=0.009, critical=0.05)
    missing = KsReference(math.nan, math.nan, math.nan)
    known = KsComparison(0.055, reference)
    assert ks_text(OutputKs(Label.BIB, (known, known))) == (
        "K-S summed over $p_T$ ranges 0.11 (identical: 0.06 ± 0.01); low to high: 0.06, 0.06"
    )
    text = ks_text(OutputKs(Label.BIB, (known, KsComparison(math.nan, missing))))
    assert text == "K-S summed over $p_T$ ranges unknown; low to high: 0.06, -"


def test_without_distances_there_is_no_text(control: tuple[ScoreHistograms, ControlRegionKs]) -> None:
    drawn = recorded(of_control(control[0], None))
    legend = drawn["adv_sig_predictions"].get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "Test part"


CLASSES = ("sig", "qcd", "bib")

EPOCH_PLOTS = [
    *(f"007_main_{output}_predictions{kind}" for output in ("qcd", "sig", "bib") for kind in ("_linear", "")),
    *(
        f"007_val_adversary_{pt_range}{output}_predictions"
        for pt_range in ("", "lowPt_", "midPt_", "highPt_")
        for output in ("qcd", "sig", "bib")
    ),
]


@pytest.fixture(scope="module")
def epoch(jets: ScoredJets) -> tuple[dict[str, ScoreHistograms], ControlRegionKs]:
    random = np.random.default_rng(6)
    scaled_pt = random.random(300)
    control = ScoredJets.control(random.dirichlet((3, 1, 1), 300), random.random(300) < 0.5, np.ones(300), scaled_pt)
    ranges = (
        PtRange("low", 0, 0.25, (0, 125)),
        PtRange("mid", 0.25, 0.5, (125, 250)),
        PtRange("high", 0.5, math.inf, (250, math.inf)),
    )
    histograms = {"main": main_histograms(jets), "val_adversary": control_histograms(control)}
    for pt_range in ranges:
        inside = (scaled_pt >= pt_range.low) & (scaled_pt < pt_range.high)
        histograms[f"val_adversary_{pt_range.name}Pt"] = control_histograms(control, inside)
    return histograms, ks_of_control_jets(control, ranges)


def test_an_epoch_has_the_eighteen_plots_of_the_manual(
    epoch: tuple[dict[str, ScoreHistograms], ControlRegionKs],
) -> None:
    assert [drawing.name for drawing in epoch_drawings(7, *epoch)][: len(EPOCH_PLOTS)] == EPOCH_PLOTS


def test_plots_of_a_pt_range_say_it_in_gev_and_show_its_own_distance(
    epoch: tuple[dict[str, ScoreHistograms], ControlRegionKs],
) -> None:
    histograms, ks = epoch
    drawn = recorded(epoch_drawings(7, histograms, ks))
    titles = ("$p_T$ < 125 GeV", "125 < $p_T$ < 250 GeV", "$p_T$ > 250 GeV")
    for title, pt_range, comparison in zip(titles, ks.pt_ranges, ks[Label.SIGNAL].ranges, strict=True):
        words = legend_title(drawn[f"007_val_adversary_{pt_range.name}Pt_sig_predictions"])
        assert words[0] == f"Epoch 7, validation part, {title}"
        assert words[1].startswith(f"K-S {comparison.distance:.2f} (identical: {comparison.reference.mean:.2f} ± ")
    assert legend_title(drawn["007_val_adversary_sig_predictions"])[1] == ks_text(ks[Label.SIGNAL])
    assert legend_title(drawn["007_main_sig_predictions"]) == ["Epoch 7, validation part"]
    test = recorded(epoch_drawings(7, histograms, ks, "test part", "given files"))
    assert legend_title(test["007_main_sig_predictions_linear"]) == ["Epoch 7, test part"]
    assert legend_title(test["007_val_adversary_sig_predictions"])[0] == "Epoch 7, given files"
    counts = {text.split(" (")[0] for text in legend_texts(drawn["007_val_adversary_lowPt_sig_predictions"])}
    assert counts == {"Data", "Multijet MC"}


def test_a_pt_range_without_scaling_keeps_its_name() -> None:
    assert pt_range_title(PtRange("mid", 0.25, 0.5)) == "mid $p_T$"
    assert pt_range_title(PtRange("low", 0.0, 0.25, (40, 155))) == "40 < $p_T$ < 155 GeV"


def test_lines_are_train_points_are_test_and_below_is_their_difference_over_its_error() -> None:
    train, test = plausible_jets(2000, 1), plausible_jets(1000, 2)
    found = overtraining(train, test)
    drawings = final(evaluate_test_sample(test, train=train), "train_and_test")
    assert [each.name for each in drawings] == [
        f"{output}_predictions_train_and_test" for output in ("qcd", "sig", "bib")
    ]
    axes, below = Figure().subplots(2, sharex=True)
    draw_train_and_test(axes, below, *drawings[1].content)
    of_test, of_train = main_histograms(test).linear[1], found.train.linear[1]
    (contents, errors), (trained, train_errors) = of_test["sig"].normalised(), of_train["sig"].normalised()
    line = axes.patches[0].get_data().values
    points = axes.containers[0].lines[0].get_ydata()
    assert list(line) == pytest.approx([value or np.nan for value in trained], nan_ok=True)
    assert list(points) == pytest.approx(list(contents[contents > 0]))
    some = (errors > 0) | (train_errors > 0)
    contents, errors, trained, train_errors = (each[some] for each in (contents, errors, trained, train_errors))
    pulls = (trained - contents) / np.hypot(errors, train_errors)
    np.testing.assert_allclose(below.lines[0].get_ydata(), pulls.clip(-5, 5))
    assert legend_title(axes)[0] == "Lines: 2,000 jets trained on; points: 1,000 test jets"
    comparison = found.distance(Label.SIGNAL, Label.SIGNAL)
    assert legend_texts(axes)[0] == (
        f"Signal: {comparison.distance:.2f} (identical: {comparison.reference.mean:.2f} ± "
        f"{comparison.reference.spread:.2f})"
    )


@pytest.mark.parametrize("signal", [[], [0.9]])
def test_a_class_without_jets_is_unknown(signal: list[float]) -> None:
    jets = jets_on_signal_output(signal, [], [])
    for each in final(evaluate_test_sample(jets, train=jets), "train_and_test"):
        axes, below = Figure().subplots(2, sharex=True)
        each.draw(axes, below, *each.content)
        assert legend_texts(axes)[1:] == ["QCD: unknown", "BIB: unknown"]
