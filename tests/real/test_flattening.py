"""Flat weights of the real control region, compared with its own flatWeight."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.building.flattening import WeightedPoints, flattened
from cal_ratio_trainer.jets.loading import read_jets

pytestmark = pytest.mark.real

MAX_JET_PT = 500.0


@pytest.mark.parametrize("label", [0, 2])
def test_the_control_region_becomes_flat_within_errors_as_its_own_flat_weight_does(real: Path, label: int) -> None:
    jets = read_jets(real / "frames" / "felix_control_region.pkl")
    jets = jets.where(jets.label == label)
    pt, weights, theirs = MAX_JET_PT * jets["jet_pt"], jets["mcEventWeight"], jets["flatWeight"]
    ours = flattened(WeightedPoints(pt[:, None].astype(np.float64), weights.astype(np.float64)))

    def chi_squared(weights: np.ndarray) -> float:
        sums, squares = (np.histogram(pt, 5, (40, MAX_JET_PT), weights=weights**power)[0] for power in (1, 2))
        return float(np.sum((sums - sums.mean()) ** 2 / squares))

    # Four degrees of freedom: 13.3 is exceeded by chance once in a hundred times.
    assert chi_squared(weights) > 25
    assert chi_squared(theirs) < 13.3
    assert chi_squared(ours) < 13.3
    known = (theirs > 0) & (ours > 0)
    correlation = np.corrcoef(np.log(ours[known]), np.log(theirs[known]))[0, 1]
    assert correlation > 0.9
