"""The page that `cr_trainer compare` writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.paired import PairedFigure
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.schema import TRACKS
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.reporting.compare_report import compare_with_report, figure_table, ks_table
from cal_ratio_trainer.reporting.page import Markup
from cal_ratio_trainer.scoring.scorer import find_scorer
from tests.factories.files import SCALING, write_built, write_converted
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two networks without runs."""
    folder = tmp_path_factory.mktemp("networks")
    return write_network(folder / "o$^{$ne.keras", 1), write_network(folder / "two.keras", 2)


def settings_of(
    folder: Path, networks: tuple[Path, ...], files: list[Path], column: str | None = None, **changes: Any
) -> CompareSettings:
    words = [str(each) for each in (*networks[1:], *files)]
    return CompareSettings.make(
        first=str(networks[0]),
        input_files=words,
        column=column,
        output_report=folder / "page" / "report.md",
        replicas=20,
        threads=1,
        **changes,
    )


def test_the_page_tells_figures_curves_agreement_and_the_jets_that_differ(
    networks: tuple[Path, Path], tmp_path: Path
) -> None:
    main = write_built(tmp_path / "main.parquet", scale(mixed_jets(300), SCALING).jets)
    control = tmp_path / "control.parquet"
    of_control = scale(mixed_jets(300, seed=2, label=np.arange(300) % 2 * 2), SCALING).jets
    write_jets(control, of_control, JetMetadata(stage="built", kind="control", scaling=SCALING))
    result = compare_with_report(settings_of(tmp_path, networks, [main, control]))
    text = result.report.read_text()
    for words in (
        "Main jets",
        "AUC, QCD only",
        "QCD only that passes at 90 % signal [%]",
        "K-S sum, all outputs",
        "identical distributions",
        "pt 125 to 250 GeV",
        "How far the scores agree",
        "beyond 1e-5",
        "Largest output, first (rows) against second (columns)",
        "Jets that differ most",
    ):
        assert words in text.replace("\\", ""), words
    differing = text.split("**Jets that differ most**")[1:]
    assert ["| BIB |" in part.partition("Empty: ")[0] for part in differing] == [True, False]
    assert ["| data |" in part.partition("Empty: ")[0] for part in differing] == [False, True]
    figures = {path.stem for path in (tmp_path / "page" / "report_figures").iterdir()}
    assert {"roc_qcd_only", "roc_bib_only", "ks", "main_correlation_sig", "control_differences"} <= figures
    assert (tmp_path / "page" / "compared.parquet").is_file()


def test_the_page_names_the_input_that_differs(networks: tuple[Path, Path], tmp_path: Path) -> None:
    jets = mixed_jets(60)
    built = scale(jets, SCALING).jets
    tracks = built.constituents["tracks"]
    values = tracks.values.copy()
    values[:, TRACKS.position("z0")] *= 250
    wrong = Jets(built.scalars, {**built.constituents, "tracks": tracks.with_values(values)})
    scores = find_scorer(str(networks[0]), CompareSettings.make()).scores(wrong)
    official = {f"jet_nn_cpp_{label.output}": scores[:, label] for label in Label}
    file = write_converted(tmp_path / "jets.parquet", jets.with_columns(official))
    result = compare_with_report(settings_of(tmp_path, networks[:1], [file], "jet_nn_cpp_{}"))
    text = result.report.read_text().replace("\\", "")
    assert "Do they agree?" in text
    assert "Hypothesis: track z0 is not divided by 250 mm." in text
    assert "Single changes of the inputs that bring the scores closest" in text


def test_sculpting_of_both_is_shown_where_it_is_asked_for(
    networks: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = write_built(tmp_path / "main.parquet", scale(mixed_jets(300), SCALING).jets)

    def written(self: Drawing, folder: Path, labels: FigureLabels) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.png").write_bytes(b"no figure")
        return [folder / f"{self.name}.png"]

    monkeypatch.setattr(Drawing, "write", written)
    monkeypatch.setattr("cal_ratio_trainer.reporting.report.page_html", lambda *given: "")
    summary = compare_with_report(settings_of(tmp_path, networks, [main], sculpting=True)).summary
    found = summary.samples["main"].sculpting
    assert found is not None
    for points in found:
        assert [point.efficiency for point in points] == [0.9, 0.8]
        assert {"pt", "cluster_mass", "cluster_width"} <= points[0].shapes.keys()
    assert "Is a mass sculpted?" in (tmp_path / "page" / "report.md").read_text()


def test_only_a_clear_difference_is_in_bold_on_the_better_side() -> None:
    def figure(difference: float, error: float, more_is_better: bool) -> PairedFigure:
        interval = Interval(difference, difference - error, difference + error)
        return PairedFigure("f", Interval(0.9, 0.89, 0.91), Interval(0.9, 0.89, 0.91), interval, more_is_better)

    table = figure_table([figure(0.03, 0.01, True), figure(0.03, 0.01, False), figure(0.01, 0.01, True)])
    bold = [[isinstance(cell, Markup) for cell in row[1:3]] for row in table.rows]
    assert bold == [[False, True], [True, False], [False, False]]
    assert table.rows[0][4] == "+3.0"
    assert table.rows[0][3].replace("\u00a0", " ") == "+0.030 ± 0.010"


def test_a_range_that_lacks_data_or_simulation_has_a_dash_in_the_table() -> None:
    scores = np.full((8, 3), 1 / 3)
    is_data = np.arange(8) % 2 == 0
    scaled_pt = np.where(is_data, 0.1, np.linspace(0, 0.9, 8))
    ks = ks_of_control_jets(ScoredJets.control(scores, is_data, np.ones(8), scaled_pt))
    table = ks_table(ks, ks)
    first, _, identical = table.rows[:3]
    assert first[2] == "0.000"
    assert first[3:] == ("-",) * 4
    assert "±" in identical[2]
    assert identical[3:] == ("-",) * 4
