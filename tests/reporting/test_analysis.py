"""Page of `cr_trainer analyze`, for hand-made runs with known results and for small real trainings."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.reporting.analysis import AnalysisResult, analyze_runs
from cal_ratio_trainer.reporting.analysis_tables import efficiency_table, epoch_table, interval_words, setting_tables
from cal_ratio_trainer.reporting.page import Markup
from cal_ratio_trainer.reporting.report import Report
from cal_ratio_trainer.runs.figure_data import read_importance
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.candidates import NothingToAnalyze, choose_runs, shortlist, with_results
from tests.factories.files import write_training_files
from tests.factories.runs import history_row, train_small, write_run
from tests.reporting.browser import browser_page, find_browser
from tests.reporting.test_page_in_browser import IMAGES_THAT_DO_NOT_SHOW

COLLAPSE = history_row(0.50, 0.0, loss=1.1)
GOOD = [history_row(0.95, 0.90, loss=0.5), history_row(0.99, 0.70, loss=0.3), history_row(0.991, 0.95, loss=0.28)]
"""Epoch 1 is recommended: epoch 2 has a little more AUC and far more K-S."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real trainings without plots: two with the same test jets, one on other files that are not the demo."""
    folder = tmp_path_factory.mktemp("analysis")
    files = write_training_files(folder, 600, 400)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    others = write_training_files(elsewhere, 500, 400, seed=11)
    for file, kind in zip(others, ("main", "control"), strict=True):
        scaling = Scaling(min_jet_pt=0, max_jet_pt=500)
        write_jets(file, read_jets(file), JetMetadata(stage="built", kind=kind, scaling=scaling))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        train_small(files, folder / "runs", model_name="plain", adversary_weight=0.0, keep_weights="all")
        train_small(files, folder / "runs", model_name="fight", adversary_weight=1.0, keep_weights="all", note="a | b")
        train_small(others, folder / "runs", model_name="data", epochs=2, keep_weights="all")
    return folder / "runs"


def settings_of(runs: Path, report: Path, *names: str, **changes: Any) -> AnalyzeSettings:
    quick = {"replicas": 20, "best_of_each": 1, "plotted_epochs": 2, "device": "cpu"}
    return AnalyzeSettings.make(
        runs_to_analyze=list(names), output_path=runs, output_report=report / "analyze.md", **{**quick, **changes}
    )


def analyze(runs: Path, report: Path, *names: str, **changes: Any) -> tuple[AnalysisResult, str]:
    result = analyze_runs(settings_of(runs, report, *names, **changes))
    return result, plain(result.report.read_text("utf-8"))


def plain(markdown: str) -> str:
    return markdown.replace("\\", "").replace("\xa0", " ")


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AnalysisResult, str]:
    """The page on all runs."""
    return analyze(trained, tmp_path_factory.mktemp("page"))


def test_all_finished_runs_are_looked_at_when_none_is_named_and_the_page_says_so(
    whole: tuple[AnalysisResult, str],
) -> None:
    result, page = whole
    assert result.runs == ("plain/00000", "fight/00000", "data/00000")
    assert result.failures == ()
    assert "plain/00000, fight/00000, data/00000 (all finished runs in" in page


def test_runs_on_other_files_are_a_group_of_their_own_with_a_recommended_epoch(
    whole: tuple[AnalysisResult, str],
) -> None:
    result, page = whole
    assert len(result.recommended) == 2
    assert result.recommended[1].startswith("data/00000/")
    assert "ranked within groups of the same data only" in page
    assert "## Group 1: plain/00000, fight/00000 (main.parquet + control.parquet)" in page
    assert "## Group 2: data/00000" in page


def test_the_page_has_every_part(whole: tuple[AnalysisResult, str]) -> None:
    _, page = whole
    for title in (
        "Which epoch",
        "Shortlisted epochs",
        "On the test part",
        "Signal efficiencies",
        "Histories",
        "Outputs",
    ):
        assert page.count(f"### {title}\n") == 2
    for title in ("Training parameters", "Versions"):
        assert page.count(f"## {title}\n") == 1
    for table in ("AUC and K-S sum on the test part", "Rejection 1/fpr of QCD alone", "Rejection 1/fpr of BIB alone"):
        assert page.count(f"**{table}") == 2
    assert "**Differences to " in page


