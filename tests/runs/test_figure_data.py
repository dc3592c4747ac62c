"""File with the histograms of an epoch."""

import math
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.histograms import control_histograms
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.runs.figure_data import EpochHistograms, ranges_of


def test_what_is_written_is_read_back_number_for_number(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    jets = ScoredJets.control(random.dirichlet((3, 1, 1), 60), random.random(60) < 0.5, np.ones(60), random.random(60))
    # The last range lacks jets, so its distances are NaN.
    ks = ks_of_control_jets(jets, ranges_of([0.5, 1.5]))
    counts = control_histograms(jets)
    EpochHistograms({"val_adversary": counts}, ks).write(tmp_path / "000.json")
    again = EpochHistograms.read(tmp_path / "000.json")
    assert again.histograms["val_adversary"].to_dict() == counts.to_dict()
    assert again.ks is not None
    assert again.ks.pt_ranges == ks.pt_ranges
    assert again.ks.pt_ranges[2].gev == (750, math.inf)
    assert repr(again.ks) == repr(ks)
    assert math.isnan(again.ks.outputs[0].total)


def test_ranges_are_in_gev_by_the_files_scaling() -> None:
    assert [pt_range.gev for pt_range in ranges_of([0.25, 0.5], Scaling(min_jet_pt=40, max_jet_pt=440))] == [
        (40, 140),
        (140, 240),
        (240, math.inf),
    ]


@pytest.mark.parametrize("content", ["", "[]", '{"main": 3}', '{"main": {"linear": []}}', '{"ks": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "000.json"
    path.write_text(content)
    with pytest.raises(InputFileError, match=r"000\.json: is (not a complete file of histograms|no valid JSON)"):
        EpochHistograms.read(path)
    with pytest.raises(InputFileError, match=r"001\.json: no such histograms"):
        EpochHistograms.read(tmp_path / "001.json")
