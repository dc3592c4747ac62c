import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.reporting.training_details import (
    run_commands,
    training_details,
    training_details_text,
    training_summary,
)
from tests.factories.runs import history_row, write_run
from tests.factories.scored_jets import at_mistag, plausible_control_jets, plausible_jets


@pytest.fixture(scope="module")
def figures() -> TestFigures:
    # Signal: three of four correct. QCD: two of two correct. BIB: one of two classified as QCD.
    right = {0: [0.8, 0.1, 0.1], 1: [0.1, 0.7, 0.2], 2: [0.2, 0.1, 0.7]}
    labels = np.array([1, 1, 1, 1, 0, 0, 2, 2])
    scores = np.array([right[int(label)] for label in labels])
    scores[3], scores[7] = [0.6, 0.3, 0.1], [0.6, 0.2, 0.2]
    masses = np.array([125.0, 125.0, 600.0, 600.0, 0, 0, 0, 0])
    jets = ScoredJets(scores, labels, np.ones(8), {"mH": masses, "mS": masses / 10})
    random = np.random.default_rng(1)
    control = ScoredJets.control(
        random.dirichlet((1, 1, 1), 60), np.arange(60) % 2 == 0, np.ones(60), np.repeat([0.1, 0.3], 30)
    )
    return at_mistag(evaluate_test_sample(jets, control, jets), jets, 0.5)


def rows_of(figures: TestFigures, title: str) -> list[tuple[str, ...]]:
    (table,) = [table for table in training_details(figures) if table.title.startswith(title)]
    return list(table.rows)


def test_every_area_is_listed_with_the_counts_it_depends_on(figures: TestFigures) -> None:
    rows = rows_of(figures, "Area under")
    # Signal at 0.7 or 0.3 is above all background (0.2 at most).
    assert rows == [
        ("all", "QCD + 0.1 BIB", "4", "2", "2", "1.00000"),
        ("all", "QCD", "4", "2", "0", "1.00000"),
        ("all", "BIB", "4", "0", "2", "1.00000"),
        ("mH125.0", "QCD + 0.1 BIB", "2", "2", "2", "1.00000"),
        ("mH600.0", "QCD + 0.1 BIB", "2", "2", "2", "1.00000"),
    ]


def test_a_rejection_of_everything_is_a_lower_limit(figures: TestFigures) -> None:
    rows = rows_of(figures, "Rejection")
    assert [row[:2] for row in rows] == [
        ("all", "QCD + 0.1 BIB"),
        ("all", "QCD"),
        ("all", "BIB"),
        ("mH125.0", "QCD + 0.1 BIB"),
        ("mH600.0", "QCD + 0.1 BIB"),
        ("mH125.0", "QCD"),
        ("mH600.0", "QCD"),
    ]
    assert all(cell.startswith("> ") for row in rows for cell in row[2:])


def test_the_working_point_by_hand(figures: TestFigures) -> None:
    # QCD has two equal scores of 0.1: neither may pass. Everything else is above 0.1, BIB's 0.1 and 0.2 in half.
    (row,) = rows_of(figures, "Jets that pass the cut at which 50 % of QCD may pass")
    assert row[0] == "0.100000"
    assert [cell.split()[0] for cell in row[1:]] == ["100.00", "0.00", "50.00"]


def test_the_same_jets_in_train_and_test_are_at_no_distance(figures: TestFigures) -> None:
    rows = rows_of(figures, "K-S of train and test")
    assert [row[:3] for row in rows][:2] == [("QCD", "QCD", "0.0000"), ("QCD", "signal", "0.0000")]
    assert len(rows) == 9


def test_efficiencies_by_mass_and_for_all(figures: TestFigures) -> None:
    rows = rows_of(figures, "Signal jets whose")
    assert [row[:3] for row in rows] == [("125", "12.5", "2"), ("600", "60", "2"), ("all", "all", "4")]
    assert [row[3].split()[0] for row in rows] == ["100.0", "50.0", "75.0"]


def test_confusion_by_hand(figures: TestFigures) -> None:
    assert rows_of(figures, "Jets by label") == [
        ("QCD", "2 (100.0 %)", "0 (0.0 %)", "0 (0.0 %)"),
        ("signal", "1 (25.0 %)", "3 (75.0 %)", "0 (0.0 %)"),
        ("BIB", "1 (50.0 %)", "0 (0.0 %)", "1 (50.0 %)"),
    ]


