"""Files of any kind are scored in a stream; outputs are complete or absent."""

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn, SameOutput
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.scoring.scorer import Scorer
from tests.factories.files import SCALING, write_built, write_converted, write_flat
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network
from tests.scoring.small import read_score_description, score_settings, scores_in


def in_memory(network: Path, jets: Jets, masses: np.ndarray | None = None) -> np.ndarray:
    """Scores of scaled jets, all at once."""
    stored = read_own_network(network)
    shape, weights = stored.shape, stored.weights
    classifier = Classifier(shape)
    classifier.set_weights(weights)
    return scores_of(classifier, JetTensors.from_jets([jets], torch.device("cpu"), masses))


def leftovers(folder: Path) -> list[str]:
    """Files that an unfinished write would leave."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


def test_scores_of_a_stream_are_those_of_all_jets_at_once(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.scoring.streams.ROWS_A_BATCH", 64)
    monkeypatch.setattr("cal_ratio_trainer.scoring.score_file._ROWS_A_GROUP", 128)
    jets = scale(mixed_jets(500), SCALING).jets
    summary = score_files(score_settings(tmp_path, [write_built(tmp_path / "built.parquet", jets)], network))
    file = pq.ParquetFile(tmp_path / "scores" / "built.parquet")
    assert file.num_row_groups > 1
    table = file.read()
    np.testing.assert_allclose(scores_in(table), in_memory(network, jets), rtol=0, atol=1e-6)
    assert table.column("eventNumber").to_pylist() == jets["eventNumber"].tolist()
    np.testing.assert_allclose(table.column("jet_pt").to_numpy(), jets["jet_pt"] * 500, rtol=1e-6)
    np.testing.assert_array_equal(table.column("label").to_numpy(), jets.label)
    assert summary.jets == 500
    assert summary.files[0].tally is not None
    assert summary.files[0].tally.fair.rows == 500


def test_converted_and_flat_files_give_the_scores_of_the_training_file(network: Path, tmp_path: Path) -> None:
    jets = mixed_jets(120)
    built = scale(jets, SCALING).jets
    write_flat(tmp_path / "flat.parquet", built, JetMetadata(stage="built", scaling=SCALING))
    write_flat(tmp_path / "frame.pkl", jets, JetMetadata(stage="converted"))
    files = [
        write_built(tmp_path / "built.parquet", built),
        write_converted(tmp_path / "converted.parquet", jets),
        tmp_path / "flat.parquet",
        tmp_path / "frame.pkl",
    ]
    summary = score_files(score_settings(tmp_path, files, network))
    tables = [pq.read_table(file.output) for file in summary.files if file.output is not None]
    assert len(tables) == 4
    for table in tables:
        np.testing.assert_allclose(scores_in(table), scores_in(tables[0]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(table.column("jet_pt").to_numpy(), jets["jet_pt"], rtol=1e-6)


def test_a_file_of_scores_says_what_it_is(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(20))
    score_files(score_settings(tmp_path, [file], network))
    said = read_score_description(tmp_path / "scores" / "jets.parquet")
    assert said["network"] == str(network)
    assert said["scaling"] == {"min_jet_pt": 0.0, "max_jet_pt": 500.0}
    assert said["rows"] == 20
    assert said["jets_by_part"]["unknown"] == 20
    assert any("0 to 500 GeV is assumed" in note for note in said["notes"])


def test_other_scores_of_the_input_go_along_and_its_own_old_ones_do_not(network: Path, tmp_path: Path) -> None:
    official = np.linspace(0, 1, 30)
    columns = {"jet_nn_main_sig_v3": official, "jet_nn_main_sig_v3_index": np.arange(30), "jet_nn_sig": -official}
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(30).with_columns(columns | {"extra": np.arange(30)}))
    score_files(score_settings(tmp_path, [file], network, keep_columns=["extra"]))
    table = pq.read_table(tmp_path / "scores" / "jets.parquet")
    np.testing.assert_array_equal(table.column("jet_nn_main_sig_v3").to_numpy(), official)
    assert table.column("extra").to_pylist() == list(range(30))
    assert "jet_nn_main_sig_v3_index" not in table.column_names
    assert table.column("jet_nn_sig").to_numpy().min() > 0


def test_values_that_are_not_finite_are_read_as_0_and_counted(network: Path, tmp_path: Path) -> None:
    jets = mixed_jets(40)
    jets.constituents["tracks"].values[:3, 4] = np.nan
    jets = jets.with_columns({"mcEventWeight": np.where(np.arange(40) == 7, np.nan, 1.0)})
    file = write_converted(tmp_path / "jets.parquet", jets)
    summary = score_files(score_settings(tmp_path, [file], network))
    assert np.isfinite(scores_in(pq.read_table(tmp_path / "scores" / "jets.parquet"))).all()
    notes = summary.files[0].notes
    assert "3 NaN or infinite values of track_d0 were read as 0" in notes
    assert any(note.startswith("1 jets have a weight") for note in notes)


def test_a_file_without_jets_gives_a_file_without_rows(network: Path, tmp_path: Path) -> None:
    file = write_built(tmp_path / "none.parquet", Jets.empty())
    summary = score_files(score_settings(tmp_path, [file], network))
    table = pq.read_table(tmp_path / "scores" / "none.parquet")
    assert len(table) == summary.jets == 0
    assert {"runNumber", "jet_pt", "jet_nn_sig", "part"} <= set(table.column_names)


def test_a_damaged_file_fails_alone(network: Path, tmp_path: Path) -> None:
    good = write_converted(tmp_path / "good.parquet", mixed_jets(20))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(good.read_bytes()[:-200])
    no_jets = tmp_path / "text.txt"
    no_jets.write_text("hello")
    summary = score_files(score_settings(tmp_path, [damaged, good, no_jets], network))
    assert [file.jets for file in summary.files] == [0, 20, 0]
    assert [file.file for file in summary.failed] == [str(damaged), str(no_jets)]
    assert "not a complete Parquet file" in summary.failed[0].reason
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["good.parquet"]
    with pytest.raises(InputFileError, match="not a complete Parquet file"):
        score_files(score_settings(tmp_path, [damaged], network))


def test_damage_in_the_middle_leaves_nothing_behind(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.jets.store.ROWS_A_GROUP", 100)
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(500))
    content = bytearray(file.read_bytes())
    middle = pq.ParquetFile(file).metadata.row_group(3).column(20).data_page_offset
    content[middle : middle + 2000] = bytes(2000)
    file.write_bytes(content)
    with pytest.raises(InputFileError, match="is damaged"):
        score_files(score_settings(tmp_path, [file], network))
    assert list((tmp_path / "scores").iterdir()) == []


def test_a_missing_column_is_named(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(20))
    table = pq.read_table(file).replace_schema_metadata(pq.ParquetFile(file).metadata.metadata)
    pq.write_table(table.drop_columns(["clus_time"]), tmp_path / "less.parquet")
    with pytest.raises(MissingColumn, match="clus_time"):
        score_files(score_settings(tmp_path, [tmp_path / "less.parquet"], network))
    with pytest.raises(MissingColumn, match="extre"):
        score_files(score_settings(tmp_path, [file], network, keep_columns=["extre"]))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_an_interrupt_leaves_the_old_scores_and_nothing_else(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(50))
    settings = score_settings(tmp_path, [file], network)
    score_files(settings)
    before = (tmp_path / "scores" / "jets.parquet").read_bytes()

    def fail(*given: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", fail)
    with pytest.raises(type(error)):
        score_files(settings)
    assert (tmp_path / "scores" / "jets.parquet").read_bytes() == before
    assert leftovers(tmp_path) == []


def test_remains_of_a_killed_process_are_removed(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(20))
    (tmp_path / "scores").mkdir()
    for name in (".jets.77-0123abcd.part.parquet", ".jets.parquet.0123456789abcdef.piece"):
        (tmp_path / "scores" / name).write_bytes(b"half")
    score_files(score_settings(tmp_path, [file], network))
    assert leftovers(tmp_path) == []


def test_scores_that_another_process_writes_are_left_to_it(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(20))
    with leased(tmp_path / "scores" / "jets.parquet") as lease:
        assert lease is not None
        with pytest.raises(InputFileError, match="another process"):
            score_files(score_settings(tmp_path, [file], network))


@pytest.mark.parametrize(
    ("given", "report", "scores"),
    [
        ("study", "study/report.md", "study/jets.parquet"),
        ("study/", "study/report.md", "study/jets.parquet"),
        ("study/jets.html", "study/jets.md", "study/jets.parquet"),
        ("study.md", "study.md", "study_scores/jets.parquet"),
    ],
)
def test_scores_go_to_the_folder_of_the_report_but_never_to_the_current_one(
    given: str, report: str, scores: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_converted(tmp_path / "files" / "jets.parquet", mixed_jets(10))
    monkeypatch.chdir(tmp_path)
    settings = ScoreSettings.make(input_files=[str(file)], training=str(network), output_report=given, threads=1)
    assert settings.output_report == Path(report)
    (done,) = score_files(settings).files
    assert done.output == Path(scores)
    assert (tmp_path / scores).is_file()
    assert not list(tmp_path.glob("*.parquet"))


def test_outputs_never_replace_inputs_or_what_is_no_file_of_scores(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "scores" / "jets.parquet", mixed_jets(20))
    with pytest.raises(InputFileError, match="is an input"):
        score_files(score_settings(tmp_path, [file], network))
    other = write_converted(tmp_path / "jets.parquet", mixed_jets(20))
    with pytest.raises(InputFileError, match="no file of scores"):
        score_files(score_settings(tmp_path, [other], network))
    (tmp_path / "more").mkdir()
    twin = write_converted(tmp_path / "more" / "jets.parquet", mixed_jets(20))
    with pytest.raises(SameOutput, match="--output_report"):
        score_files(score_settings(tmp_path, [other, twin], network))


def test_a_file_scaled_otherwise_is_refused(network: Path, tmp_path: Path) -> None:
    scaling = Scaling(min_jet_pt=0, max_jet_pt=400)
    file = write_built(tmp_path / "jets.parquet", scale(mixed_jets(20), scaling).jets, scaling)
    with pytest.raises(InputFileError, match="0 to 400 GeV"):
        score_files(score_settings(tmp_path, [file], network))


def test_no_files_and_no_network_are_mistakes_of_the_user(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no files"):
        score_files(score_settings(tmp_path, [], network))
    with pytest.raises(InputFileError, match="no such file"):
        score_files(score_settings(tmp_path, [tmp_path / "nowhere.parquet"], network))
    with pytest.raises(InputFileError, match="matches no file"):
        score_files(score_settings(tmp_path, [tmp_path / "*.root"], network))


@pytest.fixture(scope="module")
def with_masses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that reads mH and mS."""
    from dataclasses import replace

    from cal_ratio_trainer.network.shape import DEFAULT_SHAPE

    shape: NetworkShape = replace(DEFAULT_SHAPE, masses=2)
    return write_network(tmp_path_factory.mktemp("masses") / "masses.keras", shape=shape)


