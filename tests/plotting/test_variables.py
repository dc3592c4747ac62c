"""Overlaid variables: content of the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.evaluation.variables import COUNTS, find_variable, known_names
from cal_ratio_trainer.jets.metadata import Scaling, built_units, converted_units
from cal_ratio_trainer.plotting import DEMO
from cal_ratio_trainer.plotting.variables import (
    MAX_SERIES,
    Series,
    VariableFigure,
    axis_title,
    plain_text,
    variable_drawing,
)
from tests.plotting.recording import legend_texts
from tests.plotting.test_images import TOLERANCE, at_half_size

EDGES = np.linspace(0.0, 10.0, 11)


def counts(seed: int, jets: int = 1000) -> WeightedHistogram:
    """Some histogram with a little below and above."""
    contents = np.random.default_rng(seed).poisson(jets / 10, 12).astype(np.float64)
    contents[[0, -1]] = [0, jets / 100]
    return WeightedHistogram(EDGES, contents, contents, int(contents.sum()))


def figure(number: int, **changes: Any) -> VariableFigure:
    """A figure of some groups."""
    series = tuple(Series(f"group {place}", counts(place)) for place in range(number))
    return VariableFigure(**{"title": "Jet $p_T$ [GeV]", "edges": EDGES, "series": series, **changes})


def drawn(asked: VariableFigure) -> list[Any]:
    """Axes, one or two."""
    drawing = variable_drawing("name", asked)
    panels = list(Figure().subplots(2 if drawing.with_ratio else 1, squeeze=False)[:, 0])
    drawing.draw(*panels, *drawing.content)
    return panels


def test_several_groups_have_a_panel_of_ratios_and_one_has_none() -> None:
    (alone,) = drawn(figure(1))
    assert alone.get_xlabel() == "Jet $p_T$ [GeV]"
    main, ratios = drawn(figure(3))
    assert main.get_ylabel() == "Fraction of jets / bin"
    assert ratios.get_xlabel() == "Jet $p_T$ [GeV]"
    assert ratios.get_ylabel() == "Ratio to\ngroup 0"
    assert len(ratios.containers) == 2


def test_a_long_title_of_the_y_axis_is_smaller_so_that_it_ends_above_the_ratio() -> None:
    for name in ("jets", "muon segments"):
        made = variable_drawing("name", figure(6, counted=name, context="all")).figure(DEMO)
        made.canvas.draw()
        main, ratio = made.axes
        titles = [axes.yaxis.label.get_window_extent() for axes in (main, ratio)]
        assert titles[0].y0 > titles[1].y1
        assert titles[0].height <= 1.1 * main.get_window_extent().height


def test_the_legend_says_how_many_jets_there_are_and_how_many_are_outside() -> None:
    one = Series("one", WeightedHistogram(EDGES, np.array([0.0, *[9.0] * 10, 10.0]), np.ones(12), 1100))
    few = Series("few", WeightedHistogram(EDGES, np.array([1e-6, *[9.0] * 10, 0.0]), np.ones(12), 1))
    (axes, _) = drawn(figure(0, series=(one, few), context="Signal MC"))
    assert [text.strip() for text in legend_texts(axes)] == [
        "one: 1,100 jets (10.0 % above)",
        "few: 1 jet (<0.1 % below)",
    ]
    assert axes.get_legend().get_title().get_text() == "Signal MC"


def test_contents_are_shares_of_all_weight() -> None:
    series = Series("one", WeightedHistogram(EDGES, np.array([0.0, *[9.0] * 10, 10.0]), np.ones(12), 100))
    (axes,) = drawn(figure(0, series=(series,)))
    np.testing.assert_allclose(axes.patches[0].get_data().values, 0.09)


@pytest.mark.parametrize("name", ["_hidden", "$x^{", "a\nb", "\\frac", "x" * 500, "", "%s {0}"])
def test_any_name_can_be_drawn_and_stays_in_the_legend(tmp_path: Path, name: str) -> None:
    groups = (Series(name, counts(1)), Series(f"{name}2", counts(2)))
    asked = figure(0, series=groups, context=name, title=plain_text(name))
    (axes, _) = drawn(asked)
    assert len(legend_texts(axes)) == 2
    (file,) = variable_drawing("x", asked).write(tmp_path, DEMO)
    assert file.is_file()


def test_long_names_are_shortened_in_the_middle() -> None:
    assert plain_text("abcdefghij", 6) == "abc…ij"


def test_nothing_to_draw_is_said() -> None:
    nothing = Series("none", WeightedHistogram(EDGES, np.zeros(12), np.zeros(12), 0))
    (axes, _) = drawn(figure(0, series=(nothing, nothing)))
    assert "no jets" in [text.get_text() for text in axes.texts]


def test_the_legend_stands_above_the_frame_and_the_axis_fits_the_contents() -> None:
    for number in range(1, MAX_SERIES + 1):
        asked = figure(number, context="all")
        axes = drawn(asked)[0]
        top = max(float(np.nanmax(series.histogram.normalised()[0])) for series in asked.series)
        assert top < axes.get_ylim()[1] < 1.5 * top
        axes.figure.canvas.draw()
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_data_are_black_points_and_nothing_else_is_black() -> None:
    groups = [Series(name, counts(place + 1), name == "Data") for place, name in enumerate(("MC", "Other MC", "Data"))]
    (axes, ratios) = drawn(figure(0, series=tuple(groups)))
    colours = [container.lines[0].get_color() for container in (*axes.containers, *ratios.containers)]
    assert [colour == "black" for colour in colours] == [False, True] * 2


def test_far_different_contents_have_a_logarithmic_axis() -> None:
    falling = WeightedHistogram(EDGES, np.concatenate([[0.0], 10.0 ** -np.arange(10), [0.0]]), np.full(12, 1e-12), 1000)
    assert drawn(figure(0, series=(Series("x", falling),)))[0].get_yscale() == "log"
    assert drawn(figure(1))[0].get_yscale() == "linear"


def test_bins_of_equal_ratio_have_a_logarithmic_axis_of_values() -> None:
    (axes, _) = drawn(figure(2, edges=np.geomspace(1e-3, 10, 11)))
    assert axes.get_xscale() == "log"


def test_numbers_of_constituents_have_ticks_at_whole_numbers_alone(tmp_path: Path) -> None:
    (axes,) = drawn(figure(1, edges=np.arange(11) - 0.5))
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert not len(axes.xaxis.get_minorticklocs())
    plain = variable_drawing("plain", figure(2))
    (path,) = plain.write(tmp_path, DEMO)
    before = path.read_bytes()
    variable_drawing("numbers", figure(2, edges=np.arange(11) - 0.5)).write(tmp_path, DEMO)
    plain.write(tmp_path, DEMO)
    assert path.read_bytes() == before


def test_ratios_beyond_the_panel_are_marked_at_its_edge() -> None:
    contents = np.full(12, 1000.0)
    odd = contents.copy()
    odd[5] = 9000.0
    groups = (
        Series("flat", WeightedHistogram(EDGES, contents, contents, 10)),
        Series("odd", WeightedHistogram(EDGES, odd, odd, 10)),
    )
    ratios = drawn(figure(0, series=groups))[1]
    marks = [line for line in ratios.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert [list(mark.get_ydata()) for mark in marks] == [[ratios.get_ylim()[1]]]


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.02, 1.5, 2.0, 2.3, 4.0, 7.0, 8.0, 70.0, 700.0])
def test_at_least_two_ratios_are_labelled_and_none_at_the_edges_of_the_panel(ratio: float) -> None:
    contents = np.full(12, 1e6)
    other = contents * np.where(np.arange(12) < 6, ratio, 1.0) if ratio else np.zeros(12)
    groups = tuple(Series("x", WeightedHistogram(EDGES, each, each, 10)) for each in (contents, other))
    ratios = variable_drawing("name", figure(0, series=groups)).figure(DEMO).axes[1]
    ratios.figure.canvas.draw()
    places = [
        ratios.transAxes.inverted().transform(ratios.transData.transform((0.0, tick)))[1]
        for tick, label in zip(ratios.get_yticks(), ratios.get_yticklabels(), strict=True)
        if label.get_text() and ratios.get_ylim()[0] <= tick <= ratios.get_ylim()[1]
    ]
    assert len(places) >= 2
    assert all(0.09 < place < 0.91 for place in places)


def test_large_values_are_given_in_powers_of_a_thousand() -> None:
    axes = drawn(figure(1, edges=np.linspace(2e5, 4e5, 11), title="runNumber"))[0]
    assert axes.get_xlim() == (200.0, 400.0)
    assert axes.get_xlabel() == "runNumber / $10^{3}$"


def test_more_groups_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        variable_drawing("x", figure(MAX_SERIES + 1))


@pytest.mark.mpl_image_compare(tolerance=TOLERANCE, style="default", savefig_kwargs={"dpi": 100})
def test_three_groups_look_as_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    monkeypatch.setattr(Text, "draw", lambda self, renderer: None)
    (path,) = variable_drawing("name", figure(3, context="Signal MC")).write(tmp_path, DEMO)
    return at_half_size(path)


UP_TO_500 = Scaling(min_jet_pt=0, max_jet_pt=500)


def title(name: str, unit: str, scaling: Scaling | None = None) -> str:
    """The title of a variable."""
    variable = find_variable([name], ["jet_pt", "jet_mass$", "mcEventWeight"])
    assert variable is not None
    return axis_title(variable, unit, scaling)


@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("jet_pt", "GeV", "Jet $p_T$ [GeV]"),
        ("jet_pt", "scaled to 0-1", "Jet $p_T$ / 500 GeV"),
        ("clus_pt_0", "scaled to 0-1", "Leading cluster $p_T$ / 500 GeV"),
        ("clus_eta_1", "from the leading cluster", r"2nd cluster $\eta$ from the leading cluster"),
        ("track_phi_2", "rad from the jet", r"3rd track $\phi$ from the jet [rad]"),
        ("MSeg_t0_0", "ns", "1st muon segment $t_0$ [ns]"),
        ("MSeg_t0_10", "ns", "11th muon segment $t_0$ [ns]"),
        ("clus_l4hcal", "fraction of the cluster", "Cluster energy in HCal layer 4 [fraction of the cluster]"),
        ("track_z0", "250 mm", "Track $z_0$ [250 mm]"),
        ("track_SCTHits", "hits", "Track SCT hits"),
        ("n_muon_segments", "", "Number of muon segments"),
        ("mcEventWeight", "", "Event weight"),
        ("jet_mass$", "", r"jet_mass\$"),
    ],
)
def test_titles_are_a_physicist_s(name: str, unit: str, said: str) -> None:
    assert title(name, unit, UP_TO_500) == said


def test_a_scale_that_is_not_known_or_starts_above_zero_is_said_so() -> None:
    assert title("jet_pt", "scaled to 0-1") == "Jet $p_T$ [scaled to 0-1]"
    shifted = Scaling(min_jet_pt=40, max_jet_pt=500)
    assert title("jet_pt", "scaled to 0-1", shifted) == "Jet $p_T$ [scaled: 40–500 GeV to 0–1]"


@pytest.mark.parametrize("units", [converted_units(), built_units()])
def test_everything_that_has_a_unit_has_a_title_and_mathematics_that_closes(units: dict[str, str]) -> None:
    for name in [*known_names(["jet_pt"]), *(count.name for count in COUNTS)]:
        said = title(name, units.get(name, ""), UP_TO_500)
        assert said
        assert said.replace(r"\$", "").count("$") % 2 == 0
