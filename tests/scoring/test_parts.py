"""Each jet is marked with the part it had in a training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.datasets.splits import split_jets
from cal_ratio_trainer.datasets.used_events import EVENTS_FILE, EventGroup, words_by
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.parts import JetPart, parts_by_events, unknown_parts
from cal_ratio_trainer.scoring.score import score_files
from tests.factories.files import write_built, write_converted
from tests.factories.jets import mixed_jets, synthetic_jets
from tests.scoring.small import score_settings, small_run

RunWithFiles = tuple[Run, Path, Path]
WORDS = [part.word for part in JetPart]


def parts_in(file: Path) -> np.ndarray:
    """Parts in a file of scores, as numbers."""
    return np.array([WORDS.index(word) for word in pq.read_table(file).column("part").to_pylist()])


def split_of(run: Run, file: Path) -> np.ndarray:
    """The parts that the run's split gives the jets of a file."""
    return split_jets(read_jets(file), sample_fraction=0.8, train_fraction=0.6, seed=3).part


def score(folder: Path, run: Path, file: Path) -> np.ndarray:
    """Scores a file with a copy of a run; returns the parts."""
    shutil.copytree(run, folder / "default" / "00000", dirs_exist_ok=True)
    score_files(score_settings(folder, [file], "default/0"))
    return parts_in(folder / "scores" / f"{file.stem}.parquet")


def test_the_jets_of_both_training_files_have_the_parts_of_the_split(trained: RunWithFiles, tmp_path: Path) -> None:
    run, *files = trained
    for file in files:
        parts = score(tmp_path, run.path, file)
        np.testing.assert_array_equal(parts, split_of(run, file))
        assert set(parts) == {JetPart.TRAIN, JetPart.VALIDATION, JetPart.TEST, JetPart.UNSEEN}


def test_the_test_sample_is_of_the_test_part(trained: RunWithFiles, tmp_path: Path) -> None:
    run, *_ = trained
    assert set(score(tmp_path, run.path, run.path / "test_sample.parquet")) == {JetPart.TEST}


def test_other_events_are_unseen_and_the_same_ones_are_known_in_any_order(
    trained: RunWithFiles, tmp_path: Path
) -> None:
    run, main, _ = trained
    others = synthetic_jets(np.ones(100, dtype=int), seed=99).with_columns({"eventNumber": 50_000 + np.arange(100)})
    assert set(score(tmp_path, run.path, write_built(tmp_path / "others.parquet", others))) == {JetPart.UNSEEN}
    jets = read_jets(main)
    order = np.random.default_rng(5).permutation(len(jets))[:200]
    shuffled = write_built(tmp_path / "shuffled.parquet", jets.take(order))
    np.testing.assert_array_equal(score(tmp_path, run.path, shuffled), split_of(run, main)[order])


def test_other_jets_with_the_event_numbers_of_jets_trained_on_are_noticed(
    trained: RunWithFiles, tmp_path: Path
) -> None:
    run, main, _ = trained
    shutil.copytree(run.path, tmp_path / "default" / "00000")
    jets = read_jets(main)
    older = write_built(tmp_path / "older.parquet", jets.with_columns({"jet_eta": -jets["jet_eta"]}))
    summary = score_files(score_settings(tmp_path, [main, older], "default/0"))
    trained_on = int(np.count_nonzero(split_of(run, main) == JetPart.TRAIN))
    (note,) = [note for note in summary.notes_of_files() if "other contents" in note]
    assert note.startswith(f"older.parquet: {trained_on} jets have the event numbers of jets trained on")
    np.testing.assert_array_equal(parts_in(tmp_path / "scores" / "older.parquet"), split_of(run, main))


def test_a_list_of_the_first_version_says_nothing_of_contents(trained: RunWithFiles, tmp_path: Path) -> None:
    run, main, _ = trained
    folder = tmp_path / "default" / "00000"
    shutil.copytree(run.path, folder)
    events = pq.ParquetFile(folder / EVENTS_FILE)
    without = events.read().drop_columns("marks").replace_schema_metadata(events.metadata.metadata)
    pq.write_table(without, folder / EVENTS_FILE)
    jets = read_jets(main)
    older = write_built(tmp_path / "older.parquet", jets.with_columns({"jet_eta": -jets["jet_eta"]}))
    summary = score_files(score_settings(tmp_path, [older], "default/0"))
    assert not [note for note in summary.notes_of_files() if "other contents" in note]
    np.testing.assert_array_equal(parts_in(tmp_path / "scores" / "older.parquet"), split_of(run, main))


def test_a_run_without_the_list_knows_its_own_files_only(trained: RunWithFiles, tmp_path: Path) -> None:
    run, main, _ = trained
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / EVENTS_FILE).unlink()
    np.testing.assert_array_equal(score(tmp_path, tmp_path / "run", main), split_of(run, main))
    copy = write_built(tmp_path / "copy.parquet", read_jets(main))
    shutil.copytree(tmp_path / "run", tmp_path / "again" / "default" / "00000")
    summary = score_files(score_settings(tmp_path / "again", [copy, main], "default/0"))
    assert set(parts_in(tmp_path / "again" / "scores" / "copy.parquet")) == {JetPart.UNKNOWN}
    (note,) = [note for note in summary.notes_of_files() if "left no list" in note]
    assert note.startswith("copy.parquet: ")


def test_a_file_of_a_run_named_by_its_path_belongs_to_the_run(trained: RunWithFiles, tmp_path: Path) -> None:
    run, main, _ = trained
    score_files(score_settings(tmp_path, [main], run.path / "keras" / "final_model.keras"))
    np.testing.assert_array_equal(parts_in(tmp_path / "scores" / "main.parquet"), split_of(run, main))


