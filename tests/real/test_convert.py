"""Conversions of the real ntuples, compared with those of the earlier program."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.schema import CONSTITUENTS
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple import ConversionRow, Status, convert_files

pytestmark = pytest.mark.real

SIGNAL = "sig_311314_bad_object_small.root"
REFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "sig_311314__as_sig": (SIGNAL, {"data_type": "sig", "llp_mH": 125, "llp_mS": 55}),
    "sig_311314__as_qcd": (SIGNAL, {"data_type": "qcd"}),
    "bib__as_bib": ("bib.root", {"data_type": "bib"}),
    "short__as_qcd": ("short_divert_analysis_file.root", {"data_type": "qcd"}),
    "bib__as_qcd_nomc": ("bib.root", {"data_type": "data"}),
}
MATCHED_BY = ["runNumber", "eventNumber", "jet_pt"]


def converted(file: Path, folder: Path, **settings: Any) -> ConversionRow:
    """Converts one file."""
    made = ConvertSettings.make(input_files=[str(file)], output_path=folder, **settings)
    return convert_files(made).rows[0]


def flat(jets: Jets) -> pd.DataFrame:
    """All numbers of the jets under the earlier program's names."""
    columns: dict[str, Any] = {name: jets[name] for name in jets.scalars.column_names}
    for kind in CONSTITUENTS:
        padded = jets.constituents[kind.name].padded(kind.limit)
        for slot in range(kind.limit):
            columns |= dict(zip(kind.flat_columns(slot), padded[:, slot].T, strict=True))
    return pd.DataFrame(columns)


def reference(real: Path, name: str) -> pd.DataFrame:
    """Result of the earlier program."""
    frame = pd.read_parquet(real / "reference" / "convert" / f"{name}.parquet")
    return frame.rename(columns={"llp_pT": "llp_pt"})


@pytest.mark.parametrize("chunk_events", [1, 7, 4000])
@pytest.mark.parametrize("name", REFERENCES)
def test_conversions_agree_with_the_earlier_program(real: Path, tmp_path: Path, name: str, chunk_events: int) -> None:
    file, settings = REFERENCES[name]
    row = converted(real / "ntuples" / file, tmp_path, chunk_events=chunk_events, **settings)
    assert row.status is Status.CONVERTED, row.reason
    assert row.output is not None
    expected = reference(real, name).sort_values(MATCHED_BY).reset_index(drop=True)
    ours = flat(read_jets(row.output)).sort_values(MATCHED_BY).reset_index(drop=True)
    if settings["data_type"] == "data":
        expected = expected.drop(columns=["label"])
    assert len(ours) == len(expected)
    assert set(expected.columns) <= set(ours.columns)
    for column in expected.columns:
        theirs = expected[column].to_numpy()
        if np.issubdtype(theirs.dtype, np.integer):
            np.testing.assert_array_equal(ours[column].to_numpy(), theirs, err_msg=column)
        else:
            np.testing.assert_allclose(ours[column].to_numpy(), theirs, rtol=1e-6, atol=0, err_msg=column)


def test_control_data_carry_their_label_and_weight_one(real: Path, tmp_path: Path) -> None:
    row = converted(real / "ntuples" / "bib.root", tmp_path, data_type="data")
    assert row.output is not None
    jets = read_jets(row.output)
    assert set(jets.label) == {2}
    assert set(jets["mcEventWeight"]) == {1.0}


def test_data_are_no_multijet_simulation(real: Path, tmp_path: Path) -> None:
    row = converted(real / "ntuples" / "bib.root", tmp_path, data_type="qcd")
    assert row.status is Status.FAILED
    assert "mcEventWeight" in row.reason
    assert "data_type data" in row.reason


def test_data_are_no_signal(real: Path, tmp_path: Path) -> None:
    row = converted(real / "ntuples" / "bib.root", tmp_path, data_type="sig", llp_mH=125, llp_mS=55)
    assert row.status is Status.FAILED
    assert "llp_Lxy" in row.reason


def test_a_file_without_tagged_trigger_jets_has_no_bib_jets_but_seven_of_data(real: Path, tmp_path: Path) -> None:
    file = real / "ntuples" / "bib_25563461_slice_error.root"
    as_bib = converted(file, tmp_path / "bib", data_type="bib")
    as_data = converted(file, tmp_path / "data", data_type="data")
    assert (as_bib.status, as_bib.jets) == (Status.NO_JETS, 0)
    assert (as_data.status, as_data.jets) == (Status.CONVERTED, 7)
    assert as_bib.output is not None
    assert len(read_jets(as_bib.output)) == 0
    assert read_metadata(as_bib.output).cutflow[-1].jets == 0


def test_an_empty_tree_keeps_its_normalisation(real: Path, tmp_path: Path) -> None:
    row = converted(real / "ntuples" / "empty_divert_analysis_file.root", tmp_path, data_type="qcd")
    assert row.status is Status.EMPTY
    assert row.output is not None
    metadata = read_metadata(row.output)
    assert metadata.rows == 0
    assert metadata.normalisation is not None
    assert metadata.normalisation.event_count["sumOfWeights initial"] == 1_200_000.0
    assert metadata.normalisation.events_read == 0


def test_a_conversion_says_where_it_comes_from(real: Path, tmp_path: Path) -> None:
    file = real / "ntuples" / SIGNAL
    row = converted(file, tmp_path, data_type="qcd", min_jet_pt=50)
    assert row.output is not None
    metadata = read_metadata(row.output)
    assert metadata.simulation is None
    assert metadata.inputs[0].size_bytes == file.stat().st_size
    assert metadata.normalisation is not None
    assert metadata.normalisation.channel_numbers == [311314]
    assert metadata.normalisation.run_numbers == [284500]
    assert metadata.normalisation.sum_of_weights_read == pytest.approx(2.91920301e-6)
    assert metadata.cutflow[0].step == "read"
    assert (metadata.cutflow[0].events, metadata.cutflow[0].jets) == (100, 950)
    jets = read_jets(row.output)
    assert np.all(np.diff(jets["source_entry"]) >= 0)
    assert set(jets["mcChannelNumber"]) == {311314}


def test_the_official_scores_are_those_of_the_jets_that_are_kept(real: Path, tmp_path: Path) -> None:
    score = "jet_nn_calRatio_main_sig_lowMass_v3Adv"
    row = converted(real / "ntuples" / SIGNAL, tmp_path, data_type="qcd", keep_branches=[score, "pileupWeight"])
    assert row.output is not None
    jets = read_jets(row.output)
    assert len(jets) == 109
    assert np.all(jets[score] >= 0), "-1 is the score of a jet that the C++ did not take"
    assert np.all(jets["pileupWeight"] > 0)
