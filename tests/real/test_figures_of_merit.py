"""Figures of merit of the earlier program's trained network on the real jets, compared with known values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.efficiencies import confusion_matrix
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.jets.labels import Label

pytestmark = pytest.mark.real

SAMPLES = {"bib_pkl_as_is": Label.BIB, "conv_sig_311314__as_sig": Label.SIGNAL, "felix_control_region": Label.QCD}


def scores_of(frame: pd.DataFrame) -> NDArray[np.float64]:
    return frame[["jet_nn_qcd", "jet_nn_sig", "jet_nn_bib"]].to_numpy(np.float64)


def test_the_real_control_region_shows_no_difference_between_mc_and_data(real: Path) -> None:
    frame = pd.read_parquet(real / "reference" / "scores" / "felix_control_region.parquet")
    is_data = frame["label"].to_numpy() == 2
    weights = np.where(is_data, 1.0, frame["mcEventWeight"])
    jets = ScoredJets.control(scores_of(frame), is_data, weights, frame["jet_pt"].to_numpy())
    bib = ks_of_control_jets(jets)[Label.BIB]
    # 0.55 is above the limit of 0.3, but below the value of so few jets of one distribution.
    assert bib.total == pytest.approx(0.55, abs=0.01)
    assert bib.expected > bib.total
    assert abs(bib.excess) < 1.5
    assert not any(comparison.distance > comparison.reference.critical for comparison in bib.ranges)


def test_the_trained_network_is_right_as_often_as_it_is_known_to_be(real: Path) -> None:
    scores, labels = [], []
    for name, label in SAMPLES.items():
        frame = pd.read_parquet(real / "reference" / "scores" / f"{name}.parquet")
        chosen = frame[frame["label"] == 0] if label == Label.QCD else frame
        scores.append(scores_of(chosen))
        labels.append(np.full(len(chosen), label))
    matrix = confusion_matrix(
        ScoredJets(np.concatenate(scores), np.concatenate(labels), np.ones(sum(map(len, labels))))
    )
    assert np.diag(matrix.shares) == pytest.approx([1.00, 0.71, 0.83], abs=0.006)
