import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from cal_ratio_trainer.evaluation.ks import expected_ks
from cal_ratio_trainer.evaluation.overtraining import overtraining
from cal_ratio_trainer.jets.labels import Label

from .jets import jets_on_signal_output, plausible_jets


def test_the_distance_by_hand() -> None:
    # Train 0.2, 0.6; test 0.4, 0.8: between 0.2 and 0.4 half of train is below and none of test.
    found = overtraining(jets_on_signal_output([0.2, 0.6], [], []), jets_on_signal_output([0.4, 0.8], [], []))
    comparison = found.distance(Label.SIGNAL, Label.SIGNAL)
    assert comparison.distance == pytest.approx(0.5)
    assert comparison.reference == expected_ks(2, 2)
    assert math.isnan(found.distance(Label.QCD, Label.SIGNAL).distance)
    assert found.train.linear[Label.SIGNAL].jets.tolist() == [2, 0, 0]


def test_each_label_on_each_output_is_that_of_scipy() -> None:
    train, test = (
        replace(jets, weights=np.ones(len(jets))) for jets in (plausible_jets(500, 1), plausible_jets(300, 2))
    )
    found = overtraining(train, test)
    assert len(found.distances) == 9
    for output in Label:
        for label in Label:
            first, second = train.sample(label, output), test.sample(label, output)
            expected = ks_2samp(first.values, second.values).statistic
            assert found.distance(label, output).distance == pytest.approx(expected)


def test_identical_samples_have_no_distance() -> None:
    jets = plausible_jets(200)
    assert all(each.comparison.distance == pytest.approx(0, abs=1e-12) for each in overtraining(jets, jets).distances)
