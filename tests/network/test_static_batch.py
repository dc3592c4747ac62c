"""Batches of fixed shapes, compared with newly made ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.network import static_batch
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, logits_of
from cal_ratio_trainer.network.packing import pack
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.network.static_batch import DeviceJets, Positions, pack_on_device, room_for
from tests.factories.jets import synthetic_jets


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    spare=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_packing_on_the_device_is_packing_on_the_host_with_room_to_spare(
    lengths: list[int], spare: int, seed: int
) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    jets = np.random.default_rng(seed).integers(0, len(lengths), len(lengths)).astype(np.int64)
    expected = pack(offsets, jets, 6)
    count = len(expected.rows)
    found = pack_on_device(torch.from_numpy(offsets), torch.from_numpy(jets), 6, count + spare)
    assert found.rows[:count].tolist() == expected.rows.tolist()
    assert found.is_real.tolist() == [True] * count + [False] * spare
    assert found.owners[:count].tolist() == expected.owners().tolist()
    assert found.inverse.tolist() == expected.inverse.tolist()
    assert found.places[1].tolist() == [*expected.counts, *[0] * (6 - len(expected.counts))]
    assert found.places[0].tolist() == (found.places[1].cumsum(0) - found.places[1]).tolist()


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_the_network_gives_the_same_for_both(engine: str) -> None:
    jets = JetTensors.from_jets([synthetic_jets(np.arange(50) % 3, 1)], torch.device("cpu"))
    chosen = np.arange(40, 10, -1)
    room = room_for(DeviceJets.of(jets), [Positions.copied([chosen[:5], chosen], torch.device("cpu"))])
    classifier = Classifier(DEFAULT_SHAPE, 1, engine)
    found = classifier(DeviceJets.of(jets).batch(torch.from_numpy(chosen), room))
    torch.testing.assert_close(found, classifier(jets.batch(chosen)))


def test_room_is_for_the_fullest_batch_and_little_more() -> None:
    jets = JetTensors.from_jets([synthetic_jets(np.arange(3000) % 3, 1)], torch.device("cpu"))
    batches = np.array_split(np.random.default_rng(1).permutation(3000), 2)
    halves = [np.array_split(batch, 2) for batch in batches]
    parts = [Positions.copied(part, torch.device("cpu")) for part in zip(*halves, strict=True)]
    room = room_for(DeviceJets.of(jets), parts)
    for kind in CONSTITUENTS:
        fullest = max(len(pack(jets.offsets[kind.name], batch, kind.limit).rows) for batch in batches)
        assert fullest <= room[kind.name] <= 1.07 * fullest + 64


def test_logits_of_many_jets_are_those_of_the_hosts_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_batch, "JETS_AT_A_TIME", 16)
    jets = JetTensors.from_jets([synthetic_jets(np.arange(50) % 3, 1)], torch.device("cpu"))
    classifier, device_jets = Classifier(DEFAULT_SHAPE, 1), DeviceJets.of(jets)
    for chosen in (np.arange(45, 5, -1), np.arange(0)):
        found = device_jets.logits(classifier, torch.from_numpy(chosen))
        torch.testing.assert_close(found, logits_of(classifier, jets, chosen))
