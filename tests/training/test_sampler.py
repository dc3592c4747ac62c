"""Jets of a step."""

from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.training.sampler import Sampler

MAIN, CONTROL = np.arange(100), np.arange(100, 130)


def sampler(**changes: Any) -> Sampler:
    return Sampler(**{"main": MAIN, "control": CONTROL, "splits": 7, "seed": 1, "reshuffle": True, **changes})


def test_every_main_jet_comes_once_an_epoch_and_every_control_jet_once_for_the_adversary() -> None:
    steps = sampler().epoch(0)
    assert len(steps) == 7
    np.testing.assert_array_equal(np.sort(np.concatenate([step.main for step in steps])), MAIN)
    np.testing.assert_array_equal(np.sort(np.concatenate([step.update for step in steps])), CONTROL)


def test_the_network_sees_as_many_control_jets_as_main_jets_in_whole_permutations() -> None:
    steps = sampler().epoch(0)
    assert all(len(step.main) == len(step.control) for step in steps)
    drawn = np.concatenate([step.control for step in steps])
    assert set(np.bincount(drawn)[100:]) == {3, 4}
    np.testing.assert_array_equal(np.sort(drawn[:30]), CONTROL)


def test_a_longer_control_region_is_cut() -> None:
    steps = sampler(main=np.arange(20), control=np.arange(100, 200)).epoch(0)
    drawn = np.concatenate([step.control for step in steps])
    assert len(drawn) == 20 == len(set(drawn))


def test_epochs_differ_unless_reshuffling_is_off() -> None:
    assert not np.array_equal(sampler().epoch(0)[0].main, sampler().epoch(1)[0].main)
    fixed = sampler(reshuffle=False)
    np.testing.assert_array_equal(fixed.epoch(0)[0].main, fixed.epoch(1)[0].main)


def test_an_epoch_depends_on_nothing_but_seed_and_number() -> None:
    np.testing.assert_array_equal(sampler().epoch(4)[2].control, sampler().epoch(4)[2].control)


def test_without_control_jets_only_the_main_ones_are_drawn() -> None:
    steps = sampler(control=np.arange(0)).epoch(0)
    assert all(len(step.control) == len(step.update) == 0 for step in steps)


def test_more_splits_than_jets_allow_is_refused_with_the_largest_number() -> None:
    with pytest.raises(ConfigError, match="num_splits is 16, but 30 control-region training jets make 15 at most"):
        sampler(splits=16)
