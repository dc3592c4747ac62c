"""The real pickled frames of the earlier program."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.jets.cleaning import clean_for_training, is_built
from cal_ratio_trainer.jets.legacy.frames import SLOT_COLUMNS
from cal_ratio_trainer.jets.loading import open_jets, read_jets
from tests.factories.files import write_flat

pytestmark = pytest.mark.real

FRAMES: dict[str, dict[str, Any]] = {
    "bib": {"labels": {2: 558}, "built": True, "absent": []},
    "felix_control_region": {
        "labels": {0: 226, 2: 223},
        "built": True,
        "absent": [
            *("runNumber", "llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz", "eventNumber"),
        ],
    },
    "sig_311424_600_275": {"labels": {1: 76}, "built": False, "absent": []},
    "one_length_file": {"labels": {1: 1}, "built": False, "absent": []},
}


def pandas_frame(path: Path) -> pd.DataFrame:
    """The same file as pandas reads it, under today's names."""
    frame: pd.DataFrame = pd.read_pickle(path)  # noqa: S301 - a file of ours, to compare with
    names = {name: name.replace("track_pT", "track_pt").replace("jet_pT", "jet_pt") for name in frame.columns}
    return frame.rename(columns=names | {"mH": "llp_mH", "mS": "llp_mS"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FRAMES)
def test_the_real_pickles_hold_what_pandas_finds_in_them(real: Path, name: str) -> None:
    path = real / "frames" / f"{name}.pkl"
    loaded, frame = open_jets(path), pandas_frame(path)
    assert set(loaded.report.absent) == set(FRAMES[name]["absent"])
    for kind in CONSTITUENTS:
        padded = loaded.load().constituents[kind.name].padded(kind.limit)
        for slot in range(kind.limit):
            expected = frame[list(kind.flat_columns(slot))].to_numpy(np.float32)
            np.testing.assert_array_equal(padded[:, slot], np.nan_to_num(expected))
    for column in loaded.load().scalars.column_names:
        if column in frame.columns and column not in FRAMES[name]["absent"]:
            np.testing.assert_allclose(loaded.load()[column], frame[column].to_numpy(), rtol=1e-7, err_msg=column)


@pytest.mark.parametrize("name", FRAMES)
def test_labels_and_state_of_the_real_pickles_are_known(real: Path, name: str) -> None:
    loaded = open_jets(real / "frames" / f"{name}.pkl")
    labels, counts = np.unique(loaded.load().label, return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == FRAMES[name]["labels"]
    assert is_built(loaded.metadata, loaded.load()) is FRAMES[name]["built"]


def test_angles_beyond_pi_of_the_control_region_are_reported_and_nothing_else_is_odd(real: Path) -> None:
    _, report = clean_for_training(read_jets(real / "frames" / "felix_control_region.pkl"))
    assert report.non_finite == {}
    assert set(report.beyond_pi) == {"clus_phi", "track_phi", "MSeg_phiPos", "MSeg_phiDir"}


@pytest.mark.parametrize("ending", ["pkl", "parquet"])
@pytest.mark.parametrize("name", ["bib", "sig_311424_600_275"])
def test_a_real_frame_written_flat_is_the_same_to_float32(real: Path, tmp_path: Path, name: str, ending: str) -> None:
    loaded = open_jets(real / "frames" / f"{name}.pkl")
    path = tmp_path / f"again.{ending}"
    write_flat(path, loaded.load(), loaded.metadata)
    again = read_jets(path)
    for kind in CONSTITUENTS:
        one, other = loaded.load().constituents[kind.name], again.constituents[kind.name]
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_array_equal(one.values, other.values)
    columns = set(pd.read_parquet(path).columns) if ending == "parquet" else set()
    assert ending == "pkl" or columns >= set(SLOT_COLUMNS)


@pytest.mark.parametrize("folder", ["convert", "build"])
def test_the_flat_parquet_references_are_read(real: Path, folder: str) -> None:
    for path in sorted((real / "reference" / folder).glob("*.parquet")):
        loaded = open_jets(path)
        assert len(loaded.load()) == loaded.metadata.rows > 0
        assert is_built(loaded.metadata, loaded.load()) is (folder == "build")
