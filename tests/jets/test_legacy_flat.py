"""Flat frames of the earlier program, in and out."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.cleaning import is_built
from cal_ratio_trainer.jets.legacy.frames import SLOT_COLUMNS, name_of_today, names_in_frame
from cal_ratio_trainer.jets.legacy.pickles import read_frame
from cal_ratio_trainer.jets.loading import open_jets, read_jets, writing_layout
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.schema import TRACKS
from tests.factories.files import write_flat
from tests.factories.jets import assert_same_constituents, converted_jets, converted_metadata

BUILT = JetMetadata(stage="built")


def flat_frame(jets: Jets) -> pd.DataFrame:
    """Frame of the earlier program for these jets: double columns, empty slots 0."""
    columns: dict[str, Any] = {name: jets[name] for name in jets.scalars.column_names if name != "source_file"}
    for kind in CONSTITUENTS:
        padded = jets.constituents[kind.name].padded(kind.limit).astype(np.float64)
        for slot in range(kind.limit):
            columns |= dict(zip(kind.flat_columns(slot), padded[:, slot].T, strict=True))
    return pd.DataFrame(columns)


def save(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a pickle or Parquet file, by the suffix; column names as pandas stored them before version 3."""
    frame = frame.copy()
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    frame.to_pickle(path) if path.suffix == ".pkl" else frame.to_parquet(path)
    return path


FORMATS = pytest.mark.parametrize("ending", ["pkl", "parquet"])