def test_a_hypothesis_counts_for_every_jet(with_masses: Path, tmp_path: Path) -> None:
    jets = mixed_jets(30, llp_mH=np.full(30, 125.0), llp_mS=np.full(30, 55.0))
    file = write_converted(tmp_path / "jets.parquet", jets)
    score_files(score_settings(tmp_path, [file], with_masses, llp_mH=600, llp_mS=150))
    masses = np.tile(np.array([[0.6, 0.15]], dtype=np.float32), (30, 1))
    expected = in_memory(with_masses, scale(jets, SCALING).jets, masses)
    table = pq.read_table(tmp_path / "scores" / "jets.parquet")
    np.testing.assert_allclose(scores_in(table), expected, rtol=0, atol=1e-6)
    assert set(table.column("llp_mH").to_pylist()) == {125.0}


def test_without_a_hypothesis_signal_has_its_own_masses_and_others_are_an_error(
    with_masses: Path, tmp_path: Path
) -> None:
    masses = {"llp_mH": np.repeat([125.0, 600.0], 15), "llp_mS": np.repeat([55.0, 150.0], 15)}
    jets = mixed_jets(30, label=np.ones(30)).with_columns(masses)
    file = write_converted(tmp_path / "jets.parquet", jets)
    score_files(score_settings(tmp_path, [file], with_masses))
    own = np.stack([masses["llp_mH"], masses["llp_mS"]], axis=1).astype(np.float32) / np.float32(1000)
    table = pq.read_table(tmp_path / "scores" / "jets.parquet")
    np.testing.assert_allclose(
        scores_in(table), in_memory(with_masses, scale(jets, SCALING).jets, own), rtol=0, atol=1e-6
    )
    mixed = write_converted(tmp_path / "mixed.parquet", mixed_jets(30).with_columns(masses))
    with pytest.raises(ConfigError, match="--llp_mH"):
        score_files(score_settings(tmp_path, [mixed], with_masses))


