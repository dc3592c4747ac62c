"""List of events that a run writes."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part, event_words
from cal_ratio_trainer.datasets.used_events import EVENTS_FILE, read_used_events, trained_before, write_used_events
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from tests.factories.files import load_training_data, write_training_files
from tests.factories.jets import synthetic_jets


def data_of(folder: Path, **changes: object) -> TrainingData:
    """Jets that a training on two small files uses."""
    main, control = write_training_files(folder, 600, 400)
    settings = TrainSettings.make(**{"sample_fraction": 0.7, "train_fraction": 0.6, "seed": 5, **changes})
    return load_training_data(settings, main, control)[0]


def test_every_used_event_is_listed_once_with_its_part(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    write_used_events(tmp_path, data, by_row=False)
    groups = read_used_events(tmp_path)
    assert groups is not None
    assert [(group.sample, group.columns) for group in groups] == [
        ("main", ("mcChannelNumber", "runNumber", "eventNumber")),
        ("control", ("mcChannelNumber", "runNumber", "eventNumber")),
    ]
    for group, sample in zip(groups, (data.main, data.control), strict=True):
        words, first = np.unique(event_words(sample.jets)[0], return_index=True)
        np.testing.assert_array_equal(group.words, words)
        np.testing.assert_array_equal(group.part, sample.part[first])
        assert set(group.part) == {Part.TRAIN, Part.VALIDATION, Part.TEST}
        assert group.runs == (284500,)


def test_jets_told_apart_by_other_columns_are_listed_apart(tmp_path: Path) -> None:
    main, control = write_training_files(tmp_path, 600, 400)
    jets = synthetic_jets(np.random.default_rng(1).integers(0, 3, 600), seed=1)
    is_bib = jets.label == 2
    channels = pa.array(jets["mcChannelNumber"].astype(np.uint32), mask=is_bib)
    numbers = pa.array(jets["eventNumber"].astype(np.uint64), mask=np.arange(600) < 50)
    jets = jets.with_columns({"mcChannelNumber": channels, "eventNumber": numbers})
    scaling = Scaling(min_jet_pt=0, max_jet_pt=500)
    write_jets(main, jets, JetMetadata(stage="built", kind="main", simulation="demo", scaling=scaling))
    data, _ = load_training_data(TrainSettings.make(train_fraction=0.6, sample_fraction=1.0), main, control)
    write_used_events(tmp_path, data, by_row=False)
    groups = [group for group in read_used_events(tmp_path) or () if group.sample == "main"]
    assert {group.columns for group in groups} == {
        (),
        ("runNumber", "eventNumber"),
        ("mcChannelNumber", "runNumber", "eventNumber"),
    }
    by_columns = {group.columns: group for group in groups}
    assert len(by_columns[()].words) == 50
    known = np.unique(jets["eventNumber"][is_bib & (np.arange(600) >= 50)])
    assert len(by_columns["runNumber", "eventNumber"].words) == len(known)


def test_a_second_start_adds_to_the_list(tmp_path: Path) -> None:
    first = data_of(tmp_path)
    write_used_events(tmp_path, first, by_row=False)
    before = read_used_events(tmp_path)
    write_used_events(tmp_path, first, by_row=False)
    again = read_used_events(tmp_path)
    assert before is not None
    assert again is not None
    for one, other in zip(before, again, strict=True):
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.part, other.part)
    write_used_events(tmp_path, data_of(tmp_path, seed=6), by_row=False)
    more = read_used_events(tmp_path)
    assert more is not None
    assert len(more[0].words) > len(before[0].words)
    # Jets of an earlier training part stay in it.
    place = np.searchsorted(more[0].words, before[0].words)
    assert (more[0].part[place] <= before[0].part).all()


def test_events_of_an_earlier_training_part_are_counted_and_of_unlike_columns_not_known(tmp_path: Path) -> None:
    data, other_seed = data_of(tmp_path), data_of(tmp_path, seed=6)
    write_used_events(tmp_path, data, by_row=False)
    events = read_used_events(tmp_path) or ()
    assert trained_before(data, False, events) == 0, "the same seed gives the same parts"
    trained, judged = set[int](), set[int]()
    for sample in (data.main, data.control):
        trained |= set(event_words(sample.jets)[0][sample.part == Part.TRAIN].tolist())
    for sample in (other_seed.main, other_seed.control):
        judged |= set(event_words(sample.jets)[0][sample.part != Part.TRAIN].tolist())
    assert trained_before(other_seed, False, events) == len(trained & judged) > 0
    assert trained_before(other_seed, True, events) is None


def test_a_run_without_the_list_has_none_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert read_used_events(tmp_path) is None
    write_used_events(tmp_path, data_of(tmp_path), by_row=True)
    groups = read_used_events(tmp_path)
    assert groups is not None
    assert {group.columns for group in groups} == {()}
    shutil.copy(tmp_path / "main.parquet", tmp_path / EVENTS_FILE)
    with pytest.raises(InputFileError, match="list of a run's events"):
        read_used_events(tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowMemoryError("malloc of size 4096 failed")])
def test_too_little_memory_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: MemoryError
) -> None:
    def no_room(*given: object) -> None:
        raise error

    write_used_events(tmp_path, data_of(tmp_path), by_row=False)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read_row_group", no_room)
    with pytest.raises(InputFileError, match=r"events\.parquet: cannot be read: there is too little memory"):
        read_used_events(tmp_path)