def test_a_range_without_jets_is_unknown_and_so_is_the_sum(figures: TestFigures) -> None:
    rows = rows_of(figures, "K-S of MC")
    assert [row[1] for row in rows] == ["low", "mid", "high", "sum"] * 3
    assert rows[2][2:] == ("-", "-", "-", "-")
    assert rows[3][2] == "-"
    assert "±" in rows[0][3]


def test_a_classifier_s_auc_stands_beside_that_of_identical_distributions() -> None:
    found = evaluate_test_sample(plausible_jets(50), plausible_control_jets(300), c2st_seed=1)
    rows, result = rows_of(found, "C2ST"), found.c2st
    assert result is not None
    assert [row[0] for row in rows] == ["all", "low", "mid", "high"]
    assert rows[0][1] == f"{result.overall.auc:.4f} ± {result.overall.error:.4f}"
    # The low range has less than 50 jets of a kind.
    assert rows[1] == ("low", "-", "-", "-")
    assert found.numbers()["c2st_excess"] == result.overall.excess


def test_the_text_holds_every_cell_and_lines_up(figures: TestFigures) -> None:
    text = training_details_text(figures)
    for table in training_details(figures):
        assert table.title in text
        for row in table.rows:
            assert any(all(cell in line for cell in row) for line in text.splitlines())
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_without_control_jets_there_is_no_ks_table() -> None:
    figures = evaluate_test_sample(ScoredJets(np.array([[0.2, 0.5, 0.3]]), np.array([1]), np.ones(1)))
    assert "K-S of" not in training_details_text(figures)
    assert "S/sqrt(B), relative" in training_details_text(figures)


def test_a_training_ends_with_ten_lines(figures: TestFigures, tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00003", [history_row(0.9, 0.5), history_row(0.8, 0.6)])
    lines = training_summary(run, figures).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("run m/00003: 2 epochs in 6 min 30 s")
    (auc,) = [line for line in lines if line.startswith("test part")]
    assert "AUC 1.0000: against QCD 1.0000, BIB 1.0000; accuracy 75.0 %" in auc
    assert "recommended    epoch 0, by the validation part: AUC 0.9000, K-S sum 0.500" in "\n".join(lines)
    assert f"cr_trainer score FILES... m/3/best --output_path {tmp_path}" in lines[8]
    assert max(map(len, lines[:6])) <= 120


@pytest.mark.parametrize(
    ("auc", "error", "guesses"), [(0.53, 0.02, True), (0.45, 0.01, True), (0.45, None, True), (0.55, 0.02, False)]
)
def test_a_network_that_guesses_is_not_recommended_for_use(
    auc: float, error: float | None, guesses: bool, figures: TestFigures, tmp_path: Path
) -> None:
    row = history_row(auc, 0.5) | ({} if error is None else {"val_auc_error": error})
    said = training_summary(write_run(tmp_path / "m" / "00003", [row]), figures)
    assert ("does not tell signal from background: validation AUC 0." in said) == guesses
    assert ("convert training" not in said) == guesses
    assert ("--continue 3" in said) == guesses


@pytest.mark.parametrize("changes", [{}, {"folds": 2}, {"seeds": 2}])
def test_the_command_line_takes_the_commands_that_a_run_names(changes: dict[str, int], tmp_path: Path) -> None:
    run = write_run(tmp_path / "all runs" / "m" / "00003", [history_row(0.9, 0.5)], settings=changes)
    wanted = {
        "score": {"training: m/3/best", "- FILES..."},
        "convert": {"training: m/3/best"},
        "analyze": {"- m/3"},
        "train": {"model_name: m"},
        "watch": {"run: m/3"},
    }
    commands = {shlex.split(each)[1]: shlex.split(each)[1:] for each in run_commands(run).values()}
    assert commands.keys() == wanted.keys()
    for name, words in commands.items():
        result = CliRunner().invoke(cr_trainer(), [*words, "--print_settings"])
        assert result.exit_code == 0, result.output
        # A long path is folded over two lines.
        shown = " ".join(result.output.split())
        assert all(setting in shown for setting in (*wanted[name], f"output_path: {tmp_path}/all runs")), shown