def test_a_split_by_row_is_known_by_the_direction_of_the_jets(tmp_path: Path) -> None:
    run, main, _ = small_run(tmp_path, split="row")
    jets = read_jets(main)
    expected = split_jets(jets, sample_fraction=0.8, train_fraction=0.6, seed=3, by_row=True).part
    score_files(score_settings(tmp_path, [main], "default/0"))
    np.testing.assert_array_equal(parts_in(tmp_path / "scores" / "main.parquet"), expected)
    assert run.name == "default/00000"


def test_a_network_without_a_run_knows_nothing(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "jets.parquet", mixed_jets(10))
    score_files(score_settings(tmp_path, [file], network))
    assert set(parts_in(tmp_path / "scores" / "jets.parquet")) == {JetPart.UNKNOWN}
    assert set(unknown_parts(mixed_jets(5))) == {JetPart.UNKNOWN}


def group(jets: Jets, columns: tuple[str, ...], part: JetPart = JetPart.TRAIN, sample: str = "main") -> EventGroup:
    """A group of all events of some jets."""
    words = np.unique(words_by(columns, jets))
    runs = tuple(np.unique(jets["runNumber"]).tolist()) if "runNumber" in columns else ()
    marks = np.full(len(words), 2**64 - 1, dtype=np.uint64)
    return EventGroup(sample, columns, words, np.full(len(words), part, dtype=np.int8), marks, runs)


ALL = ("mcChannelNumber", "runNumber", "eventNumber")
DATA = ("runNumber", "eventNumber")


def test_the_lower_part_of_both_files_counts() -> None:
    jets = mixed_jets(10)
    groups = [group(jets, ALL, JetPart.TEST), group(jets, ALL, JetPart.TRAIN, "control")]
    assert set(parts_by_events(groups, jets)) == {JetPart.TRAIN}


def test_data_are_unseen_where_the_run_knew_simulation_by_its_channel_and_other_runs_of_data() -> None:
    simulation, data = mixed_jets(10), mixed_jets(10, seed=2, runNumber=np.full(10, 358031))
    groups = [group(simulation, ALL), group(data, DATA)]
    new = mixed_jets(10, seed=3, runNumber=np.full(10, 358031)).without_columns(["mcChannelNumber"])
    assert set(parts_by_events(groups, new)) == {JetPart.UNSEEN}
    known = data.without_columns(["mcChannelNumber"])
    assert set(parts_by_events(groups, known)) == {JetPart.TRAIN}


def test_simulation_without_its_channel_is_unknown_where_the_run_told_it_apart_by_that() -> None:
    groups = [group(mixed_jets(10), ALL)]
    assert set(parts_by_events(groups, mixed_jets(10).without_columns(["mcChannelNumber"]))) == {JetPart.UNKNOWN}
    assert set(parts_by_events(groups, mixed_jets(10).without_columns(["eventNumber"]))) == {JetPart.UNKNOWN}
    assert set(parts_by_events(groups, mixed_jets(10).without_columns(["runNumber", "mcChannelNumber"]))) == {
        JetPart.UNKNOWN
    }


def test_a_run_that_knew_less_is_held_against_the_same_columns() -> None:
    jets = mixed_jets(10)
    groups = [group(jets, DATA)]
    assert set(parts_by_events(groups, jets)) == {JetPart.TRAIN}
    assert set(parts_by_events(groups, mixed_jets(10, seed=2))) == {JetPart.UNSEEN}


def test_jets_without_event_numbers_are_known_by_their_direction() -> None:
    jets = mixed_jets(10).without_columns(["eventNumber"])
    groups = [group(mixed_jets(10), ()), group(mixed_jets(10, seed=2), ALL)]
    assert set(parts_by_events(groups, jets)) == {JetPart.TRAIN}
    assert set(parts_by_events(groups, mixed_jets(10, seed=5).without_columns(["eventNumber"]))) == {JetPart.UNSEEN}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_every_event_of_a_group_is_found_and_no_other(numbers: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    used = set(rng.choice(31, 12, replace=False).tolist())
    listed = mixed_jets(len(used), eventNumber=np.array(sorted(used)))
    jets = mixed_jets(len(numbers), seed=2, eventNumber=np.array(numbers))
    parts = parts_by_events([group(listed, ALL)], jets)
    assert [part == JetPart.TRAIN for part in parts] == [number in used for number in numbers]


def test_a_damaged_list_is_an_error_that_names_it(trained: RunWithFiles, tmp_path: Path) -> None:
    from cal_ratio_trainer.errors import InputFileError

    run, main, _ = trained
    shutil.copytree(run.path, tmp_path / "run")
    events = tmp_path / "run" / EVENTS_FILE
    events.write_bytes(events.read_bytes()[:-50])
    with pytest.raises(InputFileError, match=EVENTS_FILE):
        score(tmp_path, tmp_path / "run", main)


def test_masses_of_integers_or_nulls_do_no_harm(network: Path, tmp_path: Path) -> None:
    jets = mixed_jets(10, llp_mH=pa.nulls(10, pa.float32()), llp_mS=np.zeros(10))
    file = write_converted(tmp_path / "jets.parquet", jets)
    summary = score_files(score_settings(tmp_path, [file], network))
    assert json.dumps(summary.files[0].notes)
    assert pq.read_table(tmp_path / "scores" / "jets.parquet").column("llp_mH").null_count == 10