def test_the_batches_do_not_outlive_their_turn(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    alive: list[weakref.ref[Jets]] = []
    most = 0
    score = Scorer.scores_and_spread

    def watched(self: Scorer, jets: Jets, labelled: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
        nonlocal most
        alive.append(weakref.ref(jets))
        most = max(most, sum(ref() is not None for ref in alive))
        return score(self, jets, labelled)

    monkeypatch.setattr("cal_ratio_trainer.scoring.streams.ROWS_A_BATCH", 32)
    monkeypatch.setattr(Scorer, "scores_and_spread", watched)
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(640))
    score_files(score_settings(tmp_path, [file], network))
    assert len(alive) == 20
    assert most <= 2


def test_jets_of_a_control_region_are_data_and_mc(network: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    jets = scale(mixed_jets(400, label=rng.choice([0, 2], 400)), SCALING).jets
    file = tmp_path / "control.parquet"
    write_jets(file, jets, JetMetadata(stage="built", kind="control", scaling=SCALING))
    (scored,) = score_files(score_settings(tmp_path, [file], network)).files
    assert scored.tally is not None
    assert {group.name for group in scored.tally.shares.counts} == {"mc", "data"}
    assert scored.tally.fair_main_jets() is None
    control = scored.tally.fair_control_jets()
    assert control is not None
    assert control.is_data.sum() == (jets.label == 2).sum()
    assert control.weights[control.is_data].sum() == pytest.approx(control.weights[~control.is_data].sum())


@pytest.mark.parametrize(("kind", "region"), [(None, "control"), ("control", "control"), ("main", "main")])
def test_a_frame_without_masses_is_a_control_region_unless_it_is_called_main(
    kind: str | None, region: str, network: Path, tmp_path: Path
) -> None:
    write_flat(tmp_path / "whole.pkl", mixed_jets(20), JetMetadata(stage="converted"))
    frame = pd.read_pickle(tmp_path / "whole.pkl")  # noqa: S301 - written one line above
    frame.drop(columns=["llp_mH", "llp_mS"]).to_pickle(tmp_path / "frame.pkl")
    summary = score_files(score_settings(tmp_path, [tmp_path / "frame.pkl"], network, kind=kind))
    assert summary.files[0].tally is not None
    assert summary.files[0].tally.region == region
    assert any("--kind main" in note for note in summary.files[0].notes) == (kind is None)


@pytest.mark.parametrize("is_built", [True, False])
def test_a_pt_that_no_training_takes_is_not_scored(network: Path, tmp_path: Path, is_built: bool) -> None:
    jets = mixed_jets(20)
    jets = scale(jets, SCALING).jets if is_built else jets
    huge = jets.with_columns({"jet_pt": np.where(np.arange(20) == 3, np.float32(1e38), jets["jet_pt"])})
    file = (write_built if is_built else write_converted)(tmp_path / "jets.parquet", huge)
    with pytest.raises(InputFileError, match=r"jets\.parquet: column jet_pt has 1 value up to .* GeV"):
        score_files(score_settings(tmp_path, [file], network))


def test_jets_that_were_never_scaled_or_twice_are_not_scored(network: Path, tmp_path: Path) -> None:
    for jets in (mixed_jets(20), scale(scale(mixed_jets(20), SCALING).jets, SCALING).jets):
        file = write_built(tmp_path / "jets.parquet", jets)
        with pytest.raises(InputFileError, match=r"jets\.parquet: has a median jet_pt of"):
            score_files(score_settings(tmp_path, [file], network))


def test_a_network_before_the_files_is_answered_with_the_right_order(
    trained: tuple[Run, Path, Path], network: Path
) -> None:
    run, main, control = trained
    folder = run.path.parents[1]
    for first in ("default/0/best", "default/0", str(network)):
        told = f"{first} is a network, which comes last: cr_trainer score {control} {main} {first}"
        with pytest.raises(ConfigError, match=re.escape(told)):
            score_files(score_settings(folder, [first, control], main))
