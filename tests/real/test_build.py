"""Training files of the real jets, compared with those of the earlier program's build."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.building.scan import AlreadyBuilt
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.legacy.frames import SLOT_COLUMNS
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.ntuple import convert_files

pytestmark = pytest.mark.real

SIGNAL = "sig_311314_bad_object_small.root"
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "sig_311314__as_sig": (SIGNAL, {"data_type": "sig", "llp_mH": 125, "llp_mS": 55}),
    "sig_311314__as_qcd": (SIGNAL, {"data_type": "qcd"}),
    "bib__as_bib": ("bib.root", {"data_type": "bib"}),
    "short__as_qcd": ("short_divert_analysis_file.root", {"data_type": "qcd"}),
}
WHOLE_NUMBERS = ["label", "eventNumber", "runNumber"]
DECIMALS = ["mcEventWeight", "jet_pt", "jet_eta", "jet_phi"]
TRUTH = ["llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz"]


def built(input_file: Path, output: Path, **settings: Any) -> Jets:
    """The jets of a build of one file."""
    build_training_file(BuildSettings.make(input_files=[str(input_file)], output_file=output, **settings))
    return read_jets(output)


def sorted_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Frame sorted to a common order of both programs."""
    return frame.sort_values(["runNumber", "eventNumber", "jet_pt"]).reset_index(drop=True)


def flat(jets: Jets) -> pd.DataFrame:
    """All numbers of the jets under the earlier program's names."""
    columns: dict[str, Any] = {name: jets[name] for name in [*WHOLE_NUMBERS, *DECIMALS, *TRUTH]}
    for kind in CONSTITUENTS:
        padded = jets.constituents[kind.name].padded(kind.limit)
        for slot in range(kind.limit):
            columns |= dict(zip(kind.flat_columns(slot), padded[:, slot].T, strict=True))
    return pd.DataFrame(columns)


def assert_like_reference(jets: Jets, reference: Path) -> None:
    """Asserts equal integers, and other numbers to 1e-6; empty slots of the earlier program have NaN fractions."""
    ours, theirs = sorted_frame(flat(jets)), sorted_frame(pd.read_parquet(reference))
    assert len(ours) == len(theirs)
    for name in WHOLE_NUMBERS:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    for name in [*DECIMALS, *SLOT_COLUMNS]:
        expected = np.nan_to_num(theirs[name].to_numpy(float))
        np.testing.assert_allclose(ours[name].to_numpy(float), expected, rtol=1e-6, atol=1e-12, err_msg=name)
    for name in TRUTH:
        np.testing.assert_allclose(np.nan_to_num(ours[name]), theirs[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", OWN)
def test_references_of_convert_become_references_of_build(real: Path, tmp_path: Path, name: str, shuffle: bool) -> None:
    jets = built(real / "reference" / "convert" / f"{name}.parquet", tmp_path / "out.parquet", shuffle=shuffle)
    assert_like_reference(jets, real / "reference" / "build" / f"conv_{name}.parquet")


@pytest.mark.parametrize("name", OWN)
def test_our_own_conversions_become_references_of_build(real: Path, tmp_path: Path, name: str) -> None:
    file, settings = OWN[name]
    made = ConvertSettings.make(input_files=[str(real / "ntuples" / file)], output_path=tmp_path / "in", **settings)
    converted = convert_files(made).rows[0].output
    assert converted is not None
    jets = built(converted, tmp_path / "out.parquet")
    assert_like_reference(jets, real / "reference" / "build" / f"conv_{name}.parquet")
    assert jets.is_known("source_entry")
    assert jets.is_known("jet_index")


def test_a_converted_pickle_becomes_the_reference_of_build(real: Path, tmp_path: Path) -> None:
    jets = built(real / "frames" / "sig_311424_600_275.pkl", tmp_path / "out.parquet")
    assert_like_reference(jets, real / "reference" / "build" / "pkl_sig_311424_600_275.parquet")
    assert read_metadata(tmp_path / "out.parquet").stage == "built"


@pytest.mark.parametrize("name", ["bib", "felix_control_region"])
def test_pickles_that_are_built_already_are_refused(real: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(AlreadyBuilt, match="already a training file"):
        built(real / "frames" / f"{name}.pkl", tmp_path / "out.parquet", kind="control" if "felix" in name else "main")
    assert list(tmp_path.iterdir()) == []


def test_a_flat_pickle_of_a_build_has_the_columns_of_the_reference(real: Path, tmp_path: Path) -> None:
    reference = real / "reference" / "build" / "conv_sig_311314__as_qcd.parquet"
    source = real / "reference" / "convert" / "sig_311314__as_qcd.parquet"
    settings = BuildSettings.make(input_files=[str(source)], output_file=tmp_path / "out.pkl", shuffle=False)
    build_training_file(settings)
    ours, theirs = pd.read_pickle(tmp_path / "out.pkl"), pd.read_parquet(reference)  # noqa: S301
    assert list(ours.columns) == list(theirs.columns)
    np.testing.assert_allclose(ours.to_numpy(float), np.nan_to_num(theirs.to_numpy(float)), rtol=1e-6)
