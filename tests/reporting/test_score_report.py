"""The page that `cr_trainer score` writes."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.intervals import Share, share
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.plotting import figure_labels
from cal_ratio_trainer.reporting.report import Report
from cal_ratio_trainer.reporting.score_report import ScoreResult, per_cent, score_with_report
from cal_ratio_trainer.scoring.score import ScoredFile, ScoreSummary
from tests.factories.files import SCALING, write_converted
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network
from tests.scoring.small import score_settings


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without a run."""
    return write_network(tmp_path_factory.mktemp("network") / "small.keras")


def test_the_page_tells_shares_masses_figures_and_what_is_not_known(network: Path, tmp_path: Path) -> None:
    jets = mixed_jets(300)
    signal = jets.label == 1
    masses = {"llp_mH": np.where(signal, 125.0, 0.0), "llp_mS": np.where(signal, 55.0, 0.0)}
    main = write_converted(tmp_path / "main.parquet", jets.with_columns(masses))
    control = tmp_path / "control.parquet"
    of_control = scale(mixed_jets(300, seed=2, label=np.arange(300) % 2 * 2), SCALING).jets
    write_jets(control, of_control, JetMetadata(stage="built", kind="control", scaling=SCALING, simulation="demo"))
    result = score_with_report(score_settings(tmp_path, [main, control, tmp_path / "main.parquet"], network))
    text = result.report.read_text()
    for words in (
        "600 jets of 2 files",
        "Jets by class",
        "Weighted shares",
        "Signal by mass",
        "Control region",
        "K-S distance of data and multijet MC",
        "Figures of merit, on jets that the training did not see",
        "it is not known whether the network was trained on them",
        "belongs to no run",
    ):
        assert words in text, words
    assert f"| 125 | 55 | {signal.sum()} |" in text
    figures = sorted(path.name for path in (tmp_path / "scores" / "report_figures").iterdir())
    outputs = [f"{output}_{kind}.png" for output in ("bib", "qcd", "sig") for kind in ("linear", "log")]
    assert figures == [f"{region}_{name}" for region in ("control", "main") for name in outputs]
    assert "data:image/png;base64" in result.page.read_text()


def test_scores_of_files_with_columns_of_several_types_are_one_table(tmp_path: Path) -> None:
    files = []
    for name, kept in (("a", pa.array([1, 2])), ("b", pa.array([0.5])), ("c", pa.array(["x"]))):
        path = tmp_path / f"{name}.parquet"
        part = pa.array(["unseen"] * len(kept)).dictionary_encode()
        pq.write_table(pa.table({"jet_nn_sig": pa.array([0.5] * len(kept)), "part": part, "kept": kept}), path)
        files.append(ScoredFile(str(path), output=path))
    report = Report("scores", tmp_path / "report.md", figure_labels(FigureSettings()))

    def scores(*chosen: ScoredFile) -> pa.Table:
        return ScoreResult(report, ScoreSummary("network", (), chosen, ())).scores()

    assert scores(*files[:2]).column("kept").to_pylist() == [1, 2, 0.5]
    with pytest.raises(UserError, match="columns of different types"):
        scores(*files)
    with pytest.raises(UserError, match="no file could be scored"):
        scores(ScoredFile("d.parquet", reason="is damaged"))


def test_files_that_cannot_be_scored_stand_in_the_table(network: Path, tmp_path: Path) -> None:
    good = write_converted(tmp_path / "good.parquet", mixed_jets(20))
    bad = tmp_path / "bad.parquet"
    bad.write_text("no jets")
    result = score_with_report(score_settings(tmp_path, [good, bad], network))
    assert "failed" in result.report.read_text()
    assert len(result.summary.failed) == 1


def test_nothing_is_written_where_nothing_could_be_scored(network: Path, tmp_path: Path) -> None:
    bad = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for file in bad:
        file.write_text("no jets")
    result = score_with_report(score_settings(tmp_path, bad, network))
    assert not result.has_scores
    assert not result.report.exists()
    assert len(result.summary.failed) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (share(97, 100), "97.0 +1.6 -2.8"),
        (share(50, 100), "50.0 ± 5.5"),
        (share(0, 100), "0 +1.8"),
        (share(100, 100), "100 -1.8"),
        (Share(0, 0, math.nan, math.nan, math.nan), "-"),
        (share(12_345, 40_000), "30.86 ± 0.23"),
        (Share(1.2, 1.0, 1.2, 0.2, 1.0), "120.0"),
        (Share(-0.1, 1.0, -0.1, 0.0, 0.8), "-10.0"),
    ],
)
def test_shares_have_as_many_digits_as_their_errors_give_meaning(given: Share, said: str) -> None:
    assert per_cent(given).replace("\u00a0", " ") == said