def test_the_importance_of_inputs_of_each_recommended_epoch_is_shown_if_it_is_asked_for(
    trained: Path, whole: tuple[AnalysisResult, str], tmp_path: Path
) -> None:
    assert "Importance of inputs" not in whole[1]
    how: dict[str, int] = {"importance": 2, "importance_jets": 80, "replicas": 0}
    result, page = analyze(trained, tmp_path, "data/0", **how)
    assert [each.network for each in result.importances] == list(result.recommended)
    assert page.count("## Importance of inputs\n") == 1
    assert {"importance", "importance_kinds"} <= set(result.figures())
    assert re.search(r"\| \*\*tracks\*\* \| all \| -?\d\.\d{4} ± \d\.\d{4} \(\d\.\d{4}\) \|", page)
    assert re.search(r"\| clus_time \| clusters \| -?\d", page)
    stored = json.loads((tmp_path / "analyze.importance.json").read_text("utf-8"))
    assert [each["network"] for each in stored] == list(result.recommended)
    assert stored[0]["inputs"][0]["name"] == "jet_pt"
    run = Run(trained / "data" / "00000")
    assert read_importance(run.importance_file) == (result.importances[0].network, result.importances[0].importances)
    of_run = run.page_file.read_text("utf-8")
    assert "Importance of the inputs</h2>" in of_run
    assert "clus_time" in of_run
    assert {"importance", "importance_kinds"} <= {drawing.name for drawing in run.drawings}


