"""The report of `cr_trainer plot`, on small files of every kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.evaluation.survey import JetClass
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling, built_units
from cal_ratio_trainer.jets.schema import MISSING_T0
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.plotting.variables import VariableFigure
from cal_ratio_trainer.reporting.jet_file_report import compare_files
from cal_ratio_trainer.reporting.jet_files import Quantity, compared
from tests.factories.files import white_png, write_flat
from tests.factories.jets import converted_jets, converted_metadata
from tests.reporting.some_reports import HOSTILE

PIXEL = white_png(1, 1)
BUILT: dict[str, Any] = {"stage": "built", "scaling": Scaling(min_jet_pt=0, max_jet_pt=500), "units": built_units()}


def scaled(jets: Jets) -> Jets:
    """Jets with pt between 0 and 1."""
    return jets.with_columns({"jet_pt": jets["jet_pt"] / 500})


def main_jets(seed: int = 1, masses: Sequence[tuple[float, float]] = ((125, 55), (600, 150))) -> Jets:
    """QCD, signal of some masses, BIB."""
    parts = [converted_jets(60, DataType.QCD, seed), converted_jets(50, DataType.BIB, seed + 1)]
    for place, (heavy, light) in enumerate(masses):
        both: dict[str, Any] = {"llp_mH": np.full(40, heavy, np.float32), "llp_mS": np.full(40, light, np.float32)}
        parts.append(converted_jets(40, DataType.SIGNAL, seed + 2 + place, **both))
    return scaled(Jets.concatenate(parts))


def control_jets(seed: int = 7) -> Jets:
    """Multijets, MC and data."""
    return scaled(
        Jets.concatenate([converted_jets(60, DataType.QCD, seed), converted_jets(60, DataType.DATA, seed + 1)])
    )


@pytest.fixture
def main_file(tmp_path: Path) -> Path:
    """A built main file of the demo."""
    write_jets(tmp_path / "main.parquet", main_jets(), JetMetadata(kind="main", simulation="demo", **BUILT))
    return tmp_path / "main.parquet"


@pytest.fixture
def control_file(tmp_path: Path) -> Path:
    """Built control-region file that is not from the demo."""
    write_jets(tmp_path / "control.parquet", control_jets(), JetMetadata(kind="control", **BUILT))
    return tmp_path / "control.parquet"


class Drawn:
    """Records the drawings, and writes one pixel for each."""

    def __init__(self) -> None:
        self.figures: dict[str, VariableFigure] = {}
        self.labels: dict[str, FigureLabels] = {}

    def __call__(self, drawings: Sequence[Drawing], folder: Path, labels: FigureLabels) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            assert drawing.name not in self.figures
            self.figures[drawing.name] = drawing.content[0]
            self.labels[drawing.name] = labels
            (folder / f"{drawing.name}.png").write_bytes(PIXEL)

    def names(self, start: str) -> set[str]:
        """Names of figures with this prefix."""
        return {name for name in self.figures if name.startswith(start)}

    def titles(self, name: str) -> list[str]:
        """Names of the groups of a figure."""
        return [series.title for series in self.figures[name].series]


def reported(tmp_path: Path, *files: Any, **changes: Any) -> tuple[str, Drawn]:
    """Markdown of a comparison, and its drawings."""
    drawn = Drawn()
    words = [str(file) for file in files]
    settings = PlotSettings.make(
        **{"input_files": words, "output_report": tmp_path / "out" / "r.md", "common_plots": ["jet_pt"], **changes}
    )
    summary = compare_files(settings, drawn)
    assert len(summary.figures()) == len(drawn.figures)
    assert summary.page.is_file()
    return summary.report.read_text("utf-8"), drawn


def rows(markdown: str, title: str) -> list[list[str]]:
    """Cells of the table with this title."""
    lines = markdown.partition(f"**{title}")[2].splitlines()[2:]
    table = [line for line in lines[: lines.index("")] if line]
    return [[cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")] for line in table[2:]]


def test_a_main_and_a_control_file_side_by_side(tmp_path: Path, main_file: Path, control_file: Path) -> None:
    text, drawn = reported(tmp_path, main_file, f"CR={control_file}")
    assert [row[0] for row in rows(text, "Files")] == ["main", "CR"]
    assert [(row[0], row[1], row[3], row[4]) for row in rows(text, "Jets by label")] == [
        ("main", "Multijet MC", "60", "31.6 %"),
        ("main", "Signal MC", "80", "42.1 %"),
        ("main", "BIB data", "50", "26.3 %"),
        ("CR", "Multijet MC", "60", "50.0 %"),
        ("CR", "Multijet data", "60", "50.0 %"),
    ]
    assert rows(text, "Signal jets by mass") == [["125", "55", "40", "21.1 %"], ["600", "150", "40", "21.1 %"]]
    assert drawn.titles("all_jet_pt") == ["main", "CR"]
    assert drawn.titles("file1_labels_jet_pt") == ["Multijet MC", "Signal MC", "BIB data"]
    assert drawn.titles("file2_labels_jet_pt") == ["Multijet MC", "Multijet data"]
    assert drawn.titles("file1_masses1_jet_pt") == ["All signal", "mH 125, mS 55", "mH 600, mS 150"]
    assert not drawn.names("main_")
    assert not drawn.names("control_")


def test_numbers_of_constituents_among_the_common_variables_are_drawn_once(tmp_path: Path, main_file: Path) -> None:
    _, drawn = reported(tmp_path, main_file, common_plots=["n_tracks", "jet_pt"])
    assert [name for name in drawn.figures if name.startswith("all_")] == [
        "all_n_tracks",
        "all_jet_pt",
        "all_n_clusters",
        "all_n_muon_segments",
    ]
    assert [name for name in drawn.figures if "n_tracks" in name and name.startswith("file1_labels")] == [
        "file1_labels_n_tracks"
    ]


def test_sums_of_weights_are_those_of_the_jets(tmp_path: Path, main_file: Path) -> None:
    text, _ = reported(tmp_path, main_file)
    jets = main_jets()
    for row, label in zip(rows(text, "Jets by label"), (0, 1, 2), strict=True):
        weights = jets["mcEventWeight"][jets.label == label]
        assert float(row[5].replace(",", "")) == pytest.approx(weights.sum(), rel=1e-4)
        assert float(row[6]) == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-2)


def test_figures_of_the_demo_are_the_demo_s_others_are_not_and_figures_of_both_say_both(
    tmp_path: Path, main_file: Path, control_file: Path
) -> None:
    _, drawn = reported(tmp_path, main_file, control_file)
    assert {drawn.labels[name].experiment for name in drawn.names("file1_")} == {"demo"}
    assert {drawn.labels[name].experiment for name in drawn.names("all_")} == {"ATLAS and demo simulation"}
    assert all(drawn.labels[name].luminosity_fb is None for name in drawn.names("file1_") | drawn.names("all_"))
    assert {drawn.labels[name].experiment for name in drawn.names("file2_")} == {"ATLAS"}


def test_two_main_files_are_compared_by_label_and_by_the_masses_both_have(tmp_path: Path, main_file: Path) -> None:
    other = tmp_path / "other.parquet"
    write_jets(other, main_jets(20, masses=((600, 150), (60, 5))), JetMetadata(kind="main", **BUILT))
    text, drawn = reported(tmp_path, main_file, other)
    assert drawn.names("main_") == {
        *(f"main_label{label}_jet_pt" for label in range(3)),
        "main_mH600_mS150_jet_pt",
    }
    assert "### mH 600 GeV, mS 150 GeV" in text
    assert drawn.titles("main_label1_jet_pt") == ["main", "other"]


def test_files_without_a_label_in_common_are_said_to_have_none(tmp_path: Path) -> None:
    for name, data_type in (("bib", DataType.BIB), ("sig", DataType.SIGNAL)):
        write_jets(
            tmp_path / f"{name}.parquet", scaled(converted_jets(30, data_type)), JetMetadata(kind="main", **BUILT)
        )
    text, drawn = reported(tmp_path, tmp_path / "bib.parquet", tmp_path / "sig.parquet")
    assert "## Main files compared\n\nNo two of these files hold jets of the same label." in text
    assert drawn.names("main_") == set()


def test_columns_that_a_frame_lacks_are_no_odd_values_and_numbers_of_runs_have_all_digits(tmp_path: Path) -> None:
    jets = converted_jets(30, DataType.BIB, runNumber=np.full(30, 304198))
    write_flat(tmp_path / "whole.pkl", scaled(jets), JetMetadata(kind="main", **BUILT))
    frame = pd.read_pickle(tmp_path / "whole.pkl")  # noqa: S301 - written one line above
    frame.drop(columns="eventNumber").to_pickle(tmp_path / "frame.pkl")
    text, _ = reported(tmp_path, tmp_path / "frame.pkl")
    assert "eventNumber" in next(line for line in text.splitlines() if "not in the file" in line)
    assert "eventNumber" not in {row[1] for row in rows(text, "Values that are no measurements")}
    assert {row[0]: row for row in rows(text, "Columns, with")}["runNumber"][2] == "304198 to 304198"


def test_many_masses_are_spread_over_figures_that_all_show_the_whole(tmp_path: Path) -> None:
    masses = [(100.0 * number, 10.0) for number in range(1, 12)]
    write_jets(tmp_path / "m.parquet", main_jets(masses=masses), JetMetadata(kind="main", **BUILT))
    _, drawn = reported(tmp_path, tmp_path / "m.parquet", common_plots=["jet_pt"])
    figures = [drawn.titles(f"file1_masses{part}_jet_pt") for part in (1, 2, 3)]
    assert [len(titles) for titles in figures] == [6, 6, 2]
    assert {titles[0] for titles in figures} == {"All signal"}


def test_scaled_and_unscaled_values_are_not_overlaid(tmp_path: Path, main_file: Path) -> None:
    write_jets(tmp_path / "gev.parquet", converted_jets(50), converted_metadata())
    _, drawn = reported(tmp_path, main_file, tmp_path / "gev.parquet", common_plots=["jet_pt", "jet_eta"])
    assert drawn.titles("all_jet_pt") == ["main"]
    assert drawn.figures["all_jet_pt"].title == "Jet $p_T$ / 500 GeV"
    assert drawn.titles("all_jet_pt_2") == ["gev"]
    assert drawn.figures["all_jet_pt_2"].title == "Jet $p_T$ [GeV]"
    assert drawn.titles("all_jet_eta") == ["main", "gev"]


def test_alternative_names_meet_in_one_figure(tmp_path: Path, main_file: Path) -> None:
    write_jets(
        tmp_path / "b.parquet", main_jets().with_columns({"HT": np.ones(190)}), JetMetadata(kind="main", **BUILT)
    )
    _, drawn = reported(tmp_path, main_file, tmp_path / "b.parquet", common_plots=[["HT", "jet_eta"]])
    assert drawn.titles("all_jet_eta") == ["main", "b"]
    (_, other) = drawn.figures["all_jet_eta"].series
    assert np.count_nonzero(other.histogram.sums) == 1


def test_a_flat_pickle_gives_the_same_counts_as_the_ragged_file(tmp_path: Path, main_file: Path) -> None:
    write_flat(tmp_path / "flat.pkl", main_jets(), JetMetadata(kind="main", **BUILT))
    names = ["jet_pt", "nn_clus_pt_0", "track_eta_1", "MSeg_t0", "n_tracks"]
    settings = PlotSettings.make(input_files=[str(main_file), str(tmp_path / "flat.pkl")], common_plots=names)
    comparison = compared(settings)
    first, second = comparison.files
    for quantity in [*comparison.common, *comparison.multiplicities]:
        one, other = first.total(quantity, 0), second.total(Quantity(quantity.name, quantity.unit), 0)
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-6)


def test_the_second_pass_counts_every_jet_of_the_first(tmp_path: Path, main_file: Path) -> None:
    comparison = compared(PlotSettings.make(input_files=[str(main_file)], common_plots=["jet_eta"]))
    (file,) = comparison.files
    total = file.total(comparison.common[0])
    assert total is not None
    assert total.jets == file.rows == comparison.jets == 190
    assert total.sums.sum() == pytest.approx(main_jets()["mcEventWeight"].sum())
    by_mass = file.total(comparison.common[0], 1, (125.0, 55.0))
    assert by_mass is not None
    assert by_mass.jets == file.survey.classes[JetClass(1, (125.0, 55.0))].jets == 40


def test_weights_are_drawn_without_weights(tmp_path: Path, main_file: Path) -> None:
    comparison = compared(PlotSettings.make(input_files=[str(main_file)], common_plots=["mcEventWeight"]))
    total = comparison.files[0].total(comparison.common[0])
    assert total is not None
    assert total.sums.sum() == 190


def test_odd_values_and_columns_that_are_not_in_all_files_are_told(tmp_path: Path, control_file: Path) -> None:
    jets = main_jets().with_columns({"extra": np.ones(190), "note": ["x"] * 190})
    jets.constituents["muon_segments"].values[:5, -1] = MISSING_T0
    jets.constituents["clusters"].values[0, 0] = np.inf
    write_jets(tmp_path / "odd.parquet", jets, JetMetadata(kind="main", **BUILT))
    text, _ = reported(tmp_path, tmp_path / "odd.parquet", control_file)
    odd = {row[1]: row for row in rows(text, "Values that are no measurements") if row[0] == "odd"}
    assert odd["MSeg_t0"][5].startswith("5 (")
    assert odd["clus_pt"][4].startswith("1 (")
    (partly,) = [line for line in text.splitlines() if line.startswith("Not in all files")]
    assert {"extra", "note"} <= set(partly.rstrip(".").partition(": ")[2].split(", "))
    assert "jet\\_eta" not in partly
    columns = {row[0]: row for row in rows(text, "Columns, with")}
    assert columns["extra"][2:] == ["1 to 1", ""]
    assert columns["note"][2] == "text"
    assert columns["jet_pt"][1] == "scaled to 0-1"


def test_every_column_can_be_drawn_and_stands_in_the_table(tmp_path: Path, main_file: Path) -> None:
    text, drawn = reported(tmp_path, main_file, plot_every_column=True)
    figures = drawn.names("column")
    assert len({name.partition("_")[2] for name in figures} & {"jet_pt", "clus_time", "MSeg_t0", "runNumber"}) == 4
    assert not any("source_file" in name for name in figures)
    columns = {row[0]: row for row in rows(text, "Columns, with")}
    assert "_clus_time.png" in columns["clus_time"][-1]
    assert columns["source_file"][-1].strip("| ") == ""


def test_a_file_without_jets_is_told_and_no_obstacle(tmp_path: Path, main_file: Path) -> None:
    write_jets(tmp_path / "none.parquet", main_jets().slice(0, 0), JetMetadata(kind="main", **BUILT))
    text, drawn = reported(tmp_path, main_file, tmp_path / "none.parquet")
    assert "It holds no jets." in text
    assert drawn.titles("all_jet_pt") == ["main"]
    text, drawn = reported(tmp_path, tmp_path / "none.parquet")
    assert drawn.figures == {}


def test_names_that_mean_something_elsewhere_mean_nothing_here(tmp_path: Path, main_file: Path) -> None:
    column = "../../<script>alert(1)</script>|$x^{"
    write_jets(
        tmp_path / "h.parquet", main_jets().with_columns({column: np.arange(190.0)}), JetMetadata(kind="main", **BUILT)
    )
    labels = {0: HOSTILE, 1: "$x^{", 2: "<b>"}
    settings = {"plot_every_column": True, "common_plots": [column], "data_labels_main": labels}
    words = [{"input_file": str(tmp_path / "h.parquet"), "legend_name": HOSTILE}]
    text, drawn = reported(tmp_path, input_files=words, **settings)
    assert all(Path(name).name == name for name in drawn.figures)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.parquet", "main.parquet", "out"]
    page = (tmp_path / "out" / "r.html").read_text("utf-8")
    assert page.count("<script") == 1
    assert "<b>" not in page
    assert "\n# h" not in text


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_jets(tmp_path / folder / "x.parquet", main_jets(), JetMetadata(kind="main", **BUILT))
    paths = [tmp_path / "a" / "x.parquet", tmp_path / "b" / "x.parquet", f"x={tmp_path / 'a' / 'x.parquet'}"]
    text, _ = reported(tmp_path, *paths, paths[0])
    assert [row[0] for row in rows(text, "Files")] == ["a/x", "b/x", "x", f"{tmp_path.name}/a/x"]


def test_a_variable_that_no_file_has_is_a_mistake_that_names_the_nearest(main_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compared(PlotSettings.make(input_files=[str(main_file)], common_plots=["jet_ptt"], weight_column="mcWeight"))
    assert "no file has jet_ptt (did you mean jet_pt?)" in str(caught.value)
    assert "weight_column: no file has mcWeight" in str(caught.value)


def test_weights_that_are_no_numbers_are_refused(main_file: Path) -> None:
    with pytest.raises(InputFileError, match="weight_column: source_file holds no numbers"):
        compared(PlotSettings.make(input_files=[str(main_file)], weight_column="source_file"))


def test_a_mistake_in_the_last_file_is_told_before_the_first_is_read(
    tmp_path: Path, main_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.reporting.jet_files._survey", lambda *_: pytest.fail("was read"))
    with pytest.raises(InputFileError, match="no such file"):
        compared(PlotSettings.make(input_files=[str(main_file), str(tmp_path / "none.pkl")]))


def test_demo_is_given_too_often(main_file: Path) -> None:
    with pytest.raises(ConfigError, match="more often"):
        compared(PlotSettings.make(input_files=["demo", "demo", "demo"]))


def test_different_scales_of_pt_are_told(tmp_path: Path, main_file: Path) -> None:
    other = JetMetadata(kind="main", **{**BUILT, "scaling": Scaling(min_jet_pt=40, max_jet_pt=500)})
    write_jets(tmp_path / "b.parquet", main_jets(), other)
    text, drawn = reported(tmp_path, main_file, tmp_path / "b.parquet")
    assert "their scaled pt do not compare" in text
    assert drawn.figures["all_jet_pt"].title == "Jet $p_T$ [scaled to 0-1]"
