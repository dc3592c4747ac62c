"""Scores of a fold set: each jet by the network that was not trained on its event."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.scoring.compare import compare
from cal_ratio_trainer.scoring.parts import JetPart
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.scoring.scorer import find_scorer
from tests.factories.files import SCALING, write_converted, write_training_files
from tests.factories.jets import mixed_jets
from tests.factories.runs import set_settings, train_set
from tests.scoring.small import read_score_description, score_settings, scores_in

FoldRun = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> FoldRun:
    """A set of two networks: the folder of runs, its main and its control file."""
    folder = tmp_path_factory.mktemp("folds")
    files = write_training_files(folder, 600, 400)
    train_set(set_settings(files, folder, epochs=1, keep_weights="all"))
    return folder, *files


def test_each_jet_gets_the_network_that_has_not_seen_it(trained: FoldRun, tmp_path: Path) -> None:
    folder, main, _ = trained
    scores = {}
    for network in ("default/0/best", "default/0/fold_0/0", "default/0/fold_1/0"):
        settings = score_settings(tmp_path / network.replace("/", "_"), [main], network, output_path=folder)
        (file,) = score_files(settings).files
        assert file.output is not None
        scores[network] = pq.read_table(file.output)
    together = scores["default/0/best"]
    folds = together.column("fold").to_numpy()
    np.testing.assert_array_equal(folds, together.column("eventNumber").to_numpy() % 2)
    assert set(together.column("part").to_pylist()) == {"unseen"}
    for fold in (0, 1):
        alone = scores[f"default/0/fold_{fold}/0"]
        mine = folds == fold
        np.testing.assert_allclose(scores_in(together)[mine], scores_in(alone)[mine], atol=1e-6)
        parts = np.array(alone.column("part").to_pylist())
        assert set(parts[mine]) == {"unseen"}
        assert set(parts[~mine]) == {"train", "validation", "test"}
        assert "fold" not in alone.column_names
    described = read_score_description(tmp_path / "default_0_best" / "scores" / "main.parquet")
    assert described["folds"] == {"count": 2, "fold": "eventNumber % 2"}
    assert described["network"] == "default/00000/best"


def test_jets_without_an_event_number_get_no_score_and_the_file_is_named(trained: FoldRun, tmp_path: Path) -> None:
    folder, main, _ = trained
    without = tmp_path / "without.parquet"
    write_jets(without, read_jets(main).without_columns(["eventNumber"]), JetMetadata(stage="built", scaling=SCALING))
    with pytest.raises(InputFileError, match=r"without\.parquet: has no column eventNumber"):
        score_files(score_settings(tmp_path, [without], "default/0", output_path=folder))
    assert not (tmp_path / "scores" / "without.parquet").exists()


def test_a_jet_of_which_the_run_number_is_not_known_is_unseen_all_the_same(trained: FoldRun) -> None:
    folder, main, _ = trained
    scorer = find_scorer("default/0", score_settings(folder, [], "default/0"))
    jets: Jets = read_jets(main).without_columns(["runNumber"])
    assert set(scorer.lookup(None).parts(jets).tolist()) == {JetPart.UNSEEN}
    assert JetPart.UNKNOWN in scorer.trainings[0].lookup(scorer.name, None, None).parts(jets)


def test_a_file_without_jets_has_the_column_too(trained: FoldRun, tmp_path: Path) -> None:
    empty = write_converted(tmp_path / "empty.parquet", mixed_jets(2).slice(0, 0))
    (file,) = score_files(score_settings(tmp_path, [empty], "default/0", output_path=trained[0])).files
    assert file.output is not None
    assert "fold" in pq.read_table(file.output).column_names


def test_a_set_is_compared_on_all_its_test_jets(trained: FoldRun, tmp_path: Path) -> None:
    folder, main, _ = trained
    given = {"output_report": tmp_path / "report.md", "output_path": folder, "threads": 1, "replicas": 5}
    summary = compare(CompareSettings.make(first="default/0/best", second="default/0/fold_1/last", **given))
    assert (summary.first, summary.second) == ("default/00000/best", "default/00000/fold_1/0")
    for region, file in (("main", "test_sample.parquet"), ("control", "control_test_sample.parquet")):
        jets = summary.samples[region].jets  # type: ignore[index]
        assert len(jets) == len(read_jets(folder / "default" / "00000" / file))
        same = np.all(np.abs(jets.first - jets.second) < 1e-6, axis=1)
        np.testing.assert_array_equal(same, jets.table.column("eventNumber").to_numpy() % 2 == 1)
    on_file = compare(CompareSettings.make(first="default/0", second="default/0/0", input_files=[str(main)], **given))
    assert len(on_file.samples["main"].jets) == 600
    assert on_file.samples["main"].agreement.largest == 0


def test_scores_of_a_set_in_a_file_are_its_own_and_a_wrong_network_is_seen(trained: FoldRun, tmp_path: Path) -> None:
    folder, main, _ = trained
    jets, scores = read_jets(main).slice(0, 40), {}
    for network in ("default/0/best", "default/0/fold_0/best"):
        scorer = find_scorer(network, score_settings(folder, [], network))
        columns = {f"cpp_{name}": scorer.scores(jets)[:, i] for i, name in enumerate(("qcd", "sig", "bib"))}
        file = tmp_path / f"{network.replace('/', '_')}.parquet"
        write_jets(file, jets.with_columns(columns), JetMetadata(stage="built", kind="main", scaling=SCALING))
        given = {"output_report": tmp_path / "report.md", "output_path": folder, "threads": 1, "replicas": 5}
        settings = CompareSettings.make(first="default/0/best", input_files=[str(file)], column="cpp_{}", **given)
        summary = compare(settings)
        scores[network] = summary.samples["main"].agreement.largest
        assert summary.explanation is not None
    assert scores["default/0/best"] < 1e-6 < 1e-4 < scores["default/0/fold_0/best"]
