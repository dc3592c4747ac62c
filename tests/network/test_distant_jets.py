"""Batches of jets that are not on the device."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.jets.filling import Disk, Memory, Storage
from cal_ratio_trainer.jets.ragged import ListColumns
from cal_ratio_trainer.network.batch import Batch, JetTensors
from cal_ratio_trainer.network.distant_jets import DistantJets
from cal_ratio_trainer.network.inputs import InputFilling
from tests.factories.jets import synthetic_jets

CPU = torch.device("cpu")
JETS = synthetic_jets(np.arange(60) % 3, 1)
MASSES = np.random.default_rng(2).random((60, 2)).astype(np.float32)
NEAR = JetTensors.from_jets([JETS], CPU, MASSES)


def distant(storage: Storage) -> DistantJets:
    filling = InputFilling(60, {kind.name: 0 for kind in CONSTITUENTS}, storage)
    filling.append({name: ListColumns.of(ragged) for name, ragged in JETS.constituents.items()})
    return DistantJets.of_inputs(filling.finish(), [JETS], CPU, MASSES)


def assert_same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.jet, second.jet)
    for name, branch in first.branches.items():
        other = second.branches[name]
        assert branch.counts == other.counts
        assert torch.equal(branch.values, other.values)
        assert torch.equal(branch.inverse, other.inverse)


@pytest.fixture(params=["memory", "disk"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> DistantJets:
    return distant(Disk(tmp_path) if request.param == "disk" else Memory())


def test_batches_are_those_of_jets_on_the_device_expected_or_not(far: DistantJets) -> None:
    rng = np.random.default_rng(3)
    steps = [rng.permutation(60)[:20] for _ in range(5)]
    far.expect(steps)
    surprise = np.arange(59, 49, -1)
    for jets in steps:
        for asked in (np.tile(jets[:7], 2), jets, surprise, surprise[:3], jets[::-1].copy()):
            assert_same(far.batch(asked), NEAR.batch(asked))
    assert_same(far.batch(surprise), NEAR.batch(surprise))


def test_a_share_of_a_mini_batch_has_the_masks_that_it_has_on_the_device(far: DistantJets) -> None:
    jets, share = np.random.default_rng(4).permutation(60)[:30], np.array([0, 3, 4, 17, 29])
    far.expect([jets])
    found, expected = far.batch(jets, share), NEAR.batch(jets, share)
    assert_same(found, expected)
    masks = [(found.mask_rows, expected.mask_rows)]
    masks += [(found.branches[name].mask_rows, branch.mask_rows) for name, branch in expected.branches.items()]
    for one, other in masks:
        assert one is not None
        assert other is not None
        assert torch.equal(one.numbers, other.numbers)
        assert one.whole == other.whole


def test_pieces_come_one_after_the_other(far: DistantJets) -> None:
    pieces = [np.arange(10, 30), np.arange(0), np.arange(30, 60)]
    for found, jets in zip(far.batches(pieces), pieces, strict=True):
        assert_same(found, NEAR.batch(jets))


def test_what_is_expected_is_read_once_and_one_step_ahead_only(
    far: DistantJets, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[int] = []
    gather = DistantJets._gather

    def counting(self: DistantJets, jets: np.ndarray) -> object:
        gathered.append(int(jets[0]))
        return gather(self, jets)

    monkeypatch.setattr(DistantJets, "_gather", counting)
    far.expect([np.array([step]) for step in range(4)])
    for step in range(4):
        far.batch(np.array([step]))
        far.batch(np.array([step, step]))
        assert max(gathered) <= step + 1
    assert sorted(gathered) == [0, 1, 2, 3]


def test_where_no_more_is_expected_nothing_is_held_any_longer(tmp_path: Path) -> None:
    jets = distant(Disk(tmp_path))
    jets.expect([np.arange(20), np.arange(20, 40)])
    jets.batch(np.arange(20))
    held = weakref.ref(jets)
    gc.disable()
    try:
        jets.expect(())
        del jets
        assert held() is None
    finally:
        gc.enable()


def test_only_the_jets_own_numbers_take_room_on_the_device(far: DistantJets) -> None:
    assert far.bytes_on_device == 60 * (3 + 2) * 4
    assert NEAR.bytes_on_device > 20 * far.bytes_on_device
