"""A fraction of a file of jets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building import ResampleSummary, build_training_file, resample_file
from cal_ratio_trainer.building.resample import sample_by_label
from cal_ratio_trainer.config.build import ResampleSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import DataType
from cal_ratio_trainer.jets.loading import OutputExists, open_jets, read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import read_metadata
from tests.building.jet_files import settings_for, write_converted
from tests.factories.files import write_flat
from tests.factories.jets import converted_jets


def resampled(source: Path, output: Path, fraction: float, **changes: Any) -> ResampleSummary:
    """Resamples a file."""
    made = ResampleSettings.make(input_file=str(source), output_file=output, fraction=fraction, **changes)
    return resample_file(made)


@pytest.fixture
def main_file(tmp_path: Path) -> Path:
    """A main file with unequal classes."""
    counts = {DataType.SIGNAL: 40, DataType.QCD: 100, DataType.BIB: 10}
    inputs = [write_converted(tmp_path, count, kind) for kind, count in counts.items()]
    build_training_file(settings_for(tmp_path / "main.parquet", *inputs))
    return tmp_path / "main.parquet"


def test_a_fraction_keeps_the_shares_of_the_classes_and_the_order(main_file: Path) -> None:
    output = main_file.with_name("part.parquet")
    summary = resampled(main_file, output, 0.3)
    jets, whole = read_jets(output), read_jets(main_file)
    assert {label: int(np.sum(jets.label == label)) for label in (0, 1, 2)} == {0: 30, 1: 12, 2: 3} == summary.taken
    assert np.all(np.diff(jets["jet_id"]) > 0)
    expected = whole.take(jets["jet_id"])
    np.testing.assert_array_equal(jets["jet_pt"], expected["jet_pt"])
    np.testing.assert_array_equal(jets.constituents["tracks"].values, expected.constituents["tracks"].values)
    assert "signal" in summary.as_text()


def test_the_file_says_that_it_is_a_part_and_stays_built(main_file: Path) -> None:
    output = main_file.with_name("part.parquet")
    resampled(main_file, output, 0.3)
    found, given_metadata = read_metadata(output), read_metadata(main_file)
    assert (found.stage, found.kind, found.scaling) == ("built", "main", given_metadata.scaling)
    assert any("a random 0.3 of the jets" in note for note in found.notes)
    assert found.rows == 45
    assert found.options["resample"]["fraction"] == 0.3


def test_the_same_seed_gives_the_same_jets(main_file: Path) -> None:
    ids = []
    for number, seed in enumerate((1, 1, 2)):
        output = main_file.with_name(f"{number}.parquet")
        resampled(main_file, output, 0.5, seed=seed)
        ids.append(read_jets(output)["jet_id"].tolist())
    assert ids[0] == ids[1] != ids[2]


def test_any_format_goes_in_and_the_name_says_what_comes_out(tmp_path: Path) -> None:
    jets = converted_jets(20).without_columns(["mcChannelNumber", "jet_index"])
    write_flat(tmp_path / "in.pkl", jets, JetMetadata(stage="converted"))
    write_flat(tmp_path / "in.parquet", jets, JetMetadata(stage="converted"))
    for source in ("in.pkl", "in.parquet"):
        for output, layout in (("out.pkl", "pickled frame"), ("out.parquet", "ragged Parquet")):
            resampled(tmp_path / source, tmp_path / output, 0.5, overwrite=True)
            loaded = open_jets(tmp_path / output)
            assert (loaded.report.layout, len(loaded.load())) == (layout, 10)


def test_a_class_that_is_lost_is_warned_of(main_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    resampled(main_file, main_file.with_name("part.parquet"), 0.04)
    assert "no jet of label 2 is left" in caplog.text


def test_an_output_that_exists_or_is_the_input_is_refused(main_file: Path) -> None:
    output = main_file.with_name("part.parquet")
    resampled(main_file, output, 0.5)
    with pytest.raises(OutputExists):
        resampled(main_file, output, 0.5)
    with pytest.raises(InputFileError, match="is an input"):
        resampled(main_file, main_file, 0.5, overwrite=True)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_fractions_lie_above_0_and_up_to_1(fraction: float) -> None:
    flags = {"input_file": "a", "output_file": "b", "fraction": fraction}
    with pytest.raises(ConfigError, match="fraction"):
        load_settings(ResampleSettings, None, flags)


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=60), st.floats(0.01, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_samples_are_distinct_rising_and_of_the_right_size(labels: list[int], fraction: float, seed: int) -> None:
    given_labels = np.array(labels, dtype=np.int8)
    taken = sample_by_label(given_labels, fraction, np.random.default_rng(seed))
    assert np.all(np.diff(taken) > 0)
    for label in (0, 1, 2):
        there, found = labels.count(label), int(np.sum(given_labels[taken] == label))
        assert abs(found - fraction * there) <= 0.5 + 1e-9
