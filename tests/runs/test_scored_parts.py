from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cal_ratio_trainer.jets.loading import load_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.runs.scored_parts import jet_kinematics, scored_jets


def table(**columns: object) -> pa.Table:
    return pa.table({"label": pa.array([1, 0], pa.int8()), **columns})


def test_pt_comes_back_in_gev_by_the_files_scaling() -> None:
    jets = table(jet_pt=pa.array([0.25, 0.5], pa.float32()))
    for scaling, expected in ((None, [125, 250]), (Scaling(min_jet_pt=40, max_jet_pt=540), [165, 290])):
        pt = jet_kinematics(jets, scaling).pt
        assert pt is not None
        assert pt.tolist() == expected


def test_what_a_file_lacks_is_none_and_what_is_null_is_not_a_number() -> None:
    jets = table(llp_eta=pa.nulls(2), llp_Lxy=pa.array([1500.0, None], pa.float32()), jet_eta=pa.array([1, -1]))
    known = jet_kinematics(jets, None)
    assert (known.pt, known.phi, known.llp_lz) == (None, None, None)
    assert known.llp_eta is not None
    assert known.llp_lxy is not None
    assert known.eta is not None
    assert np.isnan(known.llp_eta).all()
    np.testing.assert_array_equal(known.llp_lxy, [1500, np.nan])
    assert known.eta.tolist() == [1, -1]


def test_masses_may_be_absent() -> None:
    scores = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    jets = scored_jets(table(), scores, np.ones(2), JetMetadata(stage="built"))
    assert jets.higgs_mass is None
    assert jets.higgs_masses == ()


@pytest.mark.real
def test_the_truth_of_real_jets_is_known(real: Path) -> None:
    loaded = load_jets(real / "reference" / "build" / "conv_sig_311314__as_sig.parquet")
    known = jet_kinematics(loaded.jets.scalars, loaded.metadata.scaling)
    assert known.llp_eta is not None
    assert known.llp_lxy is not None
    assert known.llp_lz is not None
    assert known.pt is not None
    barrel = np.abs(known.llp_eta) < 1.4
    assert ((known.llp_lxy[barrel] > 1200) & (known.llp_lxy[barrel] < 4000)).all()
    assert ((np.abs(known.llp_lz[~barrel]) > 3500) & (np.abs(known.llp_lz[~barrel]) < 6000)).all()
    assert ((known.pt >= 40) & (known.pt < 500)).all()


SCORES = ([0.1, 0.7], [0.8, 0.2], [0.1, 0.1])
