"""Runs of version 0.1.0 of 2026-11-28, without digests and run ids, score, continue and export as before.

`old_runs/` was made by that version on synthetic jets, with one thread, by `cr_trainer train --main_training_file
main.parquet --cr_training_file control.parquet --epochs 2 --seed 5 ...` (training_params.yaml holds every option), the
same with `--folds 2`, `cr_trainer score`, and `cr_trainer train --continue 0 --epochs 1` for the history.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.faults.commands import run

pytestmark = pytest.mark.slow

_OLD_RUNS = Path(__file__).with_name("old_runs")


def cr_trainer(*words: object, folder: Path, figures: bool = True) -> str:
    """Output of a command, which must end well."""
    status, said = run(words, folder, figures=figures)
    assert status == 0, said
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the old runs with the files they were trained on."""
    copy = tmp_path_factory.mktemp("old") / "runs"
    shutil.copytree(_OLD_RUNS, copy)
    return copy


@pytest.mark.parametrize("network", ["default/0/1", "folds/0"])
def test_an_old_network_gives_its_scores(network: str, folder: Path) -> None:
    report = f"{network.replace('/', '_')}/report.md"
    cr_trainer("score", "main.parquet", network, "--threads", 1, "--output_report", report, folder=folder)
    table = pq.read_table(folder / report.replace("report.md", "main.parquet"))
    expected = json.loads((_OLD_RUNS / "scores.json").read_text("utf-8"))[network]
    for name, scores in zip(("jet_nn_qcd", "jet_nn_sig", "jet_nn_bib"), expected, strict=True):
        np.testing.assert_allclose(table.column(name).to_numpy(), scores, atol=1e-5)


def test_an_old_run_goes_on_where_it_stopped(folder: Path) -> None:
    said = cr_trainer("train", "--continue", 0, "--epochs", 1, "--threads", 1, folder=folder, figures=False)
    assert said.count("of an earlier version, which kept no digests") == 1
    history = json.loads((folder / "training_results/default/00000/history.json").read_text("utf-8"))
    expected = json.loads((_OLD_RUNS / "continued_history.json").read_text("utf-8"))
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert history[:2] == expected[:2]
    # Three steps: between processors, rounding changes losses by 1e-8; a jet that passes another one, K-S by a step.
    for name in ("original_lossf", "val_original_lossf", "val_original_adv_lossf"):
        assert history[2][name] == pytest.approx(expected[2][name], rel=1e-3), name
    for output in ("qcd", "sig", "bib"):
        error = expected[2][f"ks_{output}_spread"]
        assert history[2][f"ks_{output}_hist"] == pytest.approx(expected[2][f"ks_{output}_hist"], abs=error / 4), output


def test_old_runs_are_listed_analyzed_compared_and_exported(folder: Path) -> None:
    assert "folds/00000" in cr_trainer("runs", folder=folder)
    cr_trainer("analyze", "default/0", folder=folder)
    cr_trainer("compare", "default/0/0", "folds/0", "--threads", 1, "--replicas", 5, folder=folder)
    cr_trainer("convert", "training", "folds/0", "--folds", "--format", "all", folder=folder)