def test_every_image_of_the_page_is_there_and_shows(
    whole: tuple[AnalysisResult, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    result, page = whole
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
    assert len(images) == len(set(images))
    assert all((result.report.parent / image).is_file() for image in images)
    find_browser()
    with browser_page(tmp_path_factory.mktemp("browser")) as browser:
        for width in (1280, 390):
            browser.open(result.page, width)
            assert browser.ask(IMAGES_THAT_DO_NOT_SHOW) == []
            assert browser.ask("document.querySelectorAll('main img').length") == len(images)
            assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.complaints == []


def test_the_newest_epoch_has_the_auc_that_the_training_wrote(trained: Path, tmp_path: Path) -> None:
    settings = settings_of(trained, tmp_path, "plain/0", best_of_each=3)
    (group,) = choose_runs(settings).groups
    newest = next(each for each in with_results(shortlist(group, 3), settings) if each.epoch == 2)
    assert newest.result is not None
    record = group.runs[0].run
    assert newest.result.aucs[0].value == pytest.approx(record.recorded_number("test", "auc"), abs=1e-9)
    assert newest.result.efficiency_ratio == pytest.approx(record.recorded_number("test", "max_efficiency_ratio"))
    written = sum(record.recorded_number("test", f"ks_{output}_hist") or 0.0 for output in ("qcd", "sig", "bib"))
    assert newest.result.ks_sum.value == pytest.approx(written, abs=1e-9)
    interval = newest.result.aucs[0].interval
    assert interval.low < interval.value < interval.high


def test_each_group_has_the_label_of_its_own_data(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple[str, float | None]] = {}

    def written(self: Report) -> None:
        for labels, drawing in self._drawings:
            drawn[drawing.name] = (labels.experiment, labels.luminosity_fb)

    monkeypatch.setattr(Report, "write", written)
    analyze_runs(settings_of(trained, tmp_path))
    assert drawn["auc_ks"] == ("demo", None)
    assert drawn["auc_ks_2"] == ("ATLAS", None)
    assert {label for name, (label, _) in drawn.items() if name.startswith("fight")} == {"demo"}
    assert {label for name, (label, _) in drawn.items() if name.startswith("data")} == {"ATLAS"}


def test_epochs_of_validation_parts_of_different_size_are_drawn_on_a_common_scale(tmp_path: Path) -> None:
    for name, ks, expected in (("large", 0.5, 0.3), ("small", 0.9, 0.8)):
        rows = [history_row(auc, ks, expected=expected) for auc in (0.98, 0.99)]
        write_run(tmp_path / name / "00000", rows)
    analyze(tmp_path, tmp_path, "large/0", "small/0")
    assert Image.open(tmp_path / "analyze_figures" / "auc_ks.png").size == (800, 600)


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces each figure by a white pixel, because drawing takes most of the time of a small page."""
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(pixel, "PNG")

    def written(self: Drawing, folder: Path, labels: FigureLabels) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.png").write_bytes(pixel.getvalue())
        return [folder / f"{self.name}.png"]

    monkeypatch.setattr(Drawing, "write", written)


@pytest.mark.usefixtures("blank_figures")
def test_sculpting_is_shown_of_the_recommended_epochs_where_it_is_asked_for(trained: Path, tmp_path: Path) -> None:
    result, page = analyze(trained, tmp_path, "plain/0", "fight/0", sculpting=True)
    assert "Is a mass sculpted?" in page
    assert page.index("| plain/00000/", page.index("Mistag at fixed")) < page.index("Is a mass sculpted?") + 5000
    assert (tmp_path / "analyze_figures" / "sculpting_cluster_mass_90.png").is_file()
    assert result.failures == ()


@pytest.fixture
def by_hand(tmp_path: Path, blank_figures: None) -> Path:
    """Good run, run with an epoch in which all outputs are the same, and interrupted run."""
    write_run(tmp_path / "good" / "00000", GOOD, settings={"learning_rate": 0.01})
    write_run(
        tmp_path / "fight" / "00000", [history_row(0.97, 0.9, loss=0.6), COLLAPSE], settings={"adversary_weight": 1}
    )
    stopped = {"status": "interrupted", "test": None}
    write_run(tmp_path / "stopped" / "00000", [history_row(0.98, 1.5, loss=0.4)], stopped)
    return tmp_path


def test_one_epoch_is_recommended_over_all_runs_and_never_one_at_chance(by_hand: Path) -> None:
    result, page = analyze(by_hand, by_hand, "good/0", "fight/0", "stopped/0")
    assert result.recommended == ("good/00000/1",)
    assert "Of 6 epochs of 3 runs, **good/00000/1** is recommended" in page
    assert "of the epochs on the Pareto front" in page


def test_the_shortlist_has_the_best_by_each_criterion_and_is_sorted_by_validation_loss(by_hand: Path) -> None:
    (group,) = choose_runs(settings_of(by_hand, by_hand, "good/0", "fight/0")).groups
    candidates = shortlist(group, 1)
    reasons = {each.name: each.reasons for each in candidates}
    assert reasons == {
        "good/00000/2": ("validation loss",),
        "good/00000/1": ("recommended", "K-S"),
        "good/00000/0": ("adversary", "discriminator"),
        "fight/00000/0": ("recommended of its run", "validation loss", "adversary", "discriminator"),
        "fight/00000/1": ("K-S",),
    }
    assert [each.name for each in candidates] == list(reasons)
    assert [each.name for each in candidates if each.classifies] == ["good/00000/2", "good/00000/1"]
    table = epoch_table("best", candidates, candidates[1])
    assert table.rows[1][0] == Markup("**good/00000/1**")
    assert table.rows[1][2:6] == ("0.3000", "0.700", "0.450\xa0±\xa00.090", "+2.8")


def test_settings_that_differ_and_that_are_the_same_stand_in_two_tables(by_hand: Path) -> None:
    (group,) = choose_runs(settings_of(by_hand, by_hand, "good/0", "fight/0")).groups
    differing, same = setting_tables(group.runs)
    assert set(differing.columns) == {"run", "model_name", "learning_rate", "agreement_strength"}
    values = dict(zip(differing.columns, differing.rows[0], strict=True))
    assert (values["run"], values["learning_rate"], values["agreement_strength"]) == ("good/00000", "0.01", "10.0")
    assert ("num_splits", "50") in same.rows
    assert not {row[0] for row in same.rows} & set(differing.columns)


def test_what_a_run_lacks_is_said_and_the_rest_goes_on(by_hand: Path) -> None:
    result, page = analyze(by_hand, by_hand, "good/0", "stopped/0")
    (failure,) = result.failures
    assert failure[0] == "good/00000"
    assert "test_sample.parquet: no such file" in failure[1]
    assert "stopped/00000 has no test figures: its state is interrupted" in page
    assert "good/00000 has no test figures" in page
    assert "the run has no test jets" in page


def test_a_run_that_is_not_finished_is_named_when_it_is_passed_over(by_hand: Path) -> None:
    result, page = analyze(by_hand, by_hand)
    assert set(result.runs) == {"good/00000", "fight/00000"}
    assert "stopped/00000 is left out: its state is interrupted" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good/7", "no run 7"),
        ("nothing/0", "no model nothing"),
        ("good", "is no run"),
        ("good/best", "is no run"),
        ("rubbish/0", "history.json: is no valid JSON"),
        ("empty/0", "no finished epoch"),
    ],
)
def test_a_named_run_that_cannot_be_used_is_a_failure_and_the_others_are_analyzed(
    by_hand: Path, name: str, said: str
) -> None:
    write_run(by_hand / "empty" / "00000", [])
    (write_run(by_hand / "rubbish" / "00000", []).path / "history.json").write_text("[3, 4")
    result, page = analyze(by_hand, by_hand, name, "stopped/0")
    ((failed, why),) = result.failures
    assert name in (failed, failed.replace("/00000", "/0"))
    assert said in why
    assert result.runs == ("stopped/00000",)
    assert "could not be used" in page


def test_a_run_named_by_its_folder_is_the_same_run_and_two_of_one_name_are_refused(
    by_hand: Path, tmp_path: Path
) -> None:
    result, _ = analyze(by_hand, by_hand, "fight/0", str(by_hand / "fight" / "00000"))
    assert result.runs == ("fight/00000",)
    other = tmp_path / "other" / "fight" / "00000"
    shutil.copytree(by_hand / "fight" / "00000", other)
    with pytest.raises(ConfigError, match=r"are both called fight/00000; analyze one at a time"):
        analyze(by_hand, by_hand, "fight/0", str(other))


def test_without_any_run_nothing_is_written_and_the_reasons_are_told(by_hand: Path, tmp_path: Path) -> None:
    for names, said in ((("good/7", "x/0"), "none of the runs"), ((), "no finished run")):
        if not names:
            shutil.rmtree(by_hand / "good")
            shutil.rmtree(by_hand / "fight")
        with pytest.raises(NothingToAnalyze, match=said) as caught:
            analyze_runs(settings_of(by_hand, tmp_path, *names))
        assert ("no run 7" if names else "stopped/00000 (interrupted)") in str(caught.value)
    assert not (tmp_path / "analyze.md").exists()


def test_where_no_epoch_has_what_the_rule_looks_at_none_is_recommended(by_hand: Path) -> None:
    write_run(by_hand / "old" / "00000", [{"val_original_lossf": 0.5}, {"val_original_lossf": 0.4}])
    result, page = analyze(by_hand, by_hand, "old/0")
    assert result.recommended == ()
    assert "**No epoch** of 2 epochs of 1 run" in page
    assert "`--rule validation-loss` does without it" in page
    assert "there is nothing to compare" in page
    assert "auc_ks" not in page
    assert analyze(by_hand, by_hand, "old/0", rule="validation-loss")[0].recommended == ("old/00000/1",)


def test_an_epoch_at_chance_that_is_recommended_for_want_of_a_better_is_called_that(by_hand: Path) -> None:
    write_run(by_hand / "chance" / "00000", [COLLAPSE])
    assert "hardly classifies" in analyze(by_hand, by_hand, "chance/0")[1]


@pytest.mark.usefixtures("blank_figures")
def test_damage_to_some_files_of_a_run_costs_their_part_of_the_page_only(trained: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(trained, runs)
    run = Run(runs / "plain" / "00000")
    shutil.rmtree(run.path / "histograms")
    for epoch in range(3):
        run.weights_file(epoch).with_suffix(".safetensors").write_bytes(b"no network")
    (run.path / "keras" / "final_model.safetensors").unlink()
    (run.path / "keras" / "final_model.keras").unlink()
    (runs / "fight" / "00000" / "control_test_sample.parquet").write_bytes(b"PAR1 and no more")
    result, page = analyze(runs, tmp_path, "plain/0", "fight/0")
    assert len(result.recommended) == 1
    failures = dict(result.failures)
    assert "control_test_sample.parquet" in failures.pop("fight/00000")
    assert failures
    assert all(re.search(r"final_model_weights_\d\.safetensors: is not as run plain", why) for why in failures.values())
    assert re.search(r"final_model_weights_\d\.safetensors", page)  # the shortlisted epochs are random
    assert "fight/00000 has no test figures" in page


def test_the_best_of_a_row_is_bold_unless_it_does_not_classify(trained: Path, tmp_path: Path) -> None:
    settings = settings_of(trained, tmp_path, "plain/0", "fight/0", best_of_each=3)
    (group,) = choose_runs(settings).groups
    candidates = with_results(shortlist(group, 3), settings)
    table = efficiency_table(candidates)
    assert table is not None
    assert [row[:2] for row in table.rows] == [
        ("125", "50"),
        ("600", "50"),
        ("all signal", ""),
        ("QCD", ""),
        ("BIB", ""),
    ]
    classify = [each.classifies for each in candidates if each.result is not None]
    for row, best in zip(table.rows, (max, max, max, min, min), strict=True):
        values = [float(re.match(r"[\d.]+", cell.replace("*", "").replace("\\", "")).group()) for cell in row[2:]]  # type: ignore[union-attr]
        wanted = best(value for value, judged in zip(values, classify, strict=True) if judged)
        bold = [value for value, cell in zip(values, row[2:], strict=True) if isinstance(cell, Markup)]
        assert set(bold) == {wanted}


@pytest.mark.usefixtures("blank_figures")
def test_the_same_seed_gives_the_same_page(trained: Path, tmp_path: Path) -> None:
    pages = [analyze(trained, tmp_path / name, "fight/0")[1] for name in ("first", "second")]
    assert pages[0] == pages[1]


def test_errors_stand_behind_their_figure() -> None:
    assert plain(interval_words(Interval(0.99, 0.985, 1.0), 3)) == "0.990 +0.010 -0.005"
    assert plain(interval_words(Interval(0.5, 0.4, 0.6), 1, "+")) == "+0.5 ± 0.1"
    assert interval_words(Interval(0.5, float("nan"), float("nan")), 1) == "0.5"
    assert interval_words(Interval(float("nan"), 0.0, 0.0), 1) == "-"