@FORMATS
@given(count=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_flat_is_read_again(tmp_path: Path, ending: str, count: int, seed: int) -> None:
    jets, path = converted_jets(count, seed=seed), tmp_path / f"jets.{ending}"
    write_flat(path, jets, converted_metadata())
    found = read_jets(path)
    assert_same_constituents(found, jets)
    for name in ("label", "jet_pt", "jet_eta", "jet_phi", "eventNumber", "runNumber", "mcEventWeight", "llp_mH"):
        np.testing.assert_array_equal(found[name], jets[name])


@FORMATS
def test_more_jets_than_are_held_at_once_are_written_and_read(tmp_path: Path, ending: str) -> None:
    jets, path = converted_jets(9000), tmp_path / f"jets.{ending}"
    write_flat(path, jets, converted_metadata())
    assert_same_constituents(read_jets(path), jets)
    batches = list(open_jets(path).batches(1000))
    assert max(map(len, batches)) == 1000
    assert_same_constituents(Jets.concatenate(batches), jets)


@FORMATS
def test_pandas_reads_what_is_written_with_the_columns_of_the_earlier_program(tmp_path: Path, ending: str) -> None:
    jets, path = converted_jets(5), tmp_path / f"jets.{ending}"
    write_flat(path, jets, converted_metadata())
    frame = pd.read_pickle(path) if ending == "pkl" else pd.read_parquet(path)  # noqa: S301
    assert frame.shape == (5, 815)
    assert [name for name in frame.columns if name in set(SLOT_COLUMNS)] == list(SLOT_COLUMNS)
    expected = flat_frame(jets)
    common = [name for name in frame.columns if name in expected]
    np.testing.assert_array_equal(frame[common].to_numpy(float), expected[common].to_numpy(float))
    assert frame.index.tolist() == [0, 1, 2, 3, 4]
    assert {str(frame[name].dtype) for name in ("label", "eventNumber", "runNumber")} == {"int64", "uint64", "uint32"}


@FORMATS
def test_a_built_file_has_one_scalar_less(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"jets.{ending}"
    write_flat(path, converted_jets(2).without_columns(["jet_isClean_LooseBadLLP"]), BUILT)
    frame = pd.read_pickle(path) if ending == "pkl" else pd.read_parquet(path)  # noqa: S301
    assert frame.shape == (2, 814)
    assert "jet_isClean_LooseBadLLP" not in frame


@FORMATS
@pytest.mark.parametrize(("metadata", "columns"), [(BUILT, 814), (converted_metadata(), 815)])
def test_no_jets_make_a_frame_of_no_rows(tmp_path: Path, ending: str, metadata: JetMetadata, columns: int) -> None:
    path = tmp_path / f"jets.{ending}"
    write_flat(path, Jets.empty() if columns == 814 else converted_jets(0), metadata)
    assert len(read_jets(path)) == 0
    frame = pd.read_pickle(path) if ending == "pkl" else pd.read_parquet(path)  # noqa: S301
    assert frame.shape == (0, columns)


def test_unknown_values_are_filled_as_the_earlier_program_did_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jets = converted_jets(2).without_columns(["llp_mH", "mcEventWeight"])
    write_flat(tmp_path / "jets.pkl", jets, converted_metadata())
    found = read_jets(tmp_path / "jets.pkl")
    assert found["llp_mH"].tolist() == [0, 0]
    assert found["mcEventWeight"].tolist() == [1, 1]
    assert "mcEventWeight (2)" in caplog.text


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(name: str) -> None:
        with writing_layout(tmp_path / name, "flat") as writer:
            writer.write(converted_jets(3))
            raise KeyError

    for name in ("jets.pkl", "jets.parquet"):
        with pytest.raises(KeyError):
            fail(name)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_of_pandas_3_with_arrow_text_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "new.pkl"
    pd.DataFrame({"label": [0]}).rename(columns={"label": "label"}).to_pickle(path)
    with pytest.raises(InputFileError, match="given as Parquet") if pd.__version__ >= "3" else nullcontext():
        read_frame(path)


@pytest.mark.parametrize("prefix", ["nn_", "aux_"])
@FORMATS
def test_old_names_are_read_and_old_extras_dropped(tmp_path: Path, prefix: str, ending: str) -> None:
    jets = converted_jets(4)
    frame = flat_frame(jets)
    old = {name: prefix + name.replace("track_pt", "track_pT") for name in SLOT_COLUMNS}
    old |= {"jet_pt": f"{prefix}jet_pT", "llp_mH": "mH"}
    frame = frame.rename(columns=old)
    frame["track_sign"], frame["clus_sign"], frame["track_vertex_x_3"] = 1.0, 1.0, 5.0
    loaded = open_jets(save(frame, tmp_path / f"old.{ending}"))
    assert_same_constituents(loaded.load(), jets)
    np.testing.assert_array_equal(loaded.load()["jet_pt"], jets["jet_pt"])
    np.testing.assert_array_equal(loaded.load()["llp_mH"], jets["llp_mH"])
    assert not {"track_sign", "clus_sign", "track_vertex_x_3", "mH"} & set(loaded.scalar_names())


def test_where_an_old_and_a_new_name_are_there_the_new_one_counts() -> None:
    needed = ["label", "jet_pt", "jet_eta", "jet_phi", *SLOT_COLUMNS]
    for first in (["mH", "llp_mH"], ["llp_mH", "mH"]):
        assert names_in_frame(Path("frame"), [*first, *needed])["llp_mH"] == "llp_mH"
    assert name_of_today("HLT_jet_pT") == "HLT_jet_pt"


@FORMATS
def test_empty_slots_that_hold_nan_are_empty(tmp_path: Path, ending: str) -> None:
    jets = converted_jets(6)
    frame = flat_frame(jets)
    slots = list(SLOT_COLUMNS)
    frame[slots] = frame[slots].where(frame[slots] != 0, np.nan)
    assert_same_constituents(read_jets(save(frame, tmp_path / f"nan.{ending}")), jets)


@FORMATS
def test_slots_that_an_earlier_build_scaled_keep_their_padding_row(tmp_path: Path, ending: str) -> None:
    jets = converted_jets(6)
    scaled = {}
    for kind, padding in zip(CONSTITUENTS, (-8.7e-5, -0.087, 0.0), strict=True):
        row = np.zeros(len(kind.features), dtype=np.float32)
        row[0] = padding
        ragged = jets.constituents[kind.name]
        scaled[kind.name] = Ragged(ragged.values, ragged.offsets, row)
    given_jets = Jets(jets.scalars, scaled)
    loaded = open_jets(save(flat_frame(given_jets), tmp_path / f"old.{ending}"))
    assert_same_constituents(loaded.load(), given_jets)
    np.testing.assert_allclose(loaded.metadata.padding["tracks"][0], -0.087, rtol=1e-6)
    assert is_built(loaded.metadata, loaded.load())


@FORMATS
def test_what_a_frame_does_not_know_becomes_null_and_is_said_once(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    frame = flat_frame(converted_jets(3)).drop(columns=["runNumber", "llp_mH"])
    frame["eventNumber"] = np.array([2.0**31, 2.0**31 + 1, 5], dtype=np.float32)
    with caplog.at_level(logging.WARNING):
        loaded = open_jets(save(frame, tmp_path / f"felix.{ending}"))
        jets = read_jets(loaded.path)
    for name in ("runNumber", "llp_mH", "llp_Lxy", "eventNumber"):
        assert jets.scalars.column(name).null_count == 3, name
    assert set(loaded.report.absent) >= {"runNumber", "llp_mH", "llp_Lxy", "eventNumber"}
    assert sum("therefore unknown" in record.message for record in caplog.records) == 1


@FORMATS
def test_further_scalars_travel_with_the_jets(tmp_path: Path, ending: str) -> None:
    frame = flat_frame(converted_jets(3))
    frame["flatWeight"] = np.array([1, 2, 3], dtype=np.float32)
    path = save(frame, tmp_path / f"more.{ending}")
    assert read_jets(path)["flatWeight"].tolist() == [1, 2, 3]
    assert open_jets(path).scalars(["flatWeight", "runNumber"]).column("flatWeight").to_pylist() == [1, 2, 3]


@FORMATS
def test_missing_columns_are_told_together(tmp_path: Path, ending: str) -> None:
    frame = flat_frame(converted_jets(2)).drop(columns=["jet_eta", "clus_time_7", "MSeg_t0_28", "MSeg_t0_29"])
    with pytest.raises(MissingColumn) as caught:
        read_jets(save(frame, tmp_path / f"less.{ending}"))
    assert caught.value.missing == ["MSeg_t0_28..29", "clus_time_7", "jet_eta"]
    assert f"less.{ending}" in str(caught.value)


@FORMATS
def test_a_frame_of_something_else_is_told_in_few_words(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame({"x": [1.0]})
    with pytest.raises(MissingColumn, match=r"clus_pt_0\.\.29") as caught:
        read_jets(save(frame, tmp_path / f"other.{ending}"))
    assert len(str(caught.value)) < 2000


@FORMATS
@pytest.mark.parametrize("label", [3, 0.5, np.nan])
def test_an_unknown_label_is_named(tmp_path: Path, ending: str, label: float) -> None:
    frame = flat_frame(converted_jets(2))
    frame["label"] = np.array([0, label])
    with pytest.raises(InputFileError, match=f"label {label}"):
        read_jets(save(frame, tmp_path / f"label.{ending}"))


@FORMATS
@pytest.mark.parametrize("value", [-999.0, -99.0, 1e3])
def test_a_number_that_stands_for_an_empty_slot_is_named(tmp_path: Path, ending: str, value: float) -> None:
    frame = flat_frame(converted_jets(3))
    for name in TRACKS.flat_columns(19):
        frame[name] = np.array([0.0, value, 0.0], dtype=np.float32)
    with pytest.raises(InputFileError, match=rf"holds {value:g} in all features of slot 19 of tracks"):
        read_jets(save(frame, tmp_path / f"sentinel.{ending}"))


@FORMATS
def test_flags_where_numbers_are_expected_are_named(tmp_path: Path, ending: str) -> None:
    frame = flat_frame(converted_jets(2))
    frame["clus_pt_3"] = np.array([True, False])
    with pytest.raises(InputFileError, match="column clus_pt_3 holds something else than numbers"):
        read_jets(save(frame, tmp_path / f"flags.{ending}"))
