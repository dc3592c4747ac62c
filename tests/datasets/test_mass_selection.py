"""Low or high masses only, and the masses a parametrised network reads."""

from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.weights import parametrised_masses, select_masses
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import Label
from tests.factories.jets import synthetic_jets

LABELS = np.random.default_rng(1).integers(0, 3, 900)
PARTS = np.random.default_rng(2).integers(0, 3, 900).astype(np.int8)


def only_low(**changes: Any) -> TrainSettings:
    return TrainSettings.make(include_high_mass=False, **changes)


def test_with_low_masses_only_background_is_drawn_down_to_the_signal_that_stays() -> None:
    jets = synthetic_jets(LABELS, 1)
    selected = select_masses(jets, PARTS, only_low())
    for part in (Part.TRAIN, Part.VALIDATION):
        signal = (selected == part) & (jets.label == Label.SIGNAL)
        assert set(jets["llp_mH"][signal]) == {125.0}
        assert signal.sum() == ((part == PARTS) & (jets["llp_mH"] == 125)).sum()
        for label in (Label.QCD, Label.BIB):
            assert ((selected == part) & (jets.label == label)).sum() == signal.sum()


def test_the_test_part_stays_whole() -> None:
    jets = synthetic_jets(LABELS, 1)
    np.testing.assert_array_equal(select_masses(jets, PARTS, only_low()) == Part.TEST, PARTS == Part.TEST)


def test_everything_stays_where_both_or_neither_are_asked_for() -> None:
    jets = synthetic_jets(LABELS, 1)
    for both in (True, False):
        settings = TrainSettings.make(include_low_mass=both, include_high_mass=both)
        np.testing.assert_array_equal(select_masses(jets, PARTS, settings), PARTS)


def test_too_little_background_is_taken_whole_and_said(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([1] * 60 + [0] * 5 + [2] * 60)
    jets, parts = synthetic_jets(labels, 1), np.zeros(125, dtype=np.int8)
    selected = select_masses(jets, parts, only_low())
    assert ((selected == Part.TRAIN) & (jets.label == Label.QCD)).sum() == 5
    assert "only 5 QCD jets" in caplog.text


def test_masses_that_no_signal_has_are_refused_with_those_that_are_there() -> None:
    with pytest.raises(
        ConfigError, match=r"no signal has one of the low masses \[3\.0\]; the file has mH 125, 600 GeV"
    ):
        select_masses(synthetic_jets(LABELS, 1), PARTS, only_low(low_masses=[3.0]))


def test_background_gets_masses_of_signal_drawn_once_and_signal_keeps_its_own() -> None:
    main, control = synthetic_jets(LABELS, 1), synthetic_jets(np.zeros(300, dtype=int), 2)
    masses = parametrised_masses([main, control], ("llp_mH", "llp_mS"), seed=1)
    assert masses is not None
    assert masses.shape == (1200, 2)
    signal = main.label == Label.SIGNAL
    np.testing.assert_allclose(masses[:900][signal, 0], main["llp_mH"][signal] / 1000)
    drawn = np.concatenate([masses[:900][~signal, 0], masses[900:, 0]])
    share = np.mean(main["llp_mH"][signal] == 125)
    assert np.mean(np.isclose(drawn, 0.125)) == pytest.approx(share, abs=0.06)
    np.testing.assert_array_equal(masses, parametrised_masses([main, control], ("llp_mH", "llp_mS"), seed=1))


def test_background_gets_no_mass_that_no_trained_signal_has() -> None:
    jets = synthetic_jets(LABELS, 1)
    trained = select_masses(jets, PARTS, only_low()) == Part.TRAIN
    assert 600 in jets["llp_mH"][jets.label == Label.SIGNAL]
    masses = parametrised_masses([jets], ("llp_mH",), seed=1, trained=trained)
    assert masses is not None
    assert set(masses[jets.label != Label.SIGNAL, 0]) == {np.float32(0.125)}


def test_without_parametrisation_there_are_no_masses() -> None:
    assert parametrised_masses([synthetic_jets(LABELS, 1)], (), seed=1) is None


def test_signal_without_a_mass_cannot_be_parametrised() -> None:
    jets = synthetic_jets(LABELS, 1).with_columns({"llp_mS": np.full(900, np.nan)})
    with pytest.raises(InputFileError, match="signal jets without llp_mH or llp_mS"):
        parametrised_masses([jets], ("llp_mH", "llp_mS"), seed=1)
